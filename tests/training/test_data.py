import numpy
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding

from leafkit.errors import DamageError
from leafkit.students.student import Student
from leafkit.training.data import TokenFile, write_tokens

TEXTS = ["a list of files", "", "the user", "search the text of a file and print it to a server " * 20]
ROLES = ["query", "document", "query", "document"]


@pytest.fixture(params=["padded", "padded left", "table"])
def model(request, tiny_teacher):
    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    if request.param == "table":
        static = StaticEmbedding(model.tokenizer, embedding_dim=8)
        return SentenceTransformer(modules=[static], prompts=model.prompts, device="cpu")
    model.tokenizer.padding_side = "left" if "left" in request.param else "right"
    return model


def tokens(model, folder, **options):
    write_tokens(folder, headed(model), TEXTS, ROLES, **{"max_length": None, **options})
    return TokenFile(folder, headed(model).layout)


def headed(model):
    """The model as a student, with an arbitrary head."""
    modules = [*model, Dense(model[0].get_embedding_dimension(), 4)]
    return Student(SentenceTransformer(modules=modules, prompts=model.prompts, device="cpu"))


def test_a_batch_from_disk_equals_the_models_own_preprocessing(model, tmp_path):
    file = tokens(model, tmp_path)
    rows = numpy.array([3, 0, 2])
    prompted = [(model.prompts[ROLES[row]] or "") + TEXTS[row] for row in rows]
    wanted = {name: value for name, value in model.preprocess(prompted).items() if isinstance(value, torch.Tensor)}
    found = file.features(rows)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("model", ["padded", "table"], indirect=True)
def test_vectors_of_stored_tokens_equal_those_of_encode(model, tmp_path):
    features = tokens(model, tmp_path).features(numpy.arange(len(TEXTS)))
    wanted = [
        model.encode_query(TEXTS[i]) if ROLES[i] == "query" else model.encode_document(TEXTS[i]) for i in range(4)
    ]
    with torch.inference_mode():
        assert model(features)["sentence_embedding"].numpy() == pytest.approx(numpy.stack(wanted), abs=1e-5)


def test_a_shorter_length_truncates_texts_and_does_not_change_the_model(tiny_teacher, tmp_path):
    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    assert tokens(model, tmp_path, max_length=9).lengths.max() == 9
    assert model.max_seq_length == 64


def test_one_text_makes_a_batch_and_no_text_makes_an_empty_file(tiny_teacher, tmp_path):
    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    assert tokens(model, tmp_path).features(numpy.array([1]))["input_ids"].tolist() == [[2, 3]]
    write_tokens(tmp_path / "none", headed(model), [], [], max_length=None)
    assert len(TokenFile(tmp_path / "none", headed(model).layout)) == 0


@pytest.mark.parametrize("name", ["tokens.bin", "ends.npy"])
def test_opening_a_truncated_file_raises(name, tiny_teacher, tmp_path):
    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    tokens(model, tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DamageError, match=f"{tmp_path.name} (are truncated|cannot be read)"):
        TokenFile(tmp_path, headed(model).layout)
