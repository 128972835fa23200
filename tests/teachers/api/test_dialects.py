"""Every dialect asks for and reads the vectors of its server, and its space names what decides them."""

from __future__ import annotations

import numpy
import pytest

from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.teachers.api.address import Endpoint
from leafkit.teachers.api.dialects import DIALECTS, read_prices
from leafkit.teachers.open import open_teacher
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher
from tests.fixtures.api_server import DIM, drawn, status

TEXTS = ["one text", "another text", "a third"]

# Dialect, path of the address, what the server sees as the role of a query and of a document.
SERVED = [
    ("", "/v1", "", ""),
    ("", "/v1/embeddings", "", ""),
    ("openai+", "/some/path", "", ""),
    ("cohere+", "/v2", "search_query", "search_document"),
    ("voyage+", "/v1", "query", "document"),
    ("gemini+", "/v1beta", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT"),
    ("", "/embed", "", ""),
    ("tei+", "", "", ""),
    ("", "/api/embed", "", ""),
    ("ollama+", "", "", ""),
]


@pytest.mark.parametrize(("kind", "path", "query", "document"), SERVED)
def test_vectors_equal_those_of_the_server_in_both_roles(teacher, kind, path, query, document):
    one = teacher(path, kind)
    for role, told in (("query", query), ("document", document)):
        expected = numpy.stack([drawn(text, told) for text in TEXTS])
        found = one.encode(TEXTS, role)
        scale = 1 if one.space.normalised else 3
        assert numpy.allclose(found / scale, expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "path", "query", "document"), SERVED)
def test_roles_are_told_by_prompts_where_no_field_tells_them(server, teacher, kind, path, query, document):
    if query:
        with pytest.raises(OptionError, match="so a prompt does not apply"):
            teacher(path, kind, query_prompt="find: ").space  # noqa: B018
        return
    one = teacher(path, kind, query_prompt="find: ")
    assert numpy.allclose(one.encode(["text"], "query"), [drawn("find: text")], atol=1e-6)
    assert server.sent[-1] == "find: text"
    assert numpy.allclose(one.encode(["text"], "document"), [drawn("text")], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [("", "/v1", "dimensions"), ("cohere+", "/v2", "output_dimension"), ("voyage+", "/v1", "output_dimension")],
)
def test_dimensions_are_asked_for_and_are_part_of_the_space(server, teacher, kind, path, field):
    narrow, wide = teacher(path, kind, dimensions=4), teacher(path, kind)
    assert narrow.encode(TEXTS, "document").shape == (3, 4)
    assert server.requests[-1][1][field] == 4
    assert (narrow.space.dim, wide.space.dim) == (4, DIM)
    assert narrow.space.id != wide.space.id


def test_gemini_carries_all_in_each_request_and_vectors_are_scaled_on_demand(server, teacher):
    one = teacher("/v1beta", "gemini+", dimensions=4, normalised=True)
    assert numpy.allclose(numpy.linalg.norm(one.encode(TEXTS, "query"), axis=1), 1)
    first = server.requests[-1][1]["requests"][0]
    assert first["model"] == "models/m"
    assert (first["taskType"], first["outputDimensionality"]) == ("RETRIEVAL_QUERY", 4)
    assert not teacher("/v1beta", "gemini+").space.normalised


def test_truncation_is_refused_by_the_server_too_unless_it_was_asked_for(server, teacher):
    for options, cohere, tei in (({}, "NONE", False), ({"long_texts": "send"}, "END", True)):
        teacher("/v2", "cohere+", **options).encode(TEXTS, "query")
        assert server.requests[-1][1]["truncate"] == cohere
        teacher("/embed", **options).encode(TEXTS, "query")
        assert server.requests[-1][1]["truncate"] is tei


def test_base64_and_numbers_give_the_same_vectors(server, teacher):
    plain = teacher().encode(TEXTS, "query")
    assert server.requests[-1][1]["encoding_format"] == "float"
    server.change = lambda content: {"data": [{**row, "embedding": packed(row["index"])} for row in content["data"]]}

    def packed(index):
        from tests.fixtures.api_server import pack

        return pack(drawn(server.requests[-1][1]["input"][index]))

    assert (teacher().encode(TEXTS, "query") == plain).all()


def test_a_space_is_known_without_a_request_where_the_model_is_known(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    space = open_teacher("api:openai/text-embedding-3-small").space
    assert (space.teacher, space.dim, space.normalised) == ("openai/text-embedding-3-small", 1536, True)
    assert space.weights == "api:https://api.openai.com/v1/embeddings#text-embedding-3-small"
    roles = open_teacher("api:cohere/embed-v4.0").space.weights
    assert roles.endswith("#embed-v4.0 document=search_document query=search_query")
    assert open_teacher("api:openai/text-embedding-3-small", teacher_name="ours").space.weights == "name:ours"


def test_what_decides_the_vectors_decides_the_space():
    models = ["openai/text-embedding-3-small", "openai/text-embedding-3-large", "cohere/embed-v4.0"]
    options = [{}, {"dimensions": 512}, {"teacher_name": "n"}]
    ids = {open_teacher(f"api:{model}", **chosen).space.id for model in models for chosen in options}
    ids.add(open_teacher("api:openai/text-embedding-3-small", query_prompt="q: ").space.id)
    assert len(ids) == len(models) * len(options) + 1 - 1  # the first and the third model of one name are one space


def test_a_width_is_asked_for_once(server, teacher):
    one = teacher()
    assert isinstance(one, Teacher)
    assert one.space.dim == one.space.dim == DIM
    assert len(server.requests) == 1
    one.encode(TEXTS, "query")
    assert len(server.requests) == 2


def test_texts_of_a_request_are_limited_by_number_and_by_tokens(server, teacher):
    one = teacher(dimensions=DIM, normalised=True)
    one.encode([f"{number}" for number in range(150)], "query")
    assert sorted(len(body["input"]) for _, body, _ in server.requests) == [22, 64, 64]
    server.requests.clear()
    teacher("/embed", dimensions=DIM, normalised=True).encode(["word " * 30_000] * 4, "query")
    assert sorted(len(body["inputs"]) for _, body, _ in server.requests) == [1, 3]  # at most 100,000 tokens


def test_a_text_that_a_server_of_unknown_limit_may_truncate_is_a_warning(teacher, caplog):
    one = teacher(dimensions=DIM, normalised=True)
    one.encode(TEXTS, "query")
    assert "may truncate" not in caplog.text
    for _ in range(2):
        one.encode(["word " * 600], "query")
    assert caplog.text.count("the longest text has about 602 tokens, and the limit of this model is unknown.") == 1
    teacher(dimensions=DIM, normalised=True, max_length=1000).encode(["word " * 600], "query")
    assert caplog.text.count("may truncate") == 1


def test_long_texts_are_refused_before_anything_is_sent(server, teacher):
    texts = ["short", "long " * 30, "long " * 20]
    with pytest.raises(InputError, match=r"2 of 3 texts exceed .*: 10 tokens\. The first has about 32 and begins 'lon"):
        teacher(dimensions=DIM, normalised=True, max_length=10).encode(texts, "query")
    assert not server.requests
    assert len(teacher(dimensions=DIM, max_length=10, long_texts="send").encode(texts, "query")) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("api:openia/text-embedding-3-small", "did you mean 'openai'"),
        ("api:openai/", "does not name a model"),
        ("api:openai/a b", "does not name a model"),
        ("api:text-embedding-3-small", "names no known API"),
        ("api:tei/model", "names no known API"),
        ("api:http://host/v1", "does not name a model"),
        ("api:opneai+http://host/v1#m", "did you mean 'openai'"),
        ("api:ftp://host/v1#m", "is no address of a server"),
        ("api:", "names no known API"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_is_accepted(name, message):
    with pytest.raises(OptionError, match=message) as caught:
        open_teacher(name)
    assert "://HOST" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@host/v1#m", "https://s3cret@host/v1#m", "http://host/v1?api-key=s3cret#m"]
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(OptionError, match="without a name, password or query") as caught:
        open_teacher(f"api:{url}")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("dialect", [one for one in DIALECTS.values() if one.url], ids=lambda one: one.name)
def test_a_provider_needs_its_own_key_and_no_other(dialect, monkeypatch):
    monkeypatch.delenv(dialect.key, raising=False)
    monkeypatch.setenv("LEAFKIT_API_KEY", "for servers of one's own")
    endpoint = Endpoint.parse(f"api:{dialect.name}/{next(iter(dialect.models))}")
    with pytest.raises(OptionError, match=f"{dialect.key} is not set"):
        endpoint.key()
    monkeypatch.setenv(dialect.key, " sk-1\n")
    assert endpoint.key() == "sk-1"
    monkeypatch.setenv(dialect.key, "sk-1\nInjected: header")
    with pytest.raises(OptionError, match="white space") as caught:
        endpoint.key()
    assert "sk-1" not in str(caught.value)


def test_a_server_of_ones_own_gets_no_key_of_a_provider(server, teacher, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.delenv("LEAFKIT_API_KEY", raising=False)
    assert teacher().space.dim == DIM
    assert "Authorization" not in server.requests[0][2]


@pytest.mark.parametrize(
    ("model", "dimensions", "message"),
    [
        ("openai/text-embedding-3-small", 2000, "at most 1536"),
        ("openai/text-embedding-ada-002", 512, "the width is fixed"),
        ("voyage/voyage-4", 300, "one of 256, 512, 1024, 2048"),
    ],
)
def test_a_width_that_the_model_does_not_have_is_refused(model, dimensions, message):
    with pytest.raises(OptionError, match=message):
        open_teacher(f"api:{model}", dimensions=dimensions)


@pytest.mark.parametrize("name", ["compute", "trust_remote_code", "revision", "pooling"])
def test_options_of_models_that_run_here_are_refused(name):
    value = {"compute": "float32", "trust_remote_code": True, "revision": "main", "pooling": "mean"}[name]
    with pytest.raises(OptionError, match=f"{name} does not apply to a teacher behind an API"):
        open_teacher("api:openai/text-embedding-3-small", **{name: value})


def test_options_of_an_api_are_refused_by_other_teachers(tiny_teacher):
    with pytest.raises(OptionError, match="api_budget does not apply to a teacher that is not behind an API"):
        open_teacher(tiny_teacher, api_budget="5USD")


def test_an_api_takes_the_prompts_of_a_recorded_space(server, teacher):
    """As a student's space gives them to its teacher behind a server."""
    one = teacher().with_fields({"query_prompt": "search: "})
    assert one.space.query_prompt == "search: "
    assert numpy.allclose(one.encode(["text"], "query"), [drawn("search: text")], atol=1e-6)


def test_another_width_than_the_declared_space_is_refused(server, teacher, exported):
    with pytest.raises(SpaceError, match="width 8"):
        teacher(teacher_space=str(exported))


def test_prices_of_the_user_override_the_table(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text('"openai/text-embedding-3-small" = 1\nm = 0.5\n')
    options = {"prices": file}
    assert open_teacher("api:openai/text-embedding-3-small", **options).price.of(2e6) == 2
    assert open_teacher("api:http://host/v1#m", **options).price.of(2e6) == 1
    assert open_teacher("api:openai/text-embedding-3-large", **options).price.of(1e6) == 0.13


@pytest.mark.parametrize("content", ['m = "dear"', "m = -1", "m = inf", "m = nan", "m", "[m]\nprice = 1", "m = true"])
def test_a_file_that_holds_no_prices_is_refused(tmp_path, content):
    file = tmp_path / "prices.toml"
    file.write_text(content)
    with pytest.raises(InputError, match="is not a file of prices"):
        read_prices(file)


def test_a_missing_file_of_prices_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml is missing"):
        open_teacher("api:openai/text-embedding-3-small", prices=tmp_path / "none.toml")


def test_a_failed_probe_is_the_servers_error(server, teacher):
    server.always = status(401)
    with pytest.raises(Exception, match="Check the key"):
        teacher().space  # noqa: B018


def test_opening_sends_nothing_and_options_are_recorded_in_no_space(server, teacher):
    bounds = {"api_budget": "9k-tokens", "max_length": 100, "long_texts": "send", "concurrency": 1, "patience": 1.0}
    plain, bounded = (teacher(dimensions=DIM, normalised=True, **more) for more in ({}, bounds))
    assert plain.space == bounded.space
    assert not server.requests
    assert "api_budget" in TeacherOptions(api_budget="1USD").given()
