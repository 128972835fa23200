import numpy
import pytest

from leafkit.students.head import fit_head, set_head
from leafkit.students.spec import Static
from leafkit.teachers.open import open_teacher
from leafkit.training import table as module
from leafkit.training.data import TokenFile, write_tokens
from leafkit.training.forward import StudentForward
from leafkit.training.table import fit_table
from tests.fixtures.students import new_student

ROLES = ["query", "document"]


@pytest.fixture
def untrained(tiny_teacher, sentences, tmp_path):
    """Make the arguments of `fit_table` for a table of ``dim`` columns, with the teacher's vectors of the sentences."""
    teacher = open_teacher(tiny_teacher)
    texts = [*sentences, ""]
    roles = [ROLES[place % 2] for place in range(len(texts))]
    targets = numpy.concatenate([teacher.encode([text], role) for text, role in zip(texts, roles, strict=True)])

    def make(dim, *, bias=True):
        student = new_student(Static(dim=dim), teacher, tiny_teacher, head_bias=bias)
        write_tokens(tmp_path / "tokens", student, texts, roles, max_length=None)
        forward, tokens = StudentForward(student, "float32"), TokenFile(tmp_path / "tokens", student.layout)
        rows = numpy.arange(len(texts))
        set_head(student, fit_head(forward.encode(tokens, rows, hidden=True), targets, bias=bias))
        return forward, tokens, rows, targets

    return make


def whole(student):
    """Return the token vectors after the head, (tokens, dim)."""
    linear = student.linear
    table = student.table_weight @ linear.weight.T
    return (table if linear.bias is None else table + linear.bias).detach().double().numpy()


def shares(tokens, rows, vocabulary):
    matrix = numpy.zeros((len(rows), vocabulary))
    for row in rows:
        ids = tokens.features(numpy.array([row]))["input_ids"].numpy()
        numpy.add.at(matrix[row], ids, 1 / max(len(ids), 1))
    return matrix


@pytest.mark.parametrize("bias", [True, False])
def test_the_table_is_the_ridge_solution_that_normal_equations_give(untrained, monkeypatch, bias):
    monkeypatch.setattr(module, "PENALTIES", (0.05,))
    monkeypatch.setattr(module, "STEPS", 200)
    monkeypatch.setattr(module, "COLUMNS", 7)  # not a divisor of the width
    forward, tokens, rows, targets = untrained(32, bias=bias)
    prior = whole(forward.student)
    matrix = shares(tokens, rows, len(prior))
    left = matrix.T @ matrix + 0.05 * numpy.eye(len(prior))
    wanted = numpy.linalg.solve(left, matrix.T @ targets + 0.05 * prior)
    assert fit_table(forward, tokens, rows, targets).penalty == 0.05
    assert numpy.abs(whole(forward.student) - wanted).max() < 1e-4
    used = matrix.any(axis=0)
    assert not used.all()
    assert numpy.abs(whole(forward.student) - prior)[~used].max() < 1e-5
    assert numpy.abs(whole(forward.student) - prior)[used].max() > 0.01


def test_a_narrow_table_keeps_the_directions_in_which_texts_differ_most(untrained):
    forward, tokens, rows, targets = untrained(32)
    fit_table(forward, tokens, rows, targets)
    matrix = shares(tokens, rows, len(whole(forward.student)))
    vectors = matrix @ whole(forward.student)
    least = (numpy.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)[8:] ** 2).sum()
    narrow, tokens, rows, targets = untrained(8)
    fit_table(narrow, tokens, rows, targets)
    got, used = matrix @ whole(narrow.student), matrix.any(axis=1)
    # The two searches start from different tables, so the solutions differ a little.
    assert ((got - vectors)[used] ** 2).sum() < 1.1 * least


def test_a_static_student_starts_from_the_solution_unless_its_head_is_random(distil, tmp_path):
    start = {
        head: distil(student="static:dim=16", epochs=0, head=head, out=tmp_path / head) for head in ("ridge", "random")
    }
    solved = start["ridge"].training
    assert solved["head"]["ridge"]["of"] == "token table"
    assert solved["best"]["cosine_mean"] > start["random"].training["best"]["cosine_mean"] + 0.2
    assert "token table's closed-form (ridge) solution" in (start["ridge"].path / "README.md").read_text()


def test_with_very_few_texts_none_is_held_out(untrained):
    forward, tokens, _, targets = untrained(16)
    rows = numpy.arange(5)
    assert fit_table(forward, tokens, rows, targets[:5]).penalty == module.PENALTIES[0]


def test_pure_noise_has_a_held_out_cosine_near_zero_and_the_largest_penalty(untrained):
    """The penalty is chosen on held-out texts, whose noise no table can predict."""
    forward, tokens, rows, _ = untrained(32)
    noise = numpy.random.default_rng(0).standard_normal((len(rows), 32)).astype(numpy.float32)
    chosen = fit_table(forward, tokens, rows, noise)
    assert abs(chosen.cosine) < 0.15
    assert chosen.penalty == max(module.PENALTIES)
