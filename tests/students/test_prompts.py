"""What a student reads before a text: the teacher's prompt, one token, or nothing."""

import json

import numpy
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import leafkit
from leafkit.describe import info
from leafkit.errors import OptionError
from leafkit.runtimes.router import export_router
from leafkit.space import Space
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student, write_student
from leafkit.students.prompts import PROBES, choose_prompts
from leafkit.teachers.open import open_teacher
from tests.conftest import make_model
from tests.fixtures.students import new_student

TEXTS = ["list the files", "", "café 7"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def space(query="search: ", document=""):
    return Space(
        teacher="t",
        weights="name:t",
        dim=4,
        normalised=True,
        pooling="mean",
        max_length=None,
        query_prompt=query,
        document_prompt=document,
    )


def wordpiece(*words):
    letters = sorted({letter for text in PROBES for letter in text.lower()} - {" "})
    vocabulary = [*SPECIAL, "files", *letters, *(f"##{letter}" for letter in letters), *words]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(SPECIAL)
    return made


def unigram(*words, prepend="always"):
    letters = sorted({letter for text in PROBES for letter in text} - {" "})
    scores = [("<unk>", 0.0), ("▁", -5.0), ("▁files", -6.0), *((letter, -9.0) for letter in letters)]
    made = Tokenizer(models.Unigram([*scores, *((word, -12.0) for word in words)], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    made.decoder = decoders.Metaspace()
    return made


def byte_level(*words):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({word: i for i, word in enumerate([*alphabet, *words])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


@pytest.mark.parametrize(
    ("tokenizer", "query", "document"),
    [
        (wordpiece("[MASK]", "[unused0]", "[unused1]"), "[unused0]", "[unused1]"),
        (wordpiece("[unused7]", "[MASK]", "[unused2]"), "[unused7]", "[unused2]"),
        (wordpiece("[MASK]", "[unused0]"), "[unused0]", "[MASK]"),
        (wordpiece("archaic", "zymotic"), "zymotic ", "archaic "),
        (unigram("▁archaic", "<mask>"), "<mask>", "archaic "),
        (unigram("▁archaic", "<extra_id_0>", prepend="first"), "<extra_id_0> ", "archaic "),
        (byte_level("madeupword0000", "madeupword0001"), "madeupword0000", "madeupword0001"),
    ],
)
def test_one_token_stands_for_each_prompt_before_every_text(tokenizer, query, document):
    before = {text: tokenizer.encode(text).ids for text in PROBES}
    prompts = choose_prompts("token", space(document="text: "), tokenizer)
    assert prompts == {"query": query, "document": document}
    assert choose_prompts("token", space(document="text: "), tokenizer) == prompts  # it is registered now
    reread = Tokenizer.from_str(tokenizer.to_str())
    for role, text in [("query", PROBES[0]), ("document", "files"), ("query", "x list 数据")]:
        plain = reread.encode(text, add_special_tokens=False).ids
        token = tokenizer.token_to_id(prompts[role].strip()) or tokenizer.token_to_id(f"▁{prompts[role].strip()}")
        assert reread.encode(prompts[role] + text, add_special_tokens=False).ids == [token, *plain]
    assert {text: reread.encode(text).ids for text in PROBES} == before


def test_only_roles_with_a_prompt_of_the_teacher_get_a_token():
    tokenizer = wordpiece("[unused0]")
    assert choose_prompts("token", space(), tokenizer) == {"query": "[unused0]", "document": ""}
    assert choose_prompts("token", space("", "text: "), tokenizer) == {"query": "", "document": "[unused0]"}
    assert choose_prompts("none", space(), tokenizer) == {"query": "", "document": ""}
    assert choose_prompts("same", space(), tokenizer) == {"query": "search: ", "document": ""}


@pytest.mark.parametrize("kind", ["same", "none", "token"])
def test_a_tokenizer_is_changed_only_for_a_token(kind):
    tokenizer = wordpiece("[unused0]")
    before = tokenizer.to_str()
    choose_prompts("token", space(""), tokenizer)  # there is no prompt to replace
    assert tokenizer.to_str() == before
    choose_prompts(kind, space(), tokenizer)
    assert (tokenizer.to_str() != before) == (kind == "token")


def test_padding_and_a_tokenizer_of_transformers_make_no_difference():
    tokenizer = wordpiece("[unused0]")
    tokenizer.enable_padding(length=20)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
    assert choose_prompts("token", space(), wrapped)["query"] == "[unused0]"
    ids = wrapped("[unused0]files", padding=False)["input_ids"]
    assert [number for number in ids if number] == [2, wrapped.convert_tokens_to_ids("[unused0]"), 4, 3]


@pytest.mark.parametrize("tokenizer", [byte_level("Ġarchaic"), object()])
def test_a_tokenizer_without_such_a_token_raises(tokenizer):
    with pytest.raises(OptionError, match="has no token that can replace the query prompt"):
        choose_prompts("token", space(), tokenizer)


def test_a_token_that_is_registered_already_stays_as_it_is():
    tokenizer = wordpiece("[unused0]")
    tokenizer.add_tokens([AddedToken("[unused0]", normalized=False, rstrip=True)])
    before = tokenizer.to_str()
    choose_prompts("token", space(), tokenizer)
    assert tokenizer.to_str() == before


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory):
    """A teacher with prompts in both roles and two tokens that its vocabulary keeps free."""
    folder = tmp_path_factory.mktemp("prompted") / "teacher"
    prompts = {"query": "search: ", "document": "text: "}
    return make_model(folder, width=32, layers=2, seed=4, prompts=prompts, unused=2)


@pytest.fixture(scope="module")
def token_student(teacher_folder, tiny_texts, tmp_path_factory):
    """An exported student at its ridge start that reads one token in place of each prompt."""
    out = tmp_path_factory.mktemp("token") / "student"
    leafkit.distill(tiny_texts, str(teacher_folder), "teacher:layers=2", out, epochs=0, student_prompt="token")
    return out


def test_the_folder_says_what_the_student_reads_and_the_space_what_the_teacher_reads(token_student, teacher_folder):
    facts = read_student(token_student)
    assert facts.space == open_teacher(teacher_folder).space
    assert facts.space.query_prompt == "search: "
    wanted = {"query": "[unused0]", "document": "[unused1]"}
    recorded = json.loads((token_student / "config_sentence_transformers.json").read_bytes())["prompts"]
    assert facts.prompts == recorded == wanted
    assert facts.version == 3
    assert info(token_student)["prompts"] == "query '[unused0]', document '[unused1]', in place of the teacher's"
    assert "query '[unused0]', document '[unused1]', in place" in (token_student / "README.md").read_text()


def test_a_text_keeps_its_tokens_behind_the_one_of_the_prompt(token_student, teacher_folder):
    plain = SentenceTransformer(str(teacher_folder), device="cpu").tokenizer
    model = SentenceTransformer(str(token_student), device="cpu")
    encoder = leafkit.QueryEncoder.open(token_student)
    for role, token in (("query", "[unused0]"), ("document", "[unused1]")):
        for text in TEXTS:
            first, *rest = plain(text)["input_ids"]
            wanted = [first, plain.convert_tokens_to_ids(token), *rest]
            assert model.preprocess([model.prompts[role] + text])["input_ids"].tolist() == [wanted]
            assert encoder.tokens(text, role)["input_ids"].tolist() == [wanted]


def test_every_runtime_gives_the_same_vectors(token_student):
    model, torch = SentenceTransformer(str(token_student), device="cpu"), open_student(token_student)
    onnx = leafkit.QueryEncoder.open(token_student, precision="float32")
    int8 = leafkit.QueryEncoder.open(token_student, precision="int8")
    for role, encode in (("query", model.encode_query), ("document", model.encode_document)):
        wanted = encode(TEXTS)
        assert numpy.abs(torch.encode(TEXTS, role) - wanted).max() < 1e-5
        assert numpy.abs(onnx.encode(TEXTS, role) - wanted).max() < 1e-5
        assert (int8.encode(TEXTS, role) * wanted).sum(axis=1).min() > 0.97
    assert numpy.abs(model.encode_query(TEXTS) - model.encode_document(TEXTS)).max() > 1e-3
    checked = [row for row in leafkit.check_student(token_student) if row.result != "skipped"]
    assert {row.result for row in checked} == {"agrees"}
    assert len(checked) >= 3


def test_an_index_with_the_student_inside_searches_with_its_prompts(token_student, teacher_folder, tmp_path):
    documents = tmp_path / "docs.jsonl"
    documents.write_text("".join(f'{{"id": "{i}", "text": "copy the {word}"}}\n' for i, word in enumerate(TEXTS)))
    leafkit.build_index(documents, str(teacher_folder), tmp_path / "index", student=token_student)
    searcher = leafkit.Searcher.open(tmp_path / "index")
    assert searcher.encoder.prompts == read_student(token_student).prompts
    query = leafkit.QueryEncoder.open(token_student).encode(["copy"])[0]
    vectors = open_teacher(teacher_folder).encode([f"copy the {word}" for word in TEXTS], "document")
    found = searcher.search("copy", k=3)
    assert list(found.scores) == pytest.approx(sorted(vectors @ query, reverse=True), abs=1e-3)


def test_one_model_for_both_sides_reads_the_prompts_of_each(token_student, teacher_folder, tmp_path):
    router = export_router(token_student, teacher_folder, tmp_path / "both")
    model = SentenceTransformer(str(router), device="cpu")
    assert model.prompts == {"query": "[unused0]", "document": "text: "}


@pytest.mark.slow
def test_a_student_that_is_restored_from_its_onnx_file_keeps_the_prompts(teacher_folder, tiny_texts, tmp_path):
    host = tmp_path / "host"
    leafkit.distill(tiny_texts, str(teacher_folder), "teacher:layers=1", host, student_prompt="token")
    before, vectors = read_student(host), open_student(host).encode(TEXTS, "query")
    for file in host.rglob("*.safetensors"):
        file.unlink()
    whole = leafkit.export(host, out=tmp_path / "whole")
    assert (read_student(whole).prompts, read_student(whole).version) == (before.prompts, 3)
    assert (open_student(whole).encode(TEXTS, "query") * vectors).sum(axis=1).min() > 0.97


@pytest.mark.parametrize("spec", ["teacher:layers=1", "static:dim=8"])
def test_the_teachers_prompts_are_not_recorded_again(spec, teacher_folder, tmp_path):
    teacher = open_teacher(teacher_folder, compute="float32")
    facts = write_student(tmp_path, new_student(spec, teacher, teacher_folder), teacher.space, {})
    assert facts.version == 2
    assert "prompts" not in facts.raw
    assert "unused" not in str(json.loads((tmp_path / "tokenizer.json").read_bytes())["added_tokens"])


def test_a_token_table_averages_the_row_of_the_prompt_as_well(teacher_folder, tmp_path):
    teacher = open_teacher(teacher_folder, compute="float32")
    student = new_student("static:dim=8", teacher, teacher_folder, prompt="token")
    write_student(tmp_path, student, teacher.space, {})
    model = SentenceTransformer(str(tmp_path), device="cpu")
    ids = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("list file").ids
    rows = student.table_weight[[student.tokenizer.token_to_id("[unused0]"), *ids]].detach()
    mean = rows.mean(dim=0, keepdim=True)
    wanted = student.linear(mean).detach().numpy()
    wanted /= numpy.linalg.norm(wanted)
    assert model.encode_query(["list file"]) == pytest.approx(wanted, abs=1e-6)


def test_without_prompts_a_text_has_one_vector_in_both_roles(teacher_folder, tmp_path):
    teacher = open_teacher(teacher_folder, compute="float32")
    student = new_student("teacher:layers=1", teacher, teacher_folder, prompt="none")
    write_student(tmp_path, student, teacher.space, {})
    opened = open_student(tmp_path)
    assert (opened.encode(TEXTS, "query") == opened.encode(TEXTS, "document")).all()
    assert info(tmp_path)["prompts"] == "none, in place of the teacher's"
