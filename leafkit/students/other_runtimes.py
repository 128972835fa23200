"""Files in a student's folder that other runtimes read, in the places where they look for them.

sentence-transformers 6 writes the length limit and the pooling to places that only it reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leafkit.files.atomic import write_json
from leafkit.students.student import Student

# text-embeddings-inference does not start unless every one of these keys is present, true or false.
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
UNLIMITED = 1 << 20


def describe_for_other_runtimes(folder: Path, student: Student) -> None:
    """Add to ``folder`` what text-embeddings-inference, fastembed and transformers.js need to run ``student``."""
    if student.kind == "table":
        _describe_table(folder, student)
        return
    limit = student.token_limit
    _add(folder / "sentence_bert_config.json", {"max_seq_length": limit})
    # fastembed truncates at the smaller of two limits. The other limit is that of the model the tokenizer came from.
    _add(folder / "tokenizer_config.json", {"max_length": limit})
    for number, used in student.poolings.items():
        modes = {name: mode in used for mode, name in POOLINGS.items()}
        _add(folder / f"{number}_Pooling" / "config.json", modes)


def _describe_table(folder: Path, student: Student) -> None:
    """Write the configs that fastembed and transformers.js need to open the folder of a token table."""
    tokenizer, limit = student.tokenizer, student.token_limit
    # Padding is masked, so any token will do if the tokenizer has no padding token.
    pad = next((token for token in ("[PAD]", "<pad>") if tokenizer.token_to_id(token) is not None), None)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": UNLIMITED if limit is None else limit,
        "pad_token": pad or tokenizer.id_to_token(0),
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "config.json", {"model_type": "static-embedding", "architectures": ["StaticEmbedding"]})


def _add(file: Path, settings: dict[str, Any]) -> None:
    write_json(file, json.loads(file.read_bytes()) | settings)
