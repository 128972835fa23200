import pytest

from leafkit.errors import OptionError
from leafkit.students.spec import Fresh, Pretrained, Static, parse_student


@pytest.mark.parametrize(
    ("text", "student"),
    [
        ("owner/name", Pretrained(source="owner/name")),
        ("teacher", Pretrained(source="teacher")),
        ("teacher:layers=3", Pretrained(source="teacher", layers=3)),
        ("owner/name:layers=3", Pretrained(source="owner/name", layers=3)),
        ("/a/b:layers=0,2,5", Pretrained(source="/a/b", layers=(0, 2, 5))),
        ("/a:b/c", Pretrained(source="/a:b/c")),
        ("teacher:layers=3,pooling=cls", Pretrained(source="teacher", layers=3, pooling="cls")),
        ("a/b:pooling=mean,layers=0,2", Pretrained(source="a/b", layers=(0, 2), pooling="mean")),
        ("teacher:layers=3,pick=even", Pretrained(source="teacher", layers=3)),
        ("teacher:layers=3,pick=greedy", Pretrained(source="teacher", layers=3, pick="greedy")),
        ("package:some-model:pooling=mean", Pretrained(source="package:some-model", pooling="mean")),
        ("fresh:config.json", Fresh(config="config.json")),
        ("fresh:/a:b/folder", Fresh(config="/a:b/folder")),
        ("static", Static(dim=256)),
        ("static:dim=64", Static(dim=64)),
        ("static:dim=64,tokenizer=a/b", Static(dim=64, tokenizer="a/b")),
        ("static:tokenizer=a/b", Static(tokenizer="a/b")),
    ],
)
def test_each_form_is_parsed(text, student):
    assert parse_student(text) == student


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fresh:",
        "teacher:layers=",
        "teacher:layers=0",
        "teacher:layers=two",
        "teacher:layers=-1",
        "teacher:layers=2,1",
        "teacher:layers=1,1",
        "teacher:depth=3",
        "teacher:pick=greedy",
        "teacher:layers=0,2,pick=greedy",
        "teacher:layers=2,pick=best",
        "static:pick=greedy",
        "teacher:pooling=max",
        "teacher:pooling=",
        "static:pooling=mean",
        "fresh:config.json:layers=3",
        "static:dim=0",
        "static:dim=many",
        "static:layers=3",
        "static:tokenizer=",
        ":layers=3",
    ],
)
def test_anything_else_raises_with_the_list_of_forms(text):
    with pytest.raises(OptionError, match="A student is one of") as raised:
        parse_student(text)
    assert "static:dim=256" in str(raised.value)
    assert repr(text) in str(raised.value)
