"""The base of the stand-ins of recipients of packages: what they keep, log and do wrong, and their receipts.

A stand-in keeps whole files in a folder of its own, and opens them only if it is given a function that can. It must
never be given a real person's data.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from joserfc import jws
from joserfc.jwk import OKPKey

from qaqpa.errors import UsageError
from qaqpa.model.identifiers import uuid7
from qaqpa.model.words import timestamp

__all__ = ["PackageCall", "PackageFault", "PackageRecipient", "ReceiptFault"]

OpenPackage = Callable[[Path], object]
"""Opens a sealed package, or raises; what it returns is kept."""
_BOMB = 48 * 2**20


class PackageFault(StrEnum):
    """What the recipient's machine does wrong. `after` bytes where it says so."""

    NONE = "none"
    DISK_FULL = "disk_full"
    """No room for more than `after` bytes."""
    DROP = "drop"
    """The connection is cut once `after` bytes of this connection are stored."""
    SLOW = "slow"
    """Each write takes `delay` seconds."""
    CHANGED_HOST_KEY = "changed_host_key"
    """SSH: another host key; HTTPS: a certificate of another host."""
    REFUSE_LOGIN = "refuse_login"
    RENAME_FAILS = "rename_fails"
    """The final name is refused."""
    DROP_BEFORE_RENAME = "drop_before_rename"
    """The connection is cut when the final name is asked for, and nothing is done."""
    DROP_AFTER_RENAME = "drop_after_rename"
    """It is done, and the connection cut instead of an answer."""
    LIES_ABOUT_SIZE = "lies_about_size"
    """It says that it has a byte less than it has."""
    CORRUPTS = "corrupts"
    """Of what is stored the first byte is changed."""
    HANGS = "hangs"
    """Never answers a write."""
    ELSEWHERE = "elsewhere"
    """HTTPS: the upload is said to be on another host."""
    REDIRECTS = "redirects"
    """HTTPS: 307."""


class ReceiptFault(StrEnum):
    """What is wrong with a receipt."""

    NONE = "none"
    ANOTHER_PACKAGE = "another_package"
    ANOTHER_FILE = "another_file"
    """The digest of another file."""
    STRANGER = "stranger"
    """Signed by another key."""
    UNSIGNED = "unsigned"
    ROW_NEVER_SENT = "row_never_sent"
    ROW_TWICE = "row_twice"
    FREE_TEXT = "free_text"
    """A sentence in place of a code."""
    ZIP_BOMB = "zip_bomb"
    """48 MiB of spaces in a small .zip."""
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCall:
    """Something that was asked of the recipient."""

    at: str
    """RFC 3339."""
    what: str
    """login, store, place, remove, receipt; with a colon what was wrong."""
    name: str
    """Of the file, as it was asked for."""
    bytes: int = 0
    """Stored by this call or upload."""


class PackageRecipient(ABC):
    """A recipient of packages; use it as `async with`, or `start()` and `stop()`. Started again it keeps port and keys.

    `inbox` is where packages come to lie, `outbox` where its receipts do.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        open_package: OpenPackage | None = None,
    ) -> None:
        """Files are kept in `directory` (a temporary one if None); calls are appended to `log` as JSON lines."""
        self.calls: list[PackageCall] = []
        self.fault = PackageFault.NONE
        self.after = 0
        self.delay = delay
        self.stored = 0
        """Bytes of all that was written, whatever became of it: what travelled."""
        self.opened: dict[str, object] = {}
        """What `open_package` made of each package, by name; an exception where it could not."""
        self.connections = 0
        self._upcoming: deque[PackageFault] = deque()
        self._port, self._directory, self._log = port, directory, log
        self._open_package = open_package
        self._stack: AsyncExitStack | None = None
        self._folder: Path | None = None
        self._receipt_key = OKPKey.generate_key("Ed25519")

    @abstractmethod
    async def _listen(self, folder: Path, stack: AsyncExitStack) -> int:
        """Serve `folder`; returns the port."""

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables under which a gateway's configuration finds this recipient."""

    # --- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        async with AsyncExitStack() as stack:
            if self._directory is None:
                made = tempfile.TemporaryDirectory(prefix="qaqpa-recipient-")
                self._directory = Path(stack.enter_context(made))
                stack.callback(self._forget)
            self._folder = self._directory.resolve()
            for folder in (self.inbox, self.outbox):
                folder.mkdir(parents=True, exist_ok=True)
            public = self._receipt_key.as_dict(private=False)
            (self._folder / "receipts.jwk.json").write_bytes(orjson.dumps(public))
            self._port = await self._listen(self._folder, stack)
            self._stack = stack.pop_all()

    def _forget(self) -> None:
        self._directory = None

    async def stop(self) -> None:
        """Stop at once; connections are cut."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._port

    @property
    def folder(self) -> Path:
        """All its files. Raises UsageError before start."""
        if self._folder is None:
            raise UsageError("the stand-in is not running: start it first")
        return self._folder

    @property
    def inbox(self) -> Path:
        """Packages, and parts of them under temporary names."""
        return self.folder / "inbox"

    @property
    def outbox(self) -> Path:
        """Receipts."""
        return self.folder / "outbox"

    @property
    def receipt_key_file(self) -> Path:
        """The public key that receipts are signed with, as JWK."""
        return self.folder / "receipts.jwk.json"

    @property
    def packages(self) -> list[Path]:
        """Whole packages under their final names."""
        return sorted(path for path in self.inbox.iterdir() if not path.name.startswith("."))

    # --- faults ------------------------------------------------------------------------------------

    def fail_next(self, fault: PackageFault, times: int = 1) -> None:
        """Let it go wrong in the next `times` connections, and then as `fault` says."""
        self._upcoming.extend([fault] * times)

    def _take_fault(self) -> PackageFault:
        """For a new connection (SSH) or request (HTTPS)."""
        return self._upcoming.popleft() if self._upcoming else self.fault

    # --- what happened -----------------------------------------------------------------------------

    def note(self, what: str, name: str, size: int = 0) -> None:
        """Write a call down."""
        call = PackageCall(at=timestamp(dt.datetime.now(dt.UTC)), what=what, name=name, bytes=size)
        self.calls.append(call)
        if self._log is not None:
            line = orjson.dumps(asdict(call), option=orjson.OPT_APPEND_NEWLINE)
            descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    def placed(self, name: str) -> None:
        """A package came to stand under its final name."""
        path = self.inbox / name
        self.note("place", name, path.stat().st_size)
        if self._open_package is not None:
            try:
                self.opened[name] = self._open_package(path)
            except Exception as error:  # noqa: BLE001 - whatever an opener raises is its answer
                self.opened[name] = error

    # --- receipts ----------------------------------------------------------------------------------

    def acknowledge(
        self,
        name: str,
        *,
        reject: Mapping[int, str] | None = None,
        result: str | None = None,
        destruction_due: dt.date | None = None,
        signed: bool = True,
        zipped: bool = False,
        fault: ReceiptFault = ReceiptFault.NONE,
    ) -> Path:
        """Write a receipt for the package of this name: rejected rows with their codes, or the whole.

        It appears in the outbox at once and whole.
        """
        package = name.partition(".")[0]
        said = {
            "package": uuid7() if fault is ReceiptFault.ANOTHER_PACKAGE else package,
            "sha256": self._digest(name) if fault is not ReceiptFault.ANOTHER_FILE else "0" * 64,
            "result": result or ("partial" if reject or fault in _WITH_ROWS else "accepted"),
            "received_at": timestamp(dt.datetime.now(dt.UTC)),
            "rows": [{"row": row, "code": code} for row, code in sorted((reject or {}).items())]
            + _WITH_ROWS.get(fault, []),
        }
        if destruction_due is not None:
            said["destruction_due"] = destruction_due.isoformat()
        content = orjson.dumps(said)
        if signed and fault is not ReceiptFault.UNSIGNED:
            key = self._receipt_key if fault is not ReceiptFault.STRANGER else OKPKey.generate_key("Ed25519")
            content = _signed(content, key)
        if fault is ReceiptFault.GARBAGE:
            content = os.urandom(500)
        if zipped or fault is ReceiptFault.ZIP_BOMB:
            content = _zipped(b" " * _BOMB if fault is ReceiptFault.ZIP_BOMB else content)
        path = self.outbox / f"{package}.{uuid7()}.receipt"
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(content)
        hidden.replace(path)
        self.note("receipt", path.name, len(content))
        return path

    def _digest(self, name: str) -> str:
        with (self.inbox / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


_WITH_ROWS: dict[ReceiptFault, list[dict[str, Any]]] = {
    ReceiptFault.ROW_NEVER_SENT: [{"row": 10**9, "code": "unknown_debtor"}],
    ReceiptFault.ROW_TWICE: [{"row": 1, "code": "unknown_debtor"}, {"row": 1, "code": "duplicate"}],
    ReceiptFault.FREE_TEXT: [{"row": 1, "code": "The debtor has moved away"}],
}


def _signed(content: bytes, key: OKPKey) -> bytes:
    class Registry(jws.JWSRegistry):
        max_payload_length = 2**26

    return jws.serialize_compact(
        {"alg": "Ed25519"}, content, key, registry=Registry(algorithms=["Ed25519"]), algorithms=["Ed25519"]
    ).encode()


def _zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../receipt.json", content)
    return packed.getvalue()
