"""The processes that train together: one alone, or those that torchrun or accelerate launch started."""

from __future__ import annotations

import atexit
from datetime import timedelta
from typing import TYPE_CHECKING

from torch import distributed

if TYPE_CHECKING:
    from accelerate import Accelerator


def start_accelerator() -> Accelerator:
    """Return the accelerator of this process, which joins the process group of a launcher if there is one."""
    from accelerate import Accelerator, InitProcessGroupKwargs

    # The teacher may encode for days while the other processes wait; the default gives up after minutes.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=30))
    grouped = _is_grouped()
    # `StudentForward` chooses the precision itself: accelerate would cast the head as well.
    accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[patience])
    if _is_grouped() and not grouped:
        # The threads of a group that is never left sometimes abort a finished process when its interpreter ends. The
        # group is left only at exit, because a script may distil again and accelerate keeps one group per process.
        atexit.register(_leave_group)
    return accelerator


def _is_grouped() -> bool:
    """Tell whether this process is in a process group of torch."""
    return distributed.is_available() and distributed.is_initialized()


def _leave_group() -> None:
    if _is_grouped():  # a script may have left the group already
        distributed.destroy_process_group()
