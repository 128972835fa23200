"""Progress bars on stderr, so that stdout holds results only."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(label: str, *, total: int | None, unit: str, done: int = 0) -> tqdm:
    """Return a progress bar that shows ``label``, the rate in ``unit`` per second and the remaining time.

    total: the number of units of the whole work, or None if unknown.
    done: the units that are finished already.

    Use the bar as a context manager and call ``update(n)`` after ``n`` more units. On a terminal the bar redraws in
    place; in a log file it writes a line every 30 seconds.
    """
    live = sys.stderr.isatty()
    return tqdm(
        desc=label,
        total=total,
        unit=f" {unit}",
        initial=done,
        file=sys.stderr,
        dynamic_ncols=live,
        mininterval=0.1 if live else 30.0,
        maxinterval=10.0 if live else 60.0,
        smoothing=0.1,
        leave=True,
    )
