"""Files in a student's folder, written so that every runtime that reads such folders finds the whole student.

sentence-transformers 6 names its modules and options in a way that only versions from 5.4 know. Other readers of
``modules.json`` skip what they do not know: text-embeddings-inference (candle) serves such a student without its head.
The folder is therefore written in the layout of sentence-transformers 2 to 5.3, which later versions read as well.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from leafkit.files.atomic import write_json
from leafkit.students.body import drop_pooler
from leafkit.students.student import Student, pooling_modes, transformer_of
from leafkit.types import Role

# text-embeddings-inference does not start unless these keys are present, true or false.
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
UNLIMITED = 1 << 20
OLDER_NAMES = "sentence_transformers.models."
CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
ROUTER = "router_config.json"
# Settings that every version assumes if they are missing. Older versions refuse to read them.
ASSUMED: dict[str, Any] = {
    "module_input_name": "sentence_embedding",
    "module_output_name": "sentence_embedding",
    "transformer_task": "feature-extraction",
}
READS_TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
# Arguments of the call that loaded the tokenizer and the files that it was loaded from, which the library transformers
# writes down with its settings.
OF_THE_CALL = re.compile(r"is_local|local_files_only|.*_files?")
# transformers 5 has a new name for the class that is nothing but its tokenizer.json. Version 4 knows the old name only.
TOKENIZER_CLASSES = {"TokenizersBackend": "PreTrainedTokenizerFast"}


def describe_for_other_runtimes(folder: Path, student: Student) -> None:
    """Rewrite the JSON files of ``student``, which sentence-transformers saved in ``folder``, in the older layout.

    The folder also gets what text-embeddings-inference, fastembed and transformers.js need.
    """
    modules = list(student.model)
    paths = [_path(number, module, student) for number, module in enumerate(modules)]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": OLDER_NAMES + type(module).__name__}
        for number, (path, module) in enumerate(zip(paths, modules, strict=True))
    ]
    write_json(folder / "modules.json", listed)
    _rewrite(folder / "config_sentence_transformers.json", _model_settings)
    if student.kind == "table":
        _describe_table(folder, folder / paths[0], student)
    else:
        _describe_transformer(folder, student.body.first)
    for path, module in zip(paths[1:], modules[1:], strict=True):
        _describe_module(folder / path, module)


def describe_router_for_other_runtimes(folder: Path, routes: Mapping[Role, Sequence[nn.Module]]) -> None:
    """Rewrite the JSON files of a `Router`, which sentence-transformers saved in ``folder``, in the older layout.

    routes: the modules of each route, the first of which reads texts. Versions before 5 know no routes by role.
    """
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": f"{OLDER_NAMES}Router"}])
    _rewrite(folder / "config_sentence_transformers.json", _model_settings)
    _rewrite(folder / ROUTER, _router_settings)
    for route, modules in routes.items():
        paths = [folder / f"{route}_{number}_{type(module).__name__}" for number, module in enumerate(modules)]
        if transformer_of(modules) is not None:
            _describe_transformer(paths[0], modules[0])
        for path, module in zip(paths[1:], modules[1:], strict=True):
            _describe_module(path, module)


def _path(number: int, module: nn.Module, student: Student) -> str:
    """Return the folder of a module below the student's. Before version 5, a token table was not read from ''."""
    return "" if number == 0 and student.kind == "transformer" else f"{number}_{type(module).__name__}"


def _model_settings(config: dict[str, Any]) -> dict[str, Any]:
    # The version would make every older version warn about a student that it reads without loss.
    return {name: value for name, value in config.items() if name not in ("__version__", "model_type")}


def _module_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the ``config`` of a module under older names, without settings that are assumed anyway."""
    older = {name: value for name, value in config.items() if name not in ASSUMED or ASSUMED[name] != value}
    if "embedding_dimension" in older:
        older = {"word_embedding_dimension": older.pop("embedding_dimension")} | older
    older.pop("pooling_mode", None)  # written as flags
    return older


def _router_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the ``config`` of a router with older names of modules, without a setting that only version 6 knows."""
    types = {module: OLDER_NAMES + kind.rpartition(".")[2] for module, kind in config["types"].items()}
    parameters = {name: value for name, value in config["parameters"].items() if name != "route_mappings" or value}
    return config | {"types": types, "parameters": parameters}


def _describe_module(folder: Path, module: nn.Module) -> None:
    """Rewrite the settings of ``module``, which is not the first of its model, in its own ``folder``."""
    folder.mkdir(exist_ok=True)
    used = pooling_modes(module)
    flags = {name: mode in used for mode, name in POOLINGS.items()} if used else {}
    _rewrite(folder / CONFIG, lambda config: _module_settings(config) | flags)


def _describe_transformer(folder: Path, module: Any) -> None:
    """Rewrite the settings of ``module``, a `Transformer` in ``folder``."""
    limit = module.max_seq_length

    def settings(config: dict[str, Any]) -> dict[str, Any]:
        plain = {"max_seq_length": limit, "do_lower_case": False}
        if drop_pooler(module.model):
            # Otherwise BERT gets a pooler of its own, with random weights and a warning. Nothing reads its output.
            plain["model_args"] = {"add_pooling_layer": False}
        if config.get("modality_config", {}).get("text") == READS_TEXT:
            config = {k: v for k, v in config.items() if k not in ("modality_config", "module_output_name")}
        return plain | {name: value for name, value in config.items() if ASSUMED.get(name) != value}

    _rewrite(folder / "sentence_bert_config.json", settings)
    # fastembed truncates at the smaller of two limits. The other limit is that of the model the tokenizer came from.
    _rewrite(folder / "tokenizer_config.json", lambda config: _tokenizer_settings(config) | {"max_length": limit})


def _tokenizer_settings(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if not OF_THE_CALL.fullmatch(name)}
    return kept | {"tokenizer_class": TOKENIZER_CLASSES.get(kept["tokenizer_class"], kept["tokenizer_class"])}


def _describe_table(folder: Path, table: Path, student: Student) -> None:
    """Move the table to its own folder, and write the configs that fastembed and transformers.js need."""
    table.mkdir()
    (folder / WEIGHTS).rename(table / WEIGHTS)
    shutil.copyfile(folder / TOKENIZER, table / TOKENIZER)
    tokenizer, limit = student.tokenizer, student.token_limit
    # Padding is masked, so any token will do if the tokenizer has no padding token.
    pad = next((token for token in ("[PAD]", "<pad>") if tokenizer.token_to_id(token) is not None), None)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": UNLIMITED if limit is None else limit,
        "pad_token": pad or tokenizer.id_to_token(0),
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / CONFIG, {"model_type": "static-embedding", "architectures": ["StaticEmbedding"]})


def _rewrite(file: Path, change: Any) -> None:
    """Write what ``change`` makes of the JSON object in ``file``, {} if there is none."""
    write_json(file, change(json.loads(file.read_bytes()) if file.is_file() else {}))
