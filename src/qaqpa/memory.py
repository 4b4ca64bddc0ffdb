"""Memory of the process: how the C library shares it among threads, and how often Python looks for cycles in it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_M_ARENA_MAX = -8
"""Of malloc.h, mallopt(3)."""
_NEW_OBJECTS = 20_000
"""Between two looks for cycles among them (700 otherwise); older ones are looked at as much less often."""


def settle() -> None:
    """What suits a process that handles many rows; call it first, before there are threads.

    glibc gives each thread a place of its own, and what one of them gave back no other gets: at a handover of many
    rows 25 MiB lie idle so. Where the C library is another one, nothing changes. And a chunk of rows is tens of
    thousands of objects, none of them in a cycle: looked through at every 700th, they cost a seventh of all processor
    time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
