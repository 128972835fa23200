"""The runner: comparisons, verdicts, the cache of measurements, the modules themselves and the page."""

import json
import re
from types import SimpleNamespace

import pytest

from eval.mechanism import run
from eval.mechanism.page import PAGE, page, read_results
from eval.mechanism.run import RESULTS, TEXTS, Compared, compare, measure, mechanism, names
from leafkit.errors import OptionError

NAMES = names()


def test_a_comparison_is_the_paired_t_interval():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.3027.
    compared = compare([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert compared.mean == pytest.approx(2)
    assert (compared.low, compared.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert compared.smallest == pytest.approx(2.8 / 3**0.5)


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.1, 2, "shown"), (-2, -0.1, "refuted"), (-1, 1, "unresolved")])
def test_the_verdict_is_the_side_of_the_interval(low, high, verdict):
    assert Compared(mean=0.0, low=low, high=high, smallest=1.0).verdict == verdict


def test_one_seed_is_refused():
    with pytest.raises(OptionError, match="got 1 seed; expected 2 or more"):
        compare([1.0], [2.0])


def test_an_unknown_name_is_refused():
    with pytest.raises(OptionError, match="no mechanism test is called 'nothing'"):
        mechanism("nothing")


def test_a_measurement_is_cached_until_its_code_changes(monkeypatch, tmp_path):
    asked = []

    def measured(_lab, seed):
        asked.append(seed)
        return {"method": 1.0 + seed, "control": 0.5}

    module = SimpleNamespace(ARMS=("method", "control"), measure=measured, **dict.fromkeys(TEXTS, "Text."))
    monkeypatch.setattr(run, "mechanism", lambda name: module)
    monkeypatch.setattr(run, "code_hash", lambda name: "one")
    first = measure("sinkd", None, range(3), tmp_path)
    assert first["arms"] == {"method": [1.0, 2.0, 3.0], "control": [0.5, 0.5, 0.5]}
    assert measure("sinkd", None, range(4), tmp_path)["arms"]["method"] == [1.0, 2.0, 3.0, 4.0]
    assert asked == [0, 1, 2, 3]
    monkeypatch.setattr(run, "code_hash", lambda name: "two")
    measure("sinkd", None, range(2), tmp_path)
    assert asked == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_what_it_tests(name):
    module = mechanism(name)
    assert all(re.fullmatch(r"[^\n]+\.", getattr(module, text)) for text in TEXTS[:3])
    assert module.FIGURE
    assert len(set(module.ARMS)) == len(module.ARMS) >= 2
    assert callable(module.measure)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_file_belongs_to_a_module_and_its_arms(path):
    result = json.loads(path.read_text())
    assert path.stem == result["method"]
    assert path.stem in NAMES
    assert list(result["arms"]) == list(mechanism(path.stem).ARMS)
    method, control = (result["arms"][arm] for arm in mechanism(path.stem).ARMS[:2])
    assert result["difference"]["mean"] == pytest.approx(compare(method, control).mean)


def test_the_page_is_made_from_the_result_files():
    if RESULTS.is_dir():
        assert PAGE.read_text() == page(read_results())


def test_the_page_shows_each_method_with_its_verdict():
    result = {
        "method": "sinkd",
        "claim": "Claimed.",
        "premise": "Planted.",
        "control": "Compared.",
        "figure": "cosine; held-out",
        "seeds": [0, 1],
        "arms": {"sinkd": [1.0, 3.0], "kl": [1.0, 1.0]},
        "difference": {
            "of": ["sinkd", "kl"],
            "mean": 1.0,
            "low": 0.5,
            "high": 1.5,
            "smallest": 2.8,
            "verdict": "shown",
        },
        "seconds": 3.0,
        "command": "python -m eval.mechanism sinkd --seeds 2",
    }
    result["difference"]["verdict"] = "shown"
    text = page([result])
    assert "| [sinkd](mechanism/sinkd.json) | cosine | 2.0000 | 1.0000 | +1.0000 | +0.5000 to +1.5000 | shown |" in text
    assert "Of 1 methods, the claim is shown for 1 (sinkd)." in text
    assert "$ python -m eval.mechanism sinkd --seeds 2" in text
