"""Whoever may rewrite and sign the whole ledger anew still cannot make rows of a handover appear, vanish or change
sides: what is told of its package does not fit then, and both verifiers say so.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT, House, both_engines
from qaqpa.errors import VerificationFailed
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.recount import Recount
from qaqpa.ledger.story import Story, from_file
from qaqpa.ledger.verify import verify
from qaqpa.model.canonical import canonical
from qaqpa.model.handover import HandoverState
from qaqpa.store import Connection
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.tlog.merkle import leaf_hash
from registers import agency, rows
from turning import bare, results, still, taken_in, turned

Entries = list[dict[str, Any]]


def standalone() -> Any:
    """The verifier that goes out with an export."""
    spec = importlib.util.spec_from_file_location("alone", ROOT / "src/qaqpa/tlog/standalone.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def ours(entries: Entries, connection: Connection) -> str | None:
    """What our verifier finds wrong in the story, or which disclosures it finds open."""
    story = Story(Recount(connection, len(entries), "secret"))
    bodies = [canonical(entry) for entry in entries]
    try:
        story.follow([from_file(at, leaf_hash(body), body) for at, body in enumerate(bodies)])
    except VerificationFailed as error:
        return str(error)
    return f"open: {[*story.open_intents]}" if story.open_intents else None


def theirs(entries: Entries) -> str | None:
    """The same of the verifier that is copied out."""
    story = standalone().Story()
    for at, entry in enumerate(entries):
        story.see(at, json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
    if story.wrong is not None:
        return str(story.wrong)
    return f"open: {[*story.open]}" if story.open else None


def at(entries: Entries, nth: int = 0, **wanted: Any) -> int:
    """Where the nth entry stands whose members are these; None stands for a member that is missing."""
    found = [at for at, entry in enumerate(entries) if all(entry.get(name) == value for name, value in wanted.items())]
    return found[nth]


def package(entries: Entries, nth: int, kind: str) -> int:
    found = [at for at, each in enumerate(entries) if each["kind"] == kind and "rows" in each]
    return found[nth]


def row(entries: Entries, handover: int, nth: int = 1) -> int:
    name = entries[package(entries, handover, "intent")]["id"]
    return at(entries, nth, kind="intent", handover=name)


def doubled(entries: Entries) -> None:
    entries.insert(row(entries, 0), dict(entries[row(entries, 0)]))


def moved(entries: Entries) -> None:
    entries[row(entries, 0)]["handover"] = entries[package(entries, 1, "intent")]["id"]


def late(entries: Entries) -> None:
    line = dict(entries[row(entries, 0)])
    entries.insert(package(entries, 0, "intent") + 1, line)


def after_all(entries: Entries) -> None:
    entries.append(dict(entries[row(entries, 0)]))


def fewer(kind: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries[package(entries, 0, kind)]["rows"] -= 1

    return change


def gone(kind: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        del entries[package(entries, 0, kind)]

    return change


def twice(kind: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries.insert(package(entries, 0, kind) + 1, dict(entries[package(entries, 0, kind)]))

    return change


def row_gone(entries: Entries) -> None:
    del entries[row(entries, 0)]


def replaced(entries: Entries) -> None:
    """As many rows as are said, one of them twice and another not at all."""
    entries[row(entries, 0, 2)] = dict(entries[row(entries, 0, 1)])


TOLD_OTHERWISE: dict[str, Callable[[Entries], None]] = {
    "a row deleted": row_gone,
    "a row doubled": doubled,
    "a row replaced by another one": replaced,
    "a row moved to another handover": moved,
    "a row added after the package was whole": late,
    "a row added after all": after_all,
    "fewer rows in the package's intent": fewer("intent"),
    "fewer rows in the outcome": fewer("outcome"),
    "the package's intent gone": gone("intent"),
    "the package intended twice": twice("intent"),
    "the outcome gone": gone("outcome"),
    "the outcome twice": twice("outcome"),
}


@pytest.fixture
def home(tmp_path: Path, store_url: str) -> House:
    """An installation without third parties."""
    return bare(tmp_path, store_url)


@pytest.fixture
async def collector(home: House, tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with agency(home, tmp_path / "agency") as recipient:
        yield recipient


@pytest.mark.promise(4)
async def test_both_verifiers_notice_whatever_is_told_otherwise(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        for seed in (1, 2):
            await turned(gateway, await taken_in(gateway, 3, seed=seed), HandoverState.SENT)
        with gateway.store.snapshot() as connection:
            entries = [entry.content for entry in entries_of(connection)]
            assert ours(entries, connection) is None and theirs(entries) is None
            for how, change in TOLD_OTHERWISE.items():
                changed = [dict(entry) for entry in entries]
                change(changed)
                assert ours(changed, connection) is not None, f"{how}: ours"
                assert theirs(changed) is not None, f"{how}: the one that is copied out"


@pytest.mark.promise(4)
@both_engines
async def test_the_database_told_otherwise(home: House, collector: SftpRecipient) -> None:
    """Without the key or a new tree less is enough: a body, a column, a register; which rows are to go, and how far
    a handover is.
    """
    async with still(home) as gateway:
        await turned(gateway, await taken_in(gateway, 3, seed=1), HandoverState.SENT)
        lines = rows(3, seed=2)
        lines[2]["facts.contract.settlement_steps_done"] = False
        name = await taken_in(gateway, lines=lines)
        await turned(gateway, name, HandoverState.PACKAGED)
        assert results(gateway, name) == {"PERMIT": 2, "DENY": 1}
        home.verified(gateway)
        at_row = "(SELECT max(idx) FROM entries WHERE kind = 'intent')"
        in_flight = f"handover = '{name}'"
        for statement in (
            "UPDATE handovers SET state = 'packaged' WHERE state = 'sent'",
            "UPDATE handovers SET state = 'acknowledged' WHERE state = 'sent'",
            "UPDATE handovers SET state = 'cancelled' WHERE state = 'packaged'",
            "UPDATE handovers SET recipient = 'demo-cession-buyer'",
            "UPDATE handovers SET caller = 'compliance' WHERE state = 'sent'",
            "DELETE FROM handovers WHERE state = 'sent'",
            "DELETE FROM handover_chunks",
            f"DELETE FROM handover_chunks WHERE {in_flight}",
            f"UPDATE handover_chunks SET handover = 'x' WHERE {in_flight}",
            f"UPDATE handover_chunks SET number = 1 WHERE {in_flight}",
            f"UPDATE handover_chunks SET results = x'000000' WHERE {in_flight}",  # the refused row goes
            f"UPDATE handover_chunks SET results = x'000100' WHERE {in_flight}",  # one instead of another
            f"UPDATE handover_chunks SET figures = replace(figures, '[2,4]', '[3,5]') WHERE {in_flight}",
            f"DELETE FROM entries WHERE idx = {at_row}",
            f"UPDATE entries SET body = (SELECT body FROM entries WHERE idx = 1) WHERE idx = {at_row}",
            f"UPDATE entries SET recipient = 'demo-cession-buyer' WHERE idx = {at_row}",
            "DELETE FROM unsettled",
            "UPDATE unsettled SET recipient = 'demo-cession-buyer'",
            "UPDATE unsettled SET state = 'unknown'",
        ):

            class Undo(Exception):
                pass

            def tampered(connection: Any, statement: str = statement) -> None:
                if connection.dialect == "postgresql":
                    statement = re.sub("x'([0-9]+)'", r"'\\x\1'::bytea", statement)
                connection.execute(statement)
                with pytest.raises(VerificationFailed):
                    verify(connection)
                raise Undo

            with pytest.raises(Undo):
                await gateway.store.write(tampered, alone=True)
        home.verified(gateway)
