"""A register while it waits: encrypted from the first byte that arrives, under a key of its own handover.

AES-256-GCM over pieces of 64 KiB, each bound to its place and to whether it is the last (STREAM, Hoang et al. 2015), so
that a file which was cut, or whose pieces were moved, does not open. It can be read from anywhere, as spreadsheets are.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qaqpa import files
from qaqpa.errors import StoreUnavailable

PIECE = 65_536
_TAG = 16


def _nonce(number: int, *, last: bool) -> bytes:
    # The key is used for this one file, so counting is enough.
    return number.to_bytes(11) + (b"\x01" if last else b"\x00")


class SpoolWriter:
    """Takes a register in and leaves only ciphertext on disk. `close` makes it durable; `abort` removes it."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._cipher = AESGCM(key)
        self._buffer = bytearray()
        self._number = 0
        self.size = 0
        """Bytes taken in."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be made: {error.strerror}; nothing was taken in") from None
        self._file = os.fdopen(descriptor, "wb")

    def write(self, data: bytes) -> None:
        """Take more in. Raises StoreUnavailable when the disk is full."""
        self.size += len(data)
        self._buffer += data
        # The last piece is known only at the end: one is always held back.
        while len(self._buffer) > PIECE:
            self._put(bytes(self._buffer[:PIECE]), last=False)
            del self._buffer[:PIECE]

    def _put(self, piece: bytes, *, last: bool) -> None:
        try:
            self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, None))
        except OSError as error:
            self.abort()
            raise StoreUnavailable(f"the register cannot be kept: {error.strerror}; nothing was taken in") from None
        self._number += 1

    def close(self) -> None:
        """It is whole."""
        self._put(bytes(self._buffer), last=True)
        self._buffer.clear()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            files.sync_folder(self._path.parent)
        except OSError as error:
            self.abort()
            raise StoreUnavailable(f"the register cannot be kept: {error.strerror}; nothing was taken in") from None

    def abort(self) -> None:
        """It is not wanted."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class _Spooled(io.RawIOBase):
    """The plaintext, piece by piece, in memory only."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._file = path.open("rb")
        self._cipher = AESGCM(key)
        stored = os.fstat(self._file.fileno()).st_size
        self._pieces = max(1, -(-stored // (PIECE + _TAG)))
        self._size = stored - self._pieces * _TAG
        self._at = 0
        self._piece = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]  # of the buffer protocol
        number, begin = divmod(self._at, PIECE)
        if self._at >= self._size and self._size:
            return 0
        if self._piece[0] != number:
            self._piece = (number, self._opened(number))
        part = self._piece[1][begin : begin + len(target)]
        target[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _opened(self, number: int) -> bytes:
        self._file.seek(number * (PIECE + _TAG))
        try:
            return self._cipher.decrypt(
                _nonce(number, last=number == self._pieces - 1), self._file.read(PIECE + _TAG), None
            )
        except InvalidTag:
            raise StoreUnavailable("the register that was kept is damaged: hand it in again") from None

    def close(self) -> None:
        self._file.close()
        super().close()


def open_spool(path: Path, key: bytes) -> BinaryIO:
    """The register as it came. Raises StoreUnavailable where it is gone or damaged."""
    try:
        return io.BufferedReader(_Spooled(path, key), PIECE)
    except OSError as error:
        raise StoreUnavailable(f"the register that was kept cannot be read: {error.strerror}") from None
