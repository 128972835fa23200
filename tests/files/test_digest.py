import hashlib

from hypothesis import given
from hypothesis import strategies as st

from leafkit.files.digest import sha256_file, text_key


def test_the_file_hash_equals_hashlib(tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@given(st.text(), st.text())
def test_keys_are_equal_if_and_only_if_texts_are_equal(left, right):
    assert (text_key("query", left) == text_key("query", right)) == (left == right)


@given(st.text())
def test_the_role_is_part_of_the_key(text):
    assert text_key("query", text) != text_key("document", text)


def test_a_text_with_a_lone_surrogate_has_a_key():
    assert len(text_key("query", "\ud800")) == 16
