"""One entry with the entries that belong to it: what was intended, what came of it, who asked it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qaqpa.ledger.came import Came
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.integrate import BLOCK, indexed, integrated
from qaqpa.ledger.listed import Context
from qaqpa.ledger.read import Entry, Wanted, entries_of, entry_at, latest
from qaqpa.ledger.said import DISCLOSED
from qaqpa.store import Connection

_IN_FILE = (
    "SELECT 1 FROM archives a WHERE a.first < ? AND (a.last >= ? OR EXISTS (SELECT 1 FROM terms t "  # noqa: S608
    f"WHERE t.term = ? AND t.block * {BLOCK} <= a.last AND (t.block + 1) * {BLOCK} > a.first))"
)


def entry_context(connection: Connection, index: int) -> Context:
    """One entry with what belongs to it. Raises NotFound for an index that is none, or whose entry lies in a file."""
    entry = entry_at(connection, index)
    return replace(_context(connection, entry), config=_config(connection, index))


def _config(connection: Connection, index: int) -> str | None:
    found = latest(connection, 1, Wanted(kind=Kind.POLICY.value, before=index))
    return str(found[0].content["config"]) if found else None


def _context(connection: Connection, entry: Entry) -> Context:
    content, came = entry.content, Came(connection)
    if content["kind"] in DISCLOSED and content.get("subject") is not None:
        return _of_disclosure(connection, came, entry, content)
    about = _about(came, content)
    if about is None:
        return Context(entry)
    intent = _intent(connection, about)
    ended = came.package(about)
    return Context(
        entry,
        intent=intent if intent != entry else None,
        outcome=ended.outcome if ended.outcome != entry else None,
        settlement=ended.settlement if ended.settlement != entry else None,
        receipt=came.receipt(about),
        recalls=_recalls(came, about),
        reuses=tuple(came.about(about, Kind.REUSED)),
        result=ended.result,
        outside=_moved(connection, about, entry.index) if intent is None else (),
    )


def _of_disclosure(connection: Connection, came: Came, entry: Entry, content: dict[str, Any]) -> Context:
    (listed,) = came.of([entry])
    disclosure, handover = str(content["id"]), content.get("handover")
    earlier = content.get("disclosure") if content["kind"] == Kind.REUSED else None
    intent = None if earlier is None else _intent(connection, str(earlier))
    return Context(
        entry,
        intent=intent,
        outcome=listed.outcome,
        settlement=listed.settlement,
        receipt=None if handover is None else came.receipt(handover),
        package=None if handover is None else _intent(connection, handover),
        recalls=(*_recalls(came, disclosure), *(() if handover is None else _recalls(came, handover))),
        reuses=tuple(came.about(disclosure, Kind.REUSED)),
        result=listed.result,
        rejected=listed.rejected,
        outside=() if earlier is None or intent is not None else _moved(connection, str(earlier), entry.index),
    )


def _about(came: Came, content: dict[str, Any]) -> str | None:
    """The id of the disclosure or package that an entry of another kind is about."""
    kind = content["kind"]
    if kind == Kind.INTENT:
        return str(content["id"])
    named = content.get("intent") or content.get("handover")
    if kind == Kind.RECALL:  # of other kinds `of` is something else: whose token was made, which act was asked for
        named = content["of"]
    if named is None and content.get("recall") is not None:
        asked = [each for each in came.of_recall(content["recall"]) if each.content["kind"] == Kind.RECALL]
        named = asked[0].content["of"] if asked else None
    return None if named is None else str(named)


def _intent(connection: Connection, disclosure: str) -> Entry | None:
    return next(entries_of(connection, kind=Kind.INTENT.value, request=disclosure), None)


def _moved(connection: Connection, disclosure: str, before: int) -> tuple[str, ...]:
    """Its id, where a file holds its entry, or may: the index tells blocks of entries, and none of the last ones."""
    asked = (before, indexed(integrated(connection)[0]), f"request:{disclosure}")
    return (disclosure,) if connection.execute(_IN_FILE, asked).first() is not None else ()


def _recalls(came: Came, about: str) -> tuple[Entry, ...]:
    """Recalls of a disclosure or of a handover as a whole, each with its notices and receipts."""
    found: list[Entry] = []
    for recall in came.about(about, Kind.RECALL):
        if recall.content["of"] == about:
            found += came.of_recall(str(recall.content["recall"]))
    return tuple(dict.fromkeys(found))
