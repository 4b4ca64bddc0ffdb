"""age (age-encryption.org/v1) to one X25519 recipient, with pyrage.

pyrage pulls the content from a file-like reader, and a writer pushes: so it works in a thread of its own, and a short
queue between the two bounds the memory.
"""

from __future__ import annotations

import queue
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import pyrage
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from qaqpa.errors import NotConfigured
from qaqpa.model.words import SealKind
from qaqpa.seal.keys import Sealing, Sink, read_key

_RECIPIENT = re.compile(r"age1([02-9ac-hj-np-z]{58})")
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BLOCKS = 4
"""So many blocks may wait between the two threads."""


@dataclass(frozen=True, slots=True)
class AgeKey:
    """A `PackageKey` from an age recipient, `age1…`."""

    kid: str
    key: Any = field(repr=False)
    """A `pyrage.x25519.Recipient`; the library tells no types."""
    kind: ClassVar[SealKind] = SealKind.AGE
    media_type: ClassVar[str] = "application/octet-stream"
    expires_at: ClassVar[datetime | None] = None

    def encrypt(self, content: bytes, content_type: str) -> bytes:
        """As `RecipientKey`; binary."""
        sealed: bytes = pyrage.encrypt(content, [self.key])
        return sealed

    def into(self, file: Sink) -> Sealing:
        """As `PackageKey`."""
        return _Age(self.key, file)


class _Keeping:
    """The file; it keeps what went wrong, which pyrage passes on as text only."""

    def __init__(self, file: Sink) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, block: bytes) -> int:
        try:
            return self._file.write(block)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """The file is flushed when the writer closes."""


class _Age:
    """A `Sealing`; also the reader that pyrage pulls from."""

    def __init__(self, key: Any, file: Sink) -> None:
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_BLOCKS)
        """None: there will be no more."""
        self._rest = memoryview(b"")
        self._cancelled = False
        self._failed: OSError | None = None
        # A daemon, so that a writer that nobody closed does not hold up the end of the process.
        self._thread = threading.Thread(target=self._work, args=(key, _Keeping(file)), daemon=True, name="seal-age")
        self._thread.start()

    def _work(self, key: Any, out: _Keeping) -> None:
        try:
            pyrage.encrypt_io(self, out, [key])
        except BaseException:  # noqa: BLE001 - also a panic in the library; the writer raises it where it is seen
            self._failed = out.error or OSError("age stopped before the content ended")
        if out.error is not None:
            self._failed = out.error  # at the very end the library says nothing of it
        if self._failed is not None:
            while self._blocks.get() is not None:
                pass  # the writer never waits for a reader that is gone

    def read(self, size: int = -1) -> bytes:
        """What pyrage pulls: at most `size` bytes; none at the end."""
        if not self._rest:
            block = self._blocks.get()
            if block is None:
                self._blocks.put(None)  # once more, for whoever asks again
                if self._cancelled:
                    raise OSError("cancelled")
                return b""
            self._rest = memoryview(block)
        taken, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return taken

    def write(self, block: bytes) -> None:
        """As `Sealing`."""
        if self._failed is not None:
            raise self._failed
        self._blocks.put(block)

    def finish(self) -> None:
        """As `Sealing`."""
        self._blocks.put(None)
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def cancel(self) -> None:
        """As `Sealing`."""
        self._cancelled = True
        self._blocks.put(None)
        self._thread.join()


def load_age(path: str) -> AgeKey:
    """The recipient in the file at `path`: one line `age1…`, comments (`#`) beside it. Raises NotConfigured."""
    lines = [line.strip() for line in read_key(path).decode("ascii", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if any(line.upper().startswith(("AGE-SECRET-KEY-", "AGE-PLUGIN-")) for line in keys):
        raise NotConfigured(f"seal.key: {path} holds a private key; ask the recipient for `age-keygen -y` of it")
    found = _RECIPIENT.fullmatch(keys[0]) if len(keys) == 1 else None
    if found is None:
        raise NotConfigured(f"seal.key: {path} is not one age recipient (a line that begins with age1, X25519)")
    try:
        recipient = pyrage.x25519.Recipient.from_str(keys[0])
        # pyrage panics at a point of small order, with which everybody knows the key; so it is asked elsewhere.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(_point(found[1])))
    except (pyrage.RecipientError, ValueError):
        raise NotConfigured(f"seal.key: {path} is not a whole age recipient: look for a typing error") from None
    return AgeKey(keys[0], recipient)


def _point(bech32: str) -> bytes:
    """The 32 bytes of a recipient; its last six letters are a checksum, which pyrage checks."""
    number = 0
    for letter in bech32[:-6]:
        number = number << 5 | _BECH32.index(letter)
    return (number >> 4).to_bytes(32)  # 52 letters are 260 bits
