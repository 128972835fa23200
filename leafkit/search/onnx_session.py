"""Run a received ONNX graph with limits: known operators, memory, and time while it is opened."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from leafkit.errors import DamageError
from leafkit.search.graph_check import check_graph
from leafkit.types import Int64

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# The most seconds in which a graph must load, and in which it must encode the golden texts. See `_after_seconds`.
SECONDS = 10.0
# The most memory in which all graphs of a process together compute. The weights, as large as their files, come on top.
GIGABYTES = 4.0
# How much longer than `SECONDS` a single node may compute: onnxruntime ends a run between two nodes only.
_LAST_NODE_SECONDS = 2.0
Result = TypeVar("Result")
_ADVICE = "Copy or export the student again."


class OnnxSession:
    """An open ONNX graph that turns token ids into the output ``output``. Any number of threads may run it."""

    def __init__(self, file: BinaryIO, path: Path, *, output: str, inputs: frozenset[str], threads: int) -> None:
        """Open the graph in ``file``, which is called ``path`` in messages.

        Raises `DamageError` for a graph that is not a plain text encoder with this output and some of these ``inputs``.
        """
        self._path = path
        self._output = output
        self._session = self._open(file, threads)
        self.inputs = [given.name for given in self._session.get_inputs()]
        outputs = [given.name for given in self._session.get_outputs()]
        if not inputs.issuperset(self.inputs) or output not in outputs:
            raise DamageError(
                f"{path} maps {', '.join(self.inputs)} to {', '.join(outputs)}; expected some of "
                f"{', '.join(sorted(inputs))}, and the output {output}. {_ADVICE}"
            )

    def run(self, feeds: dict[str, Int64], options: Any = None) -> Any:
        """Return the output for ``feeds``, the arrays of all `inputs`; raise `DamageError` if onnxruntime fails.

        ``options`` are those of `within_limit`.
        """
        try:
            return self._session.run([self._output], feeds, options)[0]
        except Exception as error:  # onnxruntime's errors have no common class
            raise DamageError(f"{self._path} cannot encode this text: {_reason(error)}") from error

    def within_limit(self, compute: Callable[[Any], Result]) -> Result:
        """Return ``compute(options)``, or raise `DamageError` if that takes more than about `SECONDS`.

        Runs with ``options`` end after `SECONDS`, but only between two nodes. A node that computes for hours is left
        behind in a thread of its own, which does not keep the process alive.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        results: list[Result] = []
        errors: list[BaseException] = []
        over = threading.Event()  # computed, failed, or given up

        def work() -> None:
            try:
                results.append(compute(options))
            except BaseException as error:  # it is raised in the caller's thread
                errors.append(error)
            over.set()

        def stop() -> None:
            options.terminate = True
            over.wait(_LAST_NODE_SECONDS)
            over.set()

        with _after_seconds(stop):
            threading.Thread(target=work, daemon=True).start()
            over.wait()
        if errors:
            raise errors[0]
        if not results:
            raise DamageError(f"{self._path} cannot encode its golden texts: {_too_slow()}")
        return results[0]

    def _open(self, file: BinaryIO, threads: int) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Without memory patterns a text of 512 tokens peaks at 190 MB, instead of 230 (patterns and arena) or 440 (no
        # arena), at the same speed.
        options.enable_mem_pattern = False
        options.log_severity_level = 4  # errors are raised, not logged as well
        _limit_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        try:
            check_graph(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            with _after_seconds(lambda: options.set_load_cancellation_flag(True)):
                return onnxruntime.InferenceSession(
                    _path_of(file),
                    options,
                    providers=["CPUExecutionProvider"],
                    # It computes without any limit. The exporter has folded the constants of a student already.
                    disabled_optimizers=["ConstantFolding"],
                )
        except Exception as error:  # onnxruntime's errors have no common class
            raise DamageError(f"{self._path} cannot be opened: {_reason(error)}") from error


@cache
def _limit_memory() -> None:
    """Bound the memory in which the graphs of this process compute, once for all of them."""
    import onnxruntime

    runtime: Any = onnxruntime  # these names have no annotations
    memory = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    runtime.create_and_register_allocator(memory, runtime.OrtArenaCfg({"max_mem": int(_gigabytes() * 1e9)}))


def _gigabytes() -> float:
    return float(os.environ.get("LEAFKIT_ONNX_GB") or GIGABYTES)


@contextmanager
def _after_seconds(stop: Callable[[], object]) -> Iterator[None]:
    """Call ``stop`` in another thread if the block lasts longer than `SECONDS`.

    On a busy machine the time counts in which this process computes, so that a sound graph is not refused there.
    """
    ended, begun, used = threading.Event(), time.monotonic(), time.process_time()

    def watch() -> None:
        left = SECONDS
        while left > 0:
            if ended.wait(max(left, 0.01)):
                return
            left = SECONDS - min(time.monotonic() - begun, time.process_time() - used)
        stop()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _path_of(file: BinaryIO) -> str:
    """Return a path by which onnxruntime opens the very file that is open here, whatever its name leads to now."""
    file.seek(0)
    return f"/dev/fd/{file.fileno()}"


def _too_slow() -> str:
    return f"it needs more than {SECONDS:.0f} s. {_ADVICE}"


def _reason(error: Exception) -> str:
    """Return what went wrong, and what to do about it."""
    text = str(error)
    if "terminate flag" in text or "CANCELED" in text:
        return _too_slow()
    if "Available memory of" in text or "Failed to allocate memory" in text:
        return (
            f"it needs more memory than the {_gigabytes():g} GB that all encoders of "
            "this process may use together. Shorten the text, or set the variable LEAFKIT_ONNX_GB."
        )
    return f"{text[:1000].rstrip('.')}. {_ADVICE}"
