"""A witness (C2SP tlog-witness): it cosigns a log's checkpoints as long as each extends the one before, and refuses a
log that rewrites its past. Run by another team than the log's, on another machine, with a key of its own.

Its memory is one file a log: the last checkpoint it cosigned, under its own signature. A file that is damaged, or
signed by another key, stops it from cosigning for that log; it never starts over by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qaqpa import files, log
from qaqpa.errors import KeyringError, NotConfigured, StoreUnavailable, VerificationFailed
from qaqpa.tlog.merkle import EMPTY_ROOT
from qaqpa.tlog.notes import AddCheckpoint, Algorithm, Checkpoint, Note, VerifierKey, cosign
from qaqpa.tlog.proofs import verify_consistency

MAX_BODY = 64 * 1024
_BODY_WITHIN_S = 10
_ANSWER_WITHIN_S = 30
_IDLE_S = 60
_LINGER_S = 1
_TEXT = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"
_MOST_EVIDENCE = 64
"""Files of one kind for one log: the first ones count, and the log line names each."""

_log = log.get("witness")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the witness says to a request."""

    status: int
    content_type: str
    body: bytes


def create_key(path: Path, name: str) -> VerifierKey:
    """Make an Ed25519 key at `path` (PEM, mode 0600) and give the vkey for `name`; never overwrites."""
    private = Ed25519PrivateKey.generate()
    key = _verifier(name, private)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_new(path, pem)
        files.sync_folder(path.parent)
    except FileExistsError:
        raise KeyringError(f"{path} exists: a key is never overwritten") from None
    except OSError as error:
        raise KeyringError(f"{path} cannot be written: {error.strerror}") from None
    return key


class Witness:
    """Cosigns for the logs it is told to trust. Safe for several threads, and for several processes on one folder."""

    def __init__(
        self,
        name: str,
        key: Path,
        state: Path,
        logs: Mapping[str, Sequence[VerifierKey]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`logs`: for each origin the keys, any of which may sign its checkpoints. Raises KeyringError."""
        self._private = _load_key(key)
        self.key = _verifier(name, self._private)
        self._state = state
        self._logs = {origin: tuple(keys) for origin, keys in logs.items()}
        self._clock = clock
        self._lock = threading.Lock()
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"{state} cannot be made: {error.strerror}") from None
        self._require_own_memory()

    def _require_own_memory(self) -> None:
        """Begun under another name or key it could cosign for nobody. What is damaged is said to who asks."""
        for path in map(self._path, self._logs):
            with contextlib.suppress(OSError, VerificationFailed):
                if not Note.parse(path.read_bytes()).is_signed_by(self.key):
                    raise KeyringError(
                        f"{path} was cosigned under another name or key than {self.key}: start the witness with the "
                        "name and the key that it began with, or give it another folder"
                    )

    def add_checkpoint(self, body: bytes) -> Answer:
        """C2SP tlog-witness, add-checkpoint: the request's body in, the answer out. Never raises."""
        try:
            request = AddCheckpoint.parse(body)
            checkpoint = Checkpoint.parse(request.note.text)
        except VerificationFailed as error:
            return _refusal(400, str(error))
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            return _refusal(404, "this witness does not know the log of that origin")
        note = _trusted(request.note, keys)
        if note is None:
            return _refusal(403, "the checkpoint has no valid signature of a key that this witness trusts for the log")
        if request.old_size > checkpoint.size:
            return _refusal(400, "the old size is larger than the checkpoint's")
        try:
            with self._locked():
                return self._extend(request, note, checkpoint)
        except (StoreUnavailable, OSError) as error:
            _log.error("state_unusable", file=str(self._path(checkpoint.origin)), error_type=type(error).__name__)
            return _refusal(500, "the witness cannot read or write what it remembers of the log; its operator is told")

    def latest(self, origin: str) -> Checkpoint | None:
        """The last checkpoint cosigned for a log. Raises StoreUnavailable where what is stored is damaged."""
        path = self._path(origin)
        try:
            note = Note.parse(path.read_bytes())
            note.verify(self.key)
            checkpoint = Checkpoint.parse(note.text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be read: {error.strerror}") from None
        except VerificationFailed as error:
            raise StoreUnavailable(f"{path} is not a checkpoint that {self.key} cosigned: {error}") from None
        if checkpoint.origin != origin:
            raise StoreUnavailable(f"{path} is of another log")
        return checkpoint

    def _extend(self, request: AddCheckpoint, note: Note, new: Checkpoint) -> Answer:
        """Compare with the state, swap it, and only then let the cosignature out. The lock is held."""
        known = self.latest(new.origin)
        size, root = (0, EMPTY_ROOT) if known is None else (known.size, known.root)
        if request.old_size != size:
            return Answer(409, _SIZE, f"{size}\n".encode())
        if new.size == size and new.root != root:
            self._keep_evidence(note, new, "forked")
            return Answer(409, _SIZE, f"{size}\n".encode())
        try:
            # From nothing to something there is nothing to prove, and the proof must be empty.
            if size:
                verify_consistency(size, new.size, request.proof, root, new.root)
            elif request.proof:
                raise VerificationFailed("from size 0 the consistency proof must be empty")  # noqa: TRY301 - one answer
        except VerificationFailed as error:
            self._keep_evidence(note, new, "unproven")
            return _refusal(422, str(error))
        cosignature = cosign(note.text, self.key, self._private.sign, int(self._clock()))
        if known is None or new.size > size:
            # The log's signatures stay with it: beside a forked checkpoint they convict the log.
            files.replace(self._path(new.origin), note.adding([cosignature]).to_bytes())
        return Answer(200, _TEXT, str(cosignature).encode())

    def _keep_evidence(self, note: Note, checkpoint: Checkpoint, kind: str) -> None:
        """A checkpoint that the log signed. `forked`: of a size that it signed with another root, which convicts it.
        `unproven`: sent with a proof that does not verify, which convicts whoever sent it; checkpoints are public.
        Nothing that is kept is overwritten.
        """
        stem = f"{self._path(checkpoint.origin).stem}.{kind}-"
        path = self._state / f"{stem}{checkpoint.size}-{checkpoint.root.hex()}"
        if not path.exists() and sum(1 for _ in self._state.glob(f"{stem}*")) < _MOST_EVIDENCE:
            files.replace(path, note.to_bytes())
        tell = _log.error if kind == "forked" else _log.warning
        tell(f"checkpoint_{kind}", size=checkpoint.size, file=str(path))

    def _path(self, origin: str) -> Path:
        return self._state / f"{hashlib.sha256(origin.encode()).hexdigest()}.checkpoint"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock, files.locked(self._state / "lock"):
            yield


def application(witness: Witness) -> web.Application:
    """`POST /add-checkpoint`, and nothing else."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_BODY_WITHIN_S):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        # In a thread: it waits for the disk, and for other processes.
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            answer = await asyncio.to_thread(witness.add_checkpoint, body)
        return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/add-checkpoint", add_checkpoint)
    return app


@contextlib.asynccontextmanager
async def serving(
    witness: Witness, host: str, port: int, tls_context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Serve while inside; gives the address and port that are listened on (port 0 takes a free one)."""
    runner = web.AppRunner(
        application(witness),
        access_log=None,
        keepalive_timeout=_IDLE_S,
        lingering_time=_LINGER_S,
        shutdown_timeout=_ANSWER_WITHIN_S,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls_context).start()
        except OSError as error:
            raise NotConfigured(
                f"the witness cannot listen on {host}:{port} ({os.strerror(error.errno) if error.errno else error}): "
                "give an address of this machine and a port that is free"
            ) from None
        address = runner.addresses[0]
        yield address[0], address[1]
    finally:
        await runner.cleanup()


async def serve(
    witness: Witness,
    host: str,
    port: int,
    tls_context: ssl.SSLContext | None = None,
    *,
    listening: Callable[[str, int], None] = lambda host, port: None,
) -> None:
    """Serve until cancelled; `listening` hears where. Without `tls_context` in plain HTTP: behind a proxy, or in tests.

    Raises NotConfigured where nobody can listen.
    """
    async with serving(witness, host, port, tls_context) as (address, bound):
        listening(address, bound)
        await asyncio.Event().wait()


def _refusal(status: int, reason: str) -> Answer:
    return Answer(status, _TEXT, f"{reason}\n".encode())


def _trusted(note: Note, keys: Sequence[VerifierKey]) -> Note | None:
    """The note with the trusted keys' signatures alone; None without any, or where one of them is not valid."""
    signers = [key for key in keys if note.is_signed_by(key)]
    try:
        for key in signers:
            note.verify(key)
    except VerificationFailed:
        return None
    by_key = {key.id: each for key in signers for each in note.signatures if each.is_by(key)}
    return Note(note.text, tuple(by_key.values())) if signers else None


def _verifier(name: str, private: Ed25519PrivateKey) -> VerifierKey:
    return VerifierKey(name, Algorithm.COSIGNATURE, private.public_key().public_bytes_raw())


def _load_key(path: Path) -> Ed25519PrivateKey:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except OSError as error:
        raise KeyringError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeyringError(f"{path} may be read by others (mode {mode:04o}): run chmod 600 on it")
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyringError(f"{path} is not an unencrypted Ed25519 key in PEM: make one anew, or restore it")
    return private
