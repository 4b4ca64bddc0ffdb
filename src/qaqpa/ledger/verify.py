"""Verify the ledger: hash every body again, rebuild the tree and the registers, compare. Reads only what is stored,
needs no key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.canonical import is_canonical
from qaqpa.ledger.entries import Kind, latest_time
from qaqpa.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from qaqpa.ledger.registers import REGISTERED, Registers

Progress = Callable[[int, int], None]
"""Entries done, entries in all."""

_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a ledger that verifies."""

    size: int
    root: bytes
    kinds: dict[str, int]
    open_intents: tuple[str, ...]
    """Disclosures without an outcome: being sent now, or cut off by a crash."""


def verify(connection: Connection, progress: Progress | None = None) -> Verified:
    """Check every entry of one snapshot. Raises VerificationFailed with the first bad index."""
    row = connection.exec_driver_sql("SELECT size, frontier, root, last_time FROM tree WHERE id = 1").first()
    stored = (0, b"", EMPTY_ROOT, "") if row is None else tuple(row)
    size, _, root, _ = stored
    tree, latest, registers = Frontier(), "", Registers()
    kinds: dict[str, int] = {}
    open_intents: dict[str, int] = {}
    for index, request, kind, subject, body, leaf in connection.exec_driver_sql(
        "SELECT idx, request, kind, subject, body, leaf FROM entries ORDER BY idx"
    ):
        if index != tree.size:
            raise VerificationFailed(f"entry {tree.size} is missing: the next one is {index}", index=tree.size)
        entry = _entry(index, body, leaf)
        _check_columns(index, entry, request, kind, subject, open_intents)
        if kind in REGISTERED:
            registers.see(index, entry)
        latest = latest_time(latest, entry)
        tree.append(leaf)
        kinds[kind] = kinds.get(kind, 0) + 1
        if progress is not None and tree.size % _EVERY == 0:
            progress(tree.size, size)
    _check_tree(tree, latest, stored)
    registers.compare(connection)
    if progress is not None:
        progress(size, size)
    return Verified(size, root, kinds, tuple(open_intents))


def _entry(index: int, body: object, leaf: bytes) -> dict[str, Any]:
    """What an entry says, once its body is known to be what was hashed."""
    if not isinstance(body, bytes) or leaf_hash(body) != leaf:
        raise VerificationFailed(f"entry {index} was changed: its body does not have its leaf hash", index=index)
    if not is_canonical(body):
        raise VerificationFailed(f"entry {index} is not canonical JSON: Qaqpa did not write it", index=index)
    entry = orjson.loads(body)
    if isinstance(entry, dict) and "time" in entry and ("act" in entry or entry.get("kind") != Kind.CONTROL):
        return entry
    raise VerificationFailed(f"entry {index} is not an entry: Qaqpa did not write it", index=index)


def _check_tree(tree: Frontier, latest: str, stored: tuple[Any, ...]) -> None:
    """What is stored of the tree must be what its entries make."""
    size, frontier, root, last_time = stored
    if tree.size != size:
        first = max(0, min(size, tree.size)) if isinstance(size, int) else None
        raise VerificationFailed(f"the tree says that it has {size} entries, {tree.size} are there", index=first)
    if last_time != latest:
        raise VerificationFailed(f"the tree says that its last entry is of {last_time or 'no time'}, it is of {latest}")
    if tree.root() != root or tree.to_bytes() != frontier:
        raise VerificationFailed("the entries do not make the root that is stored: the past was changed")


def _request_of(entry: dict[str, object]) -> object:
    """What the `request` column beside an entry must be."""
    kind = entry.get("kind")
    if kind == Kind.OUTCOME:
        return entry.get("intent")
    if kind == Kind.CONSENT:
        return entry.get("consent")
    if kind == Kind.WITHDRAWAL:
        return f"{entry.get('consent')}:{entry.get('state')}"
    return entry.get("id")


def _check_columns(
    index: int, entry: dict[str, object], request: str, kind: str, subject: str | None, open_intents: dict[str, int]
) -> None:
    """The columns beside the body must say what the body says; each outcome concludes one intent before it."""
    if entry.get("kind") != kind or entry.get("subject") != subject or _request_of(entry) != request:
        raise VerificationFailed(f"entry {index}: its columns do not say what its body says", index=index)
    if kind == Kind.INTENT:
        open_intents[request] = index
    elif kind == Kind.OUTCOME and open_intents.pop(request, None) is None:
        raise VerificationFailed(f"entry {index} concludes an intent that is not open before it", index=index)
