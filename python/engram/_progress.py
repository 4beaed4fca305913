"""Progress of long calls."""

from __future__ import annotations

import sys
import time
from typing import Callable, Optional, Union

#: ``True``: a line on stderr; a function: called with what is done and the total (0: not known).
Progress = Union[bool, Callable[[int, int], None]]


def counter(progress: Progress, total: int, what: str) -> Optional[Callable[[int], None]]:
    """A function that takes how much more is done; None where nobody asks."""
    if progress is False or progress is None:
        return None
    done = 0
    last = 0.0

    def advance(by: int) -> None:
        nonlocal done, last
        done += by
        if callable(progress):
            progress(done, total)
            return
        now = time.monotonic()
        end = total > 0 and done >= total
        if now - last < 0.2 and not end:
            return
        last = now
        of = f" of {total:,}" if total else ""
        sys.stderr.write(f"\r{done:,}{of} {what}" + ("\n" if end else ""))
        sys.stderr.flush()

    return advance
