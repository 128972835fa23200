"""Progress of long work on stderr: done, rate, ETA. Results never go there."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(label: str, *, total: int | None, unit: str, done: int = 0) -> tqdm:
    """A bar that shows ``label``, rate in ``unit`` per second and ETA; call ``update(n)``, use with ``with``.

    On a terminal it redraws in place; in a log file it writes a line every half minute.
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
