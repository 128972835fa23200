"""Check a tokenizer.json before tokenizers reads it: known components, and none that multiplies texts or never ends.

tokenizers trusts its file: it follows tables outside their bounds, multiplies texts and runs any regular expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from leafkit.files.json_file import parse_json_object
from leafkit.search.charsmap import check_charsmap
from leafkit.search.regex_check import check_regex

MOST_BYTES = 1 << 26  # the tokenizers of multilingual models have 20 MB

MODELS = (None, "WordPiece", "BPE", "Unigram", "WordLevel")  # None: old files of BPE do not say it
# The parts of a tokenizer: the name of the list in a Sequence, and the kinds that are accepted.
_PARTS = {
    "normalizer": (
        "normalizers",
        "BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Strip StripAccents",
    ),
    "pre_tokenizer": (
        "pretokenizers",
        "BertPreTokenizer ByteLevel CharDelimiterSplit Digits FixedLength Metaspace Punctuation Split UnicodeScripts "
        "Whitespace WhitespaceSplit",
    ),
    "post_processor": ("processors", "BertProcessing ByteLevel RobertaProcessing TemplateProcessing"),
    "decoder": ("decoders", "BPEDecoder ByteFallback ByteLevel CTC Fuse Metaspace Replace Strip WordPiece"),
}
_MOST_COMPONENTS = 32
_MOST_GROWTH = 64  # how many times longer the replacements together may make a text
_MOST_SPECIAL = 64


def check_tokenizer(content: bytes) -> None:
    """Raise ValueError unless ``content`` is a tokenizer.json of components that leafkit knows to be harmless."""
    fields = parse_json_object(content)
    model = fields["model"]
    if not isinstance(model, dict) or model.get("type") not in MODELS or model.get("dropout"):
        raise ValueError("its model is none of WordPiece, BPE without dropout, Unigram and WordLevel")
    growth = 1.0
    for part in _PARTS:
        components = list(_components(fields.get(part), part))
        if len(components) > _MOST_COMPONENTS:
            raise ValueError(f"its {part} has {len(components)} components; expected at most {_MOST_COMPONENTS}")
        if sum(component["type"] == "Precompiled" for component in components) > 1:
            raise ValueError(f"its {part} has several tables")
        growth *= math.prod(map(_growth, components))
    if growth > _MOST_GROWTH:
        raise ValueError(f"its replacements may make a text {growth:.0f} times longer; expected at most {_MOST_GROWTH}")


def _components(component: Any, part: str) -> Iterator[dict[str, Any]]:
    """Yield the components of a part, those of each Sequence one by one, after checking them."""
    if component is None:
        return
    inner, kinds = _PARTS[part]
    if component["type"] == "Sequence":
        for each in component[inner]:
            yield from _components(each, part)
        return
    if component["type"] not in kinds.split():
        raise ValueError(f"its {part} is a {str(component['type'])[:100]!r}; expected {kinds.replace(' ', ', ')}")
    _check(component)
    yield component


def _check(component: dict[str, Any]) -> None:
    kind = component["type"]
    if kind == "Precompiled":
        check_charsmap(component["precompiled_charsmap"])
    if kind == "Prepend" and len(component["prepend"]) > _MOST_SPECIAL:
        raise ValueError("it puts a long string before every text")
    if kind == "FixedLength" and component["length"] < 1:
        raise ValueError("it splits texts into pieces of no length")
    if isinstance(component.get("pattern"), dict) and "Regex" in component["pattern"]:
        check_regex(component["pattern"]["Regex"])
    if kind == "TemplateProcessing":
        special = [token["ids"] for token in component["special_tokens"].values()]
        if max(map(len, [component["single"], component["pair"], special, *special])) > _MOST_SPECIAL:
            raise ValueError(f"its template has more than {_MOST_SPECIAL} pieces or special tokens")


def _growth(component: dict[str, Any]) -> float:
    """Return how many times longer a replacement may make a text."""
    if component["type"] != "Replace":
        return 1
    content, pattern = len(component["content"]), component["pattern"].get("String", "")
    # An expression may match nothing at all, between any two letters; so does an empty string.
    return max(1.0, content / len(pattern)) if pattern else 1 + content
