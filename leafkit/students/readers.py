"""What other runtimes read of a student's folder, in the places where they look for it.

sentence-transformers 6 writes the length limit and the pooling in places of its own, which it alone reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.files.atomic import write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# text-embeddings-inference does not start unless each of these is there, true or false.
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
UNLIMITED = 1 << 20


def write_for_readers(folder: Path, model: SentenceTransformer) -> None:
    """Add to the student in ``folder`` what text-embeddings-inference, fastembed and transformers.js look for."""
    if type(model[0]).__name__ == "StaticEmbedding":
        _describe_table(folder, model[0].tokenizer)
        return
    _add(folder / "sentence_bert_config.json", {"max_seq_length": model.max_seq_length})
    # The limit of the tokenizer's first owner, which fastembed would cut at where it is the smaller one.
    _add(folder / "tokenizer_config.json", {"max_length": model.max_seq_length})
    for number, module in enumerate(model):
        if type(module).__name__ == "Pooling":
            used = {module.pooling_mode} if isinstance(module.pooling_mode, str) else {*module.pooling_mode}
            modes = {name: mode in used for mode, name in POOLINGS.items()}
            _add(folder / f"{number}_Pooling" / "config.json", modes)


def _describe_table(folder: Path, tokenizer: Any) -> None:
    """A token table has no config of its own, without which fastembed and transformers.js do not open a folder."""
    limit = (tokenizer.truncation or {}).get("max_length", UNLIMITED)
    # Padding is masked: any token will do where the tokenizer names none.
    pad = next((token for token in ("[PAD]", "<pad>") if tokenizer.token_to_id(token) is not None), None)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": limit,
        "pad_token": pad or tokenizer.id_to_token(0),
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "config.json", {"model_type": "static-embedding", "architectures": ["StaticEmbedding"]})


def _add(file: Path, settings: dict[str, Any]) -> None:
    write_json(file, json.loads(file.read_bytes()) | settings)
