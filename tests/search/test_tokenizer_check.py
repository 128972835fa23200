"""The tokenizers of ordinary models pass, and a table or an expression that could hurt does not."""

from __future__ import annotations

import base64
import json
import random
import struct

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from leafkit.search.charsmap import check_charsmap
from leafkit.search.regex_check import check_regex
from leafkit.search.tokenizer_check import check_tokenizer

VOCABULARY = {"<s>": 0, "</s>": 1, "<unk>": 2, "a": 3, "b": 4, "ab": 5, "▁": 6, "Ġ": 7}
PIECES = [(piece, -float(row)) for piece, row in VOCABULARY.items()]


def charsmap(replacements: dict[str, str], *, shift: int = 0) -> bytes:
    """A table of sentencepiece for single bytes: a root whose children are at 256 ^ byte, each with a value."""
    units = [0] * 1024
    units[0] = 256 << 10
    text = b""
    for letter, replacement in replacements.items():
        (byte,) = letter.encode()
        place = 256 ^ byte
        base = 512 ^ byte  # where the value is; a byte more would lead to base ^ byte, which is free
        units[place] = byte | 1 << 8 | (place ^ base) << 10
        units[base] = 1 << 31 | len(text) + shift
        text += replacement.encode() + b"\0"
    return struct.pack("<I1024I", 4096, *units) + text


TABLE = charsmap({"A": "a", "B": "ß", "C": ""})


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(VOCABULARY, unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("</s>", 1), ("<s>", 0))
    made.decoder = decoders.WordPiece()
    return made


def roberta() -> Tokenizer:
    made = Tokenizer(models.BPE(VOCABULARY, [("a", "b")], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    made.decoder = decoders.ByteLevel()
    return made


def xlm_roberta() -> Tokenizer:
    made = Tokenizer(models.Unigram(PIECES, unk_id=2))
    made.normalizer = normalizers.Sequence([normalizers.Precompiled(TABLE), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.post_processor = template()
    made.decoder = decoders.Metaspace()
    return made


def t5() -> Tokenizer:
    made = xlm_roberta()
    made.normalizer = normalizers.Precompiled(TABLE)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.enable_truncation(512)
    made.enable_padding(length=128)
    return made


def modernbert() -> Tokenizer:
    made = Tokenizer(models.BPE(VOCABULARY, [("a", "b")]))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = template()
    return made


def qwen() -> Tokenizer:
    made = modernbert()
    split = pre_tokenizers.Split(Regex(EXPRESSIONS["qwen"]), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(use_regex=False)])
    made.post_processor = processors.Sequence([processors.ByteLevel(), template()])
    return made


def llama() -> Tokenizer:
    made = Tokenizer(models.BPE(VOCABULARY, [("a", "b")], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.post_processor = template()
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


def xlnet() -> Tokenizer:
    made = xlm_roberta()
    parts = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD()]
    made.normalizer = normalizers.Sequence([*parts, normalizers.StripAccents(), normalizers.Precompiled(TABLE)])
    return made


def words() -> Tokenizer:
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip(), normalizers.Nmt()])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    return made


def template() -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )


EXPRESSIONS = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    "qwen": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{M}]*[\p{Ll}\p{Lm}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}",
    "deepseek": r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+""",
    "bloom": r" ?[^(\s|[.,!?…。、।،])]+",
    "clip": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "xlm-roberta": " {2,}",
}


@pytest.mark.parametrize("make", [wordpiece, roberta, xlm_roberta, t5, modernbert, qwen, llama, xlnet, words])
def test_ordinary_tokenizers_pass(make) -> None:
    check_tokenizer(make().to_str().encode())


def test_an_old_file_of_bpe_that_does_not_name_its_model_passes() -> None:
    content = json.loads(roberta().to_str())
    del content["model"]["type"]
    check_tokenizer(json.dumps(content).encode())


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_expressions_of_known_tokenizers_pass(name: str) -> None:
    check_regex(EXPRESSIONS[name])


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$", "(a|a)*b", "(?:a|b)+", "a*a*a*b", "(?:x*)(?:x*)(?:x*)", "x*(?:|)x*(?:|)x*", "a?" * 30 + "a" * 30,
        r"(a)\1", "(?<=a)b", r"\g<0>", "(?R)", "a{0,1000}b{0,1000}c{0,9}", "((a{9}){9}){9}", "a**", "a{1,3}+",
        "a{2}{3}", "[a", "(?:a|(?:b|a*)a*)a*", "(a|a)" * 24 + "b", "a" * 3000,
    ],
)  # fmt: skip
def test_an_expression_that_might_never_end_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        check_regex(expression)


def test_a_table_that_passes_is_followed_by_tokenizers_as_it_says() -> None:
    check_charsmap(base64.b64encode(TABLE).decode())
    assert normalizers.Precompiled(TABLE).normalize_str("ABCD") == "aßD"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "size is wrong"),
        (TABLE[:100], "size is wrong"),
        (b"\xff\xff\xff\xff" + TABLE[4:], "size is wrong"),
        (TABLE[:4] + struct.pack("<I", 1 << 30) + TABLE[8:], "leads outside"),
        (charsmap({"A": "a"}, shift=5), "starts outside, or inside a letter"),
        (charsmap({"A": "ß"}, shift=1), "starts outside, or inside a letter"),
        (charsmap({"A": "a" * 100}), "more than 64 bytes"),
        (TABLE + b"\xff", "utf-8"),
    ],
)
def test_a_table_that_leads_outside_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_charsmap(base64.b64encode(content).decode())


def test_no_table_that_passes_stops_tokenizers() -> None:
    """Tables with changed bytes: tokenizers panics on many that are refused, and on none that passes."""
    draw, passed = random.Random(0), 0
    for _ in range(600):
        changed = bytearray(TABLE)
        for _ in range(draw.randrange(1, 4)):
            # Mostly in the units that are used.
            place = draw.choice([4, 4 + 4 * (256 ^ 65), 4 + 4 * (512 ^ 65), 4 + 4 * (256 ^ 66), draw.randrange(4096)])
            changed[place + draw.randrange(4)] = draw.randrange(256)
        try:
            check_charsmap(base64.b64encode(bytes(changed)).decode())
        except ValueError:
            continue
        passed += 1
        for text in ("ABC", "A", "\x01\x02\x7f", "ß数🙂", "".join(map(chr, range(1, 128)))):
            normalizers.Precompiled(bytes(changed)).normalize_str(text)
    assert passed > 50
