"""Registers as bodies of requests: read piece by piece, and anew for each attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from os import PathLike, fspath
from pathlib import Path

Register = bytes | str | PathLike[str]
"""The path of a file, or the content itself."""
_PIECE = 2**18
MEDIA_TYPES = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def media_type(register: Register, kind: str | None, encoding: str | None) -> str:
    """What the gate is told of it. Raises ValueError where its kind is not known."""
    if kind is None and not isinstance(register, bytes):
        kind = Path(fspath(register)).suffix.lower().lstrip(".")
    if kind not in MEDIA_TYPES:
        raise ValueError(f"kind: say which of {', '.join(MEDIA_TYPES)} the register is")
    told = MEDIA_TYPES[kind]
    return told if encoding is None or kind == "xlsx" else f"{told}; charset={encoding}"


def body_of(register: Register) -> bytes | AsyncIterator[bytes]:
    """The content. Raises OSError when it is read."""
    return register if isinstance(register, bytes) else _pieces(Path(fspath(register)))


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()
