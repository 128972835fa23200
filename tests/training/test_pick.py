import numpy
import pytest
import torch
from transformers import AutoConfig, AutoModel

from leafkit.describe import info
from leafkit.errors import OptionError
from leafkit.students.layers import Layers, layer_stack
from leafkit.students.spec import Fresh
from leafkit.teachers.open import open_teacher
from leafkit.training.data import TokenFile, write_tokens
from leafkit.training.forward import StudentForward
from leafkit.training.pick import MOST_TEXTS, short_texts, without_each
from tests.fixtures.students import new_student

LAYERS = 5
SMALL = {"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 64}
BUSY = [1, 3]


@pytest.fixture(scope="module")
def idle_teacher(tiny_teacher, tmp_path_factory):
    """The tiny teacher with five layers; only the layers in `BUSY` change their input."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    config = model[0].model.config
    config.num_hidden_layers = LAYERS
    torch.manual_seed(0)
    model[0].model = type(model[0].model)(config).eval()
    for place, layer in enumerate(layer_stack(model[0].model)):
        with torch.no_grad():
            for output in (layer.attention.output.dense, layer.output.dense):
                # A layer with weights of 0 returns its normalised input unchanged. Only the others are missed.
                output.weight.normal_(std=1.0 if place in BUSY else 0.0)
                output.bias.zero_()
    folder = tmp_path_factory.mktemp("idle") / "teacher"
    model.save(str(folder))
    return folder


def test_greedy_elimination_keeps_the_layers_that_change_something(distil, idle_teacher):
    facts = distil(teacher=str(idle_teacher), student="teacher:layers=2,pick=greedy", epochs=0)
    assert facts.training["head"]["layers"] == BUSY
    assert facts.training["start"]["cosine_mean"] > 0.999
    assert info(facts.path)["layers"] == BUSY
    assert "layers 1, 3, counted from 0" in (facts.path / "README.md").read_text()


@pytest.mark.parametrize("kind", ["bert", "mpnet", "modernbert", "distilbert"])
def test_leaving_out_all_layers_in_one_pass_equals_leaving_out_each_alone(kind, tiny_teacher, sentences, tmp_path):
    config = AutoConfig.for_model(kind, vocab_size=200, max_position_embeddings=80, pad_token_id=0, **SMALL)
    config.save_pretrained(tmp_path)
    spec = Fresh(config=str(tmp_path / "config.json"))
    student = new_student(spec, open_teacher(tiny_teacher), tiny_teacher)
    write_tokens(tmp_path / "tokens", student, sentences[:40], ["query"] * 40, max_length=None)
    tokens = TokenFile(tmp_path / "tokens", student.layout)
    forward, stack, rows = StudentForward(student, "float32").eval(), Layers(student.transformer), numpy.arange(1, 30)
    kept = [0, 1, 3, 4]
    together = without_each(kept, stack, forward, tokens, rows)
    for place, features in enumerate(together):
        stack.keep(kept[:place] + kept[place + 1 :])
        assert numpy.array_equal(features, forward.encode(tokens, rows, hidden=True))


def test_greedy_layers_start_closer_to_the_teacher_than_evenly_spaced_ones(distil, idle_teacher, tmp_path):
    missing = {
        pick: 1
        - distil(
            teacher=str(idle_teacher), student=f"teacher:layers=2,pick={pick}", epochs=0, out=tmp_path / pick
        ).training["start"]["cosine_mean"]
        for pick in ("even", "greedy")
    }
    assert missing["greedy"] < missing["even"] / 10


def test_a_greedy_student_equals_one_that_names_the_same_layers(distil, idle_teacher, tmp_path):
    picked = distil(teacher=str(idle_teacher), student="teacher:layers=2,pick=greedy", epochs=0)
    named = distil(teacher=str(idle_teacher), student="teacher:layers=1,3", epochs=0, out=tmp_path / "named")
    texts = ["a text", "and another"]
    vectors = [open_teacher(str(facts.path)).encode(texts, "query") for facts in (picked, named)]
    assert numpy.allclose(*vectors, atol=1e-6)


def test_a_first_layer_unlike_the_others_is_always_kept(distil, tiny_teacher, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    torch.manual_seed(0)
    model[0].model = AutoModel.from_config(
        AutoConfig.for_model("modernbert", vocab_size=200, max_position_embeddings=80, pad_token_id=0, **SMALL)
    )
    model.save(str(tmp_path / "modernbert"))
    facts = distil(student=f"{tmp_path / 'modernbert'}:layers=1,pick=greedy", epochs=0)
    assert facts.training["head"]["layers"] == [0]


def test_keeping_all_layers_keeps_all_layers(distil, idle_teacher):
    facts = distil(teacher=str(idle_teacher), student=f"teacher:layers={LAYERS},pick=greedy", epochs=0)
    assert facts.training["head"]["layers"] == list(range(LAYERS))


def test_a_layer_count_outside_the_range_raises(distil, idle_teacher):
    with pytest.raises(OptionError, match=f"layers is 6; expected 1 to {LAYERS}"):
        distil(teacher=str(idle_teacher), student="teacher:layers=6,pick=greedy")


def test_too_few_texts_for_greedy_elimination_raise_with_a_remedy(distil, idle_teacher, tmp_path):
    few = tmp_path / "few.txt"
    few.write_text("".join(f"text number {i}\n" for i in range(12)))
    with pytest.raises(OptionError, match="remove pick=greedy to keep evenly spaced layers"):
        distil(texts=few, teacher=str(idle_teacher), student="teacher:layers=2,pick=greedy")


def test_greedy_elimination_uses_the_shortest_texts_of_each_role():
    random = numpy.random.default_rng(0)
    lengths, roles = random.integers(1, 500, 9_000), (random.random(9_000) < 0.3).astype(numpy.int64)
    drawn = numpy.arange(1_000, 9_000)
    rows = short_texts(lengths, roles, drawn)
    assert len(rows) == MOST_TEXTS
    assert (numpy.diff(rows) > 0).all()
    for role in (0, 1):
        mine = rows[roles[rows] == role]
        others = numpy.setdiff1d(drawn[roles[drawn] == role], mine)
        assert len(mine) == MOST_TEXTS // 2
        assert lengths[mine].max() <= lengths[others].min()
