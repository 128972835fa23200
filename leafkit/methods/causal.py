"""A causal language model of transformers as a generator. Needs torch, and the package gguf for a .gguf file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.nn.functional import cross_entropy, log_softmax

from leafkit.errors import InputError
from leafkit.extras import import_optional
from leafkit.students.source import quiet_transformers
from leafkit.types import Float32

# The options of the fine-tuning on examples.
LEARNING_RATE, BATCH = 3e-5, 8


class CausalModel:
    """A transformer that continues a prompt; see `leafkit.methods.generator.Generator` for the functions.

    The states of the prompt and of what was written after it are kept, so that each token is computed once.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, licence: str) -> None:
        """Use ``model`` with ``tokenizer``, both of transformers, on their device."""
        self.name, self.licence = name, licence
        self._model, self._tokenizer = model.eval(), tokenizer
        size = model.get_input_embeddings().weight.shape[0]
        self.tokens = [tokenizer.decode([place]) for place in range(size)]
        special = {tokenizer.eos_token_id, *tokenizer.all_special_ids}
        self.ends = frozenset(special | {place for place, text in enumerate(self.tokens) if "\n" in text})
        self._forget()

    @classmethod
    def open(cls, name: str) -> CausalModel:
        """Open a folder with config.json, a .gguf file, or the one .gguf file of ``package:NAME``, in float32.

        Raises `InputError` if there is no model, and `MissingExtraError` without the package gguf.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        path, licence = _file(name)
        options: dict[str, Any] = {}
        if path.suffix == ".gguf":
            import_optional("gguf")
            options, path = {"gguf_file": path.name}, path.parent
        try:
            with quiet_transformers():
                tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, **options)
                model = AutoModelForCausalLM.from_pretrained(
                    str(path), local_files_only=True, dtype=torch.float32, **options
                )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"{name} cannot be opened as a causal language model: {error}. Give a folder of transformers, a .gguf "
                "file or package:NAME of such a model."
            ) from error
        return cls(model, tokenizer, name=f"{name}@{_weights_hash(model)}", licence=licence)

    @torch.inference_mode()
    def log_probabilities(self, prompt: str, written: Sequence[tuple[int, ...]]) -> Float32:
        """Return the log-probability of each next token after ``prompt`` and ``written``, (written, tokens)."""
        logits = self._step(prompt, list(written))
        return log_softmax(logits.float(), dim=-1).cpu().numpy()

    def _step(self, prompt: str, written: list[tuple[int, ...]]) -> torch.Tensor:
        """Return the logits after the last token, from the states of the last call where they can be used."""
        parents = [self._places.get(ids[:-1]) for ids in written] if prompt == self._prompt else [None]
        if written[0] and all(parent is not None for parent in parents):
            self._cache.reorder_cache(torch.tensor(parents, device=self._model.device))
            inputs = torch.tensor([[ids[-1]] for ids in written], device=self._model.device)
        else:
            self._forget()
            start = self._tokenizer(prompt)["input_ids"] or [self._tokenizer.eos_token_id]
            inputs = torch.tensor([[*start, *ids] for ids in written], device=self._model.device)
        output = self._model(input_ids=inputs, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._prompt, self._cache = prompt, output.past_key_values
        self._places = {ids: place for place, ids in enumerate(written)}
        return output.logits[:, -1]

    def _forget(self) -> None:
        self._prompt: str | None = None
        self._cache: Any = None
        self._places: dict[tuple[int, ...], int] = {}

    def text(self, ids: Sequence[int]) -> str:
        """Return the tokens ``ids`` as a text."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def learn(self, examples: Sequence[tuple[str, str]], seed: int) -> None:
        """Fine-tune the model for one epoch on the second text of each of ``examples``, given the first, the prompt."""
        self._forget()
        order = numpy.random.default_rng([seed, len(examples)]).permutation(len(examples))
        self._model.train().requires_grad_(True)
        optimiser = torch.optim.AdamW(self._model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
        for start in range(0, len(order), BATCH):
            self._loss([examples[place] for place in order[start : start + BATCH]]).backward()
            optimiser.step()
            optimiser.zero_grad()
        self._model.eval().requires_grad_(False)
        self.name = f"{self.name.partition('@')[0]}@{_weights_hash(self._model)}"

    def _loss(self, examples: Sequence[tuple[str, str]]) -> torch.Tensor:
        """Return the mean cross-entropy of the tokens of the texts, each with a line break as its end."""
        prompts = [self._tokenizer(prompt)["input_ids"] for prompt, _ in examples]
        texts = [self._tokenizer(f"{text}\n")["input_ids"] for _, text in examples]
        length = max(len(one) + len(other) for one, other in zip(prompts, texts))
        ids = torch.zeros(len(examples), length, dtype=torch.int64, device=self._model.device)
        mask, targets = torch.zeros_like(ids), torch.full_like(ids, -100)
        for row, (prompt, text) in enumerate(zip(prompts, texts)):
            whole = torch.tensor([*prompt, *text], device=ids.device)
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
            targets[row, len(prompt) : len(whole)] = whole[len(prompt) :]
        logits = self._model(input_ids=ids, attention_mask=mask).logits
        return cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten())


def _file(name: str) -> tuple[Path, str]:
    """Return the folder or .gguf file of the generator ``name``, and its licence as far as the package states it."""
    if not name.startswith("package:"):
        return Path(name), "not stated"
    distribution = name.removeprefix("package:")
    try:
        files, facts = metadata.files(distribution) or [], metadata.metadata(distribution).json
    except metadata.PackageNotFoundError as error:
        raise InputError(f"the package {distribution!r} is not installed. Run: pip install {distribution}") from error
    models = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if len(models) != 1:
        raise InputError(f"the package {distribution!r} contains {len(models)} .gguf files; expected exactly one.")
    return models[0], str(facts.get("license_expression") or facts.get("license") or "not stated")


def _weights_hash(model: Any) -> str:
    """Return a hash of the weights of ``model``, 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
