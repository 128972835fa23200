"""A student as it starts: the modules asked for, a linear head into the teacher's space, its prompts and length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leafkit.space import Space
from leafkit.students.backbone import fresh_modules, pretrained_modules
from leafkit.students.spec import Fresh, Pretrained, StudentSpec
from leafkit.students.static import static_modules
from leafkit.types import ROLES, Teacher

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_student(
    student: StudentSpec,
    teacher: Teacher,
    *,
    teacher_model: str | None = None,
    head_bias: bool = True,
    seed: int = 0,
) -> SentenceTransformer:
    """The untrained student of ``teacher``: backbone, Dense into the teacher's width, Normalize if it is unit-norm.

    ``teacher_model`` is the sentence-transformers folder or hub id behind the teacher, if there is one; it lends
    layers and tokenizer. The head, with or without a bias, is drawn from ``seed``: the ridge solution sets it better.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    space = teacher.space
    modules = _backbone(student, teacher, teacher_model, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules += _head(_width(modules), space, bias=head_bias)
    model = SentenceTransformer(
        modules=modules,
        device="cpu",
        prompts={role: space.prompt(role) for role in ROLES},
        similarity_fn_name="cosine",
    )
    if space.max_length is not None and type(modules[0]).__name__ == "Transformer":
        model.max_seq_length = min(space.max_length, longest_input(modules[0]))
    return model


def head_position(model: SentenceTransformer) -> int:
    """Where among its modules a student's head is: the last Dense."""
    return max(place for place, module in enumerate(model) if type(module).__name__ == "Dense")


def longest_input(transformer: Any) -> int:
    """How many tokens the transformer has positions for; its tokenizer's limit where positions are relative."""
    table = next(
        (module for name, module in transformer.model.named_modules() if name.endswith("position_embeddings")), None
    )
    size = getattr(table, "num_embeddings", None)
    if size is None:
        size = getattr(transformer.config, "max_position_embeddings", None)
    if size is None or size < 0:
        return int(transformer.tokenizer.model_max_length)
    padding = getattr(table, "padding_idx", None)
    # RoBERTa counts positions from the one after its padding index.
    return int(size if padding is None else size - padding - 1)


def _backbone(student: StudentSpec, teacher: Teacher, teacher_model: str | None, seed: int) -> list[Any]:
    if isinstance(student, Pretrained):
        return pretrained_modules(student, teacher_model)
    if isinstance(student, Fresh):
        return fresh_modules(student, teacher_model, seed)
    return static_modules(student, teacher, teacher_model, seed)


def _head(width: int, space: Space, *, bias: bool) -> list[Any]:
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    # Dense applies Tanh unless told otherwise, and then no student could match its teacher.
    dense = Dense(width, space.dim, bias=bias, activation_function=torch.nn.Identity())
    return [dense, Normalize()] if space.normalised else [dense]


def _width(modules: list[Any]) -> int:
    for module in reversed(modules):
        width = getattr(module, "get_embedding_dimension", lambda: None)()
        if width is not None:
            return int(width)
    raise ValueError("none of the modules knows its width")
