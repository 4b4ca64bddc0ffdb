"""Ask the configured witnesses to cosign a checkpoint (C2SP tlog-witness). A checkpoint holds nothing about anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from qaqpa import log
from qaqpa.errors import QaqpaError, VerificationFailed
from qaqpa.ledger.checkpoints import Checkpoints
from qaqpa.ledger.integrate import tree_of
from qaqpa.store import Store
from qaqpa.tlog.notes import AddCheckpoint, Algorithm, Checkpoint, Note, VerifierKey, parse_signatures
from qaqpa.transport.https import Https

_log = log.get("witnesses")
ENDPOINT = "witness"
_CONFLICT = 409


@dataclass(slots=True)
class Witness:
    """One witness, and the size of the tree that it saw last."""

    key: VerifierKey
    line: Https
    seen: int = 0
    cosigned: int = 0
    """The size of the checkpoint that it cosigned last."""
    silent_since: datetime | None = None
    """Since when it has not cosigned what it was asked to; None while it does."""


class Witnesses:
    """All that the configuration names."""

    def __init__(
        self, store: Store, checkpoints: Checkpoints, witnesses: list[Witness], clock: Callable[[], datetime]
    ) -> None:
        self._clock = clock
        self._store = store
        self._checkpoints = checkpoints
        self._witnesses = witnesses

    async def ask(self, note: Note) -> bool:
        """Ask each that has not cosigned it yet; whether all have then."""
        all_have = True
        for witness in self._witnesses:
            if witness.cosigned == Checkpoint.parse(note.text).size:
                continue
            try:
                await self._ask(witness, note)
                witness.silent_since = None
                continue
            except QaqpaError as error:
                all_have = False
                _log.warning("no cosignature", witness=witness.key.name, code=error.code)
            except Exception as error:  # noqa: BLE001 - one that cannot be asked must not end the asking of all
                all_have = False
                _log.error("no cosignature", witness=witness.key.name, error_type=type(error).__name__)
            witness.silent_since = witness.silent_since or self._clock()
        return all_have

    def silent(self) -> dict[str, datetime]:
        """Witnesses that do not cosign, by name, and since when."""
        return {each.key.name: each.silent_since for each in self._witnesses if each.silent_since is not None}

    async def _ask(self, witness: Witness, note: Note) -> None:
        checkpoint = Checkpoint.parse(note.text)
        for _ in range(2):  # a witness that saw another size says which
            old = witness.seen
            proof = await self._proof(old, checkpoint.size)
            reply = await witness.line.post(ENDPOINT, AddCheckpoint(old, proof, note).to_bytes(), "text/plain")
            if reply.status == _CONFLICT and reply.content_type.startswith("text/x.tlog.size"):
                known = reply.body.decode("ascii", "replace").strip()
                if not known.isdecimal() or int(known) > checkpoint.size or int(known) == old:
                    raise VerificationFailed(
                        f"the witness {witness.key.name} saw {known} entries of this ledger, "
                        f"{checkpoint.size} are there"
                    )
                witness.seen = int(known)
                continue
            if reply.status != 200:
                raise VerificationFailed(f"the witness {witness.key.name} answered HTTP {reply.status}")
            signed = Note(note.text, parse_signatures(reply.body.decode("utf-8", "replace")))
            signed.verify(witness.key)
            for signature in signed.signatures:
                if signature.is_by(witness.key):
                    await self._checkpoints.add_cosignature(note, signature)
            witness.seen = witness.cosigned = checkpoint.size
            return

    async def _proof(self, old: int, size: int) -> tuple[bytes, ...]:
        if old == 0:
            return ()
        return await self._store.read(lambda connection: tuple(tree_of(connection).consistency(old, size)))

    async def close(self) -> None:
        """Let go of connections."""
        for witness in self._witnesses:
            await witness.line.close()


def witness_key(text: str) -> VerifierKey:
    """A configured witness's key. Raises VerificationFailed."""
    key = VerifierKey.parse(text)
    if key.algorithm is not Algorithm.COSIGNATURE:
        raise VerificationFailed(f"the key of {key.name} is a log's, not a witness's")
    return key
