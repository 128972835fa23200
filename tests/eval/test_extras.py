from __future__ import annotations

import sys

import pytest

from leafkit.errors import MissingExtraError
from leafkit.eval.extras import require


def test_an_installed_package_is_given():
    assert require("pytrec_eval").RelevanceEvaluator


@pytest.mark.parametrize(
    ("module", "named"), [("bm25s", "bm25s"), ("pytrec_eval", "pytrec-eval-terrier"), ("beir.retrieval", "beir")]
)
def test_a_missing_package_is_named_with_its_command(monkeypatch, module, named):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"this needs {named}, .* pip install 'leafkit\[eval\]'"):
        require(module)
