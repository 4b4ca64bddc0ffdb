"""Writes the package of a handover: sealed as it goes, in bounded memory. No plaintext touches a disk.

A `Package` is made here alone, and only of a file that is whole. What is being written stands beside it under
another name (`.partial`); it opens for nobody, and is taken away when anything goes wrong.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from qaqpa.errors import NotConfigured, StoreUnavailable
from qaqpa.files import sync_folder
from qaqpa.model.handover import HandoverIntent, Package
from qaqpa.seal.keys import PackageKey, RecipientKey, Sealing

BLOCK = 2**18
"""Bytes that are sealed at once."""


def package_key(key: RecipientKey | None) -> PackageKey:
    """The same key, if packages can be sealed to it. Raises NotConfigured."""
    if not isinstance(key, PackageKey):
        kind = "tls_only" if key is None else key.kind
        raise NotConfigured(f"seal.kind = {kind} seals no packages: agree on age, cms or openpgp with the recipient")
    return key


class PackageWriter:
    """A file that takes plaintext and holds ciphertext. One thread at a time.

        with PackageWriter(intent, key, path) as writer:
            writer.write(row)
        writer.package

    Leaving the block closes it; an exception inside aborts it. Between the two of them nothing is at `path`.
    """

    def __init__(self, intent: HandoverIntent, key: PackageKey, path: Path) -> None:
        """Begin. What an earlier writer left when its process was killed is overwritten.

        Raises TypeError for what is no handover's intent, StoreUnavailable, NotConfigured.
        """
        if not isinstance(intent, HandoverIntent):
            raise TypeError("a package is made only from a handover's intent")
        self.intent, self.key, self.path = intent, key, path
        self.package: Package | None = None
        """When it is closed."""
        self._partial = path.with_name(f".{path.name}.partial")
        self._rest = bytearray()
        self._sealing: Sealing | None = None
        try:
            self._file = _File(self._partial)
        except OSError as error:
            raise _unwritten(error) from error
        with self._whole_or_nothing():
            self._sealing = key.into(self._file)

    def write(self, content: bytes) -> None:
        """The next bytes of the content, as many as there are. Raises StoreUnavailable, after which nothing is left."""
        sealing = self._open()
        self._rest += content
        if len(self._rest) < BLOCK:
            return
        whole = len(self._rest) // BLOCK * BLOCK
        with self._whole_or_nothing(), memoryview(self._rest) as view:
            for at in range(0, whole, BLOCK):
                sealing.write(bytes(view[at : at + BLOCK]))
        del self._rest[:whole]

    def close(self) -> Package:
        """The content is whole: so is the file, which is durable at `path` now. Once closed, the same again.

        Raises StoreUnavailable, after which nothing is left.
        """
        if self.package is not None:
            return self.package
        sealing = self._open()
        with self._whole_or_nothing():
            if self._rest:
                sealing.write(bytes(self._rest))
            sealing.finish()
            self._file.keep_as(self.path)
        self._sealing = None
        self._rest.clear()
        self.package = Package(
            self.intent, self.path, self.key.kind, self.key.kid, self.key.media_type,
            self._file.size, self._file.digest.hexdigest(),
        )  # fmt: skip
        return self.package

    def abort(self) -> None:
        """Leave nothing behind. Once closed or aborted it does nothing."""
        if self.package is not None:
            return
        sealing, self._sealing = self._sealing, None
        if sealing is not None:
            sealing.cancel()
        self._rest.clear()
        self._file.drop()

    def __enter__(self) -> PackageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._sealing is not None:
            self.close()

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """Whatever goes wrong ends it: a block may be half in the file, so nobody goes on all the same."""
        try:
            yield
        except OSError as error:
            self.abort()
            raise _unwritten(error) from error
        except BaseException:
            self.abort()
            raise

    def _open(self) -> Sealing:
        if self._sealing is None:
            raise ValueError("the package is closed or aborted")
        return self._sealing


class _File:
    """The sealed bytes on their way, which the owner alone may read; it counts and digests them."""

    def __init__(self, path: Path) -> None:
        self.size, self.digest = 0, hashlib.sha256()
        self._path = path
        # A lock tells a writer at work from one that was killed, and goes with its process.
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._descriptor).st_nlink == 0:
                raise BlockingIOError(None, "another writer has just ended")
            os.fchmod(self._descriptor, 0o600)
            os.ftruncate(self._descriptor, 0)
        except OSError:
            os.close(self._descriptor)
            raise

    def write(self, block: bytes) -> int:
        """As `Sink`."""
        if self._descriptor is None:
            raise OSError("the file is closed")
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self.digest.update(block)
        self.size += len(block)
        return len(block)

    def keep_as(self, path: Path) -> None:
        """Durable, under that name."""
        if self._descriptor is None:
            raise OSError("the file is closed")
        os.fsync(self._descriptor)
        self._path.replace(path)
        try:
            sync_folder(path.parent)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._close()

    def drop(self) -> None:
        """Gone; the name first, while the lock is held, so that it is no later writer's."""
        if self._descriptor is not None:
            try:
                self._path.unlink(missing_ok=True)
            finally:
                self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _unwritten(error: OSError) -> StoreUnavailable:
    if isinstance(error, BlockingIOError):
        return StoreUnavailable("the package is being written by another process: wait for it")
    why = error.strerror or type(error).__name__
    return StoreUnavailable(f"the package cannot be written ({why}): nothing of it is left; mend that and begin anew")
