"""Acts that one person did before they took two stay true; after the first that two were asked for none is one's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from books import Book, book_at, failed
from harness import both_engines
from histories import History
from qaqpa.errors import VerificationFailed
from qaqpa.ledger import entries
from qaqpa.ledger.agreed import AGREE, ASK_APPROVAL, REFUSE_APPROVAL, Act, digest
from qaqpa.ledger.agreements import Agreements
from qaqpa.ledger.entries import Kind
from qaqpa.model.words import OutcomeResult

WHO = {"caller": "compliance", "person": "Anna; Boris", "reason": "r"}
RECALL = {"kind": Kind.RECALL, "scope": "handover", "of": "h", "due_on": "2026-12-01", **WHO, "reason": "error"}
DONE: dict[Act, Mapping[str, Any]] = {
    Act.ERASE: {"kind": Kind.ERASURE, "subject": "s", "instrument": None, **WHO},
    Act.FORCE_ERASURE: {"kind": Kind.ERASURE, "subject": "s", "instrument": "court order 7", **WHO},
    Act.RECALL_HANDOVER: RECALL,
    Act.SETTLE: {"kind": Kind.CONTROL, "act": "settle", "intent": "d", "result": "delivered", **WHO},
}
TOLD: dict[Act, dict[str, str]] = {
    Act.ERASE: {"subject": "s"},
    Act.FORCE_ERASURE: {"subject": "s", "instrument": "court order 7"},
    Act.RECALL_HANDOVER: {"handover": "h", "reason": "error"},
    Act.SETTLE: {"disclosure": "d", "result": "delivered"},
}


def step(act: str, person: str, **more: str) -> dict[str, Any]:
    said = {"caller": "compliance", "person": person, "reason": "r", "approval": "a"}
    return {"kind": Kind.CONTROL, "act": act, **said, **more}


def asked(act: Act, what: Mapping[str, str]) -> dict[str, Any]:
    return step(ASK_APPROVAL, "Anna", of=act.value, what_sha256=digest(what))


AGREED, TAKEN_BACK = step(AGREE, "Boris"), step(REFUSE_APPROVAL, "Anna")


def follow(*steps: Mapping[str, Any], whole: bool = True) -> None:
    agreements = Agreements()
    for index, entry in enumerate(steps):
        agreements.see(index, entry, whole=whole)


@pytest.mark.parametrize("act", Act)
def test_an_act_is_of_what_was_agreed_to_once_and_of_nothing_else(act: Act) -> None:
    done, asking = {**DONE[act], "approval": "a"}, asked(act, TOLD[act])
    follow(asking, AGREED, done)
    follow(DONE[act])  # from before it took two
    wrong: list[tuple[str, list[Mapping[str, Any]]]] = [
        ("rests on what nobody", [asking, AGREED, DONE[act]]),
        ("rests on what nobody", [done]),
        ("does what nobody else agreed to", [asking, done]),
        ("does what nobody else agreed to", [asking, AGREED, done, done]),
        ("does what nobody else agreed to", [asking, AGREED, TAKEN_BACK, done]),
        ("agrees to what was decided", [asking, AGREED, step(AGREE, "Vera")]),
        ("agrees to what the same person", [asking, step(AGREE, "ANNA")]),
        ("refuses what was refused or done", [asking, AGREED, done, TAKEN_BACK]),
        ("asks for what was asked for", [asking, asking]),
        ("names others", [asking, AGREED, {**done, "person": "Anna; Vera"}]),
        ("names others", [asking, AGREED, {**done, "account": "b; c"}]),
    ]
    wrong += [("does another thing", [asked(act, TOLD[act] | {each: "other"}), AGREED, done]) for each in TOLD[act]]
    wrong += [("does another thing", [asked(of, TOLD[act]), AGREED, done]) for of in Act if of is not act]
    for why, steps in wrong:
        with pytest.raises(VerificationFailed, match=why):
            follow(*steps)


def test_the_day_of_a_recall_is_the_one_that_was_asked_for() -> None:
    done, told = {**RECALL, "approval": "a"}, TOLD[Act.RECALL_HANDOVER]
    mores: list[dict[str, str]] = [{}, {"due_on": "2026-12-01"}, {"way": "letter"}]
    for more in (*mores, {"due_on": "2026-12-01", "way": "letter"}):
        follow(asked(Act.RECALL_HANDOVER, told | more), AGREED, done)
    with pytest.raises(VerificationFailed, match="does another thing"):
        follow(asked(Act.RECALL_HANDOVER, told | {"due_on": "2026-11-30"}), AGREED, done)
    follow({**RECALL, "caller": None, "person": None})  # `recall.automatic`


def test_what_lies_in_a_file_is_not_missed() -> None:
    done = {**DONE[Act.ERASE], "approval": "a"}
    follow(done, whole=False)
    follow(AGREED, done, whole=False)
    follow(asked(Act.ERASE, TOLD[Act.ERASE]), done, whole=False)


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


async def unknown(history: History) -> str:
    disclosure = await history.single()
    await history.conclude(disclosure, OutcomeResult.UNKNOWN)
    return disclosure


async def settled_by_one(history: History) -> None:
    public = entries.control(
        entries.SETTLE, "bureau", "compliance", "Anna", "r", at=history.at, intent=await unknown(history),
        result="delivered",
    )  # fmt: skip
    await history.enter(Kind.CONTROL, public)
    history.unknown.pop()


@both_engines
async def test_an_act_of_one_person_is_sound_only_from_before_it_took_two(book: Book) -> None:
    await book.ledger.record_policy([], "digest")
    history = History(book, random.Random(0))
    await settled_by_one(history)
    await history.stand()
    assert book.verified().size
    await unknown(history)
    await history.settle()
    await history.stand()
    assert book.verified().size
    await settled_by_one(history)
    await history.stand()
    assert "rests on what nobody asked for before it" in str(failed(book))
