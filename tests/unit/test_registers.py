"""The registers that decide what may leave are bound to the ledger: a row changed behind its back is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import pytest

from books import Intruder
from harness import PEOPLE, House, both_engines, give_consent
from qaqpa.errors import VerificationFailed
from qaqpa.gateway import Gateway
from qaqpa.ledger.integrate import integrate

pytestmark = both_engines
CALLER, OPERATOR = "loan-scoring", "compliance"
BUREAU, COLLECTOR = "first-credit-bureau", "demo-collector"
MISSING = "00000000-0000-7000-8000-000000000000"
TIME = "2026-01-05T03:04:05.678Z"

ENTRIES = {
    "policy": 0, "active": 1, "pending": 2, "asked": 3, "withdrawn": 4, "at once": 5, "later": 6, "asked later": 7,
    "in effect": 8, "suspended": 9, "suspended again": 10, "suspended too": 11, "resumed": 12,
}  # fmt: skip
"""What each entry of `history` is."""


@dataclass
class History:
    """A consent in each state."""

    active: str
    pending: str
    withdrawn: str
    later: str


async def history(house: House, gateway: Gateway) -> History:
    """Every state that a register can be in; each act an hour after the one before."""

    async def withdraw(consent: str, *, duties_met: bool) -> None:
        house.clock.offset += timedelta(hours=1)
        await gateway.withdraw_consent(CALLER, consent, duties_met=duties_met)

    active = (await give_consent(house, gateway, PEOPLE[0])).id
    pending = (await give_consent(house, gateway, PEOPLE[0])).id
    await withdraw(pending, duties_met=False)
    withdrawn = (await give_consent(house, gateway, PEOPLE[1])).id
    await withdraw(withdrawn, duties_met=True)
    later = (await give_consent(house, gateway, PEOPLE[1], expires_at=None)).id
    await withdraw(later, duties_met=False)
    await withdraw(later, duties_met=True)
    for act, recipient, reason in (
        (gateway.suspend, COLLECTOR, "first"),
        (gateway.suspend, COLLECTOR, "second"),
        (gateway.suspend, BUREAU, "third"),
        (gateway.resume, BUREAU, "settled"),
    ):
        house.clock.offset += timedelta(hours=1)
        await act(OPERATOR, recipient, person="Айгуль", reason=reason)
    return History(active, pending, withdrawn, later)


@pytest.fixture
def intruder(house: House, store_url: str) -> Intruder:
    return Intruder(store_url, house.home)


async def test_what_the_gateway_wrote_verifies(house: House) -> None:
    async with house.gateway() as gateway:
        assert house.verified(gateway).size == 0, "empty registers agree with no entries"
        await history(house, gateway)
        assert house.verified(gateway).kinds == {"policy": 1, "consent": 4, "withdrawal": 4, "control": 4}
        kinds = [entry["kind"] for entry in house.entries(gateway)]
        assert len(kinds) == len(ENTRIES)


async def test_a_recipient_resumed_and_suspended_once_more_verifies(house: House) -> None:
    async with house.gateway() as gateway:
        for act in (gateway.resume, gateway.suspend, gateway.resume, gateway.suspend):
            await act(OPERATOR, COLLECTOR, person="p", reason="r")
            house.verified(gateway)


async def test_terms_are_compared_as_json_not_as_text(house: House, intruder: Intruder) -> None:
    """Another order of keys or another spacing changes nothing of what was agreed to."""
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PEOPLE[0])
        text = intruder.value("SELECT terms FROM consents")
        spaced = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
        assert spaced != text
        intruder.change("UPDATE consents SET terms = ? WHERE id = ?", spaced, consent.id)
        house.verified(gateway)


SET = "UPDATE consents SET {} WHERE id = '{{{}}}'"
ADD = "INSERT INTO consents SELECT '{}', subject, terms, NULL, NULL, expires_at FROM consents WHERE id = '{{active}}'"
SUSPEND = f"INSERT INTO suspensions VALUES ('{{}}', '{TIME}', 'p', 'r')"

ATTACKS: dict[str, tuple[str, str, str | None]] = {
    # what: (statement, what is said, the entry that is contradicted)
    "a withdrawal in effect is undone": (SET.format("withdrawn_at = NULL", "withdrawn"), "withdrawn_at", "at once"),
    "one that was pending first": (SET.format("withdrawn_at = NULL", "later"), "withdrawn_at", "in effect"),
    "both times are cleared": (
        SET.format("withdrawn_at = NULL, withdrawal_asked_at = NULL", "later"), "withdrawal_asked_at", "asked later",
    ),
    "a pending withdrawal is undone": (
        SET.format("withdrawal_asked_at = NULL", "pending"), "withdrawal_asked_at", "asked",
    ),
    "the time of asking is cleared": (
        SET.format("withdrawal_asked_at = NULL", "withdrawn"), "withdrawal_asked_at", "at once",
    ),
    "the time of asking is that of the effect": (
        SET.format("withdrawal_asked_at = withdrawn_at", "later"), "withdrawal_asked_at", "asked later",
    ),
    "a withdrawal is moved": (SET.format(f"withdrawn_at = '{TIME}'", "withdrawn"), "withdrawn_at", "at once"),
    "a withdrawal that nobody asked for": (SET.format(f"withdrawn_at = '{TIME}'", "active"), "withdrawn_at", "active"),
    "a pending one takes effect": (SET.format(f"withdrawn_at = '{TIME}'", "pending"), "withdrawn_at", "pending"),
    "another subject": (
        "UPDATE consents SET subject = (SELECT subject FROM consents WHERE id = '{withdrawn}') WHERE id = '{active}'",
        "subject", "active",
    ),
    "a consent is deleted": ("DELETE FROM consents WHERE id = '{active}'", "is missing", "active"),
    "a withdrawn one is deleted": ("DELETE FROM consents WHERE id = '{withdrawn}'", "is missing", "withdrawn"),
    "a consent is added": (ADD.format(MISSING), "no entry says", None),
    "the last consent is added": (ADD.format("f" * 36), "no entry says", None),
    "a consent has another id": (SET.format(f"id = '{MISSING}'", "active"), "no entry says", None),
    "a suspension is deleted": ("DELETE FROM suspensions", "is missing", "suspended again"),
    "a suspension is added": (SUSPEND.format("nobody-suspended"), "no entry says", None),
    "a resumed one is suspended": (SUSPEND.format(BUREAU), "no entry says", "resumed"),
    "a suspension of another": (f"UPDATE suspensions SET recipient = '{BUREAU}'", "no entry says", "resumed"),
    "another reason": ("UPDATE suspensions SET reason = 'another'", "reason", "suspended again"),
    "the reason of before": ("UPDATE suspensions SET reason = 'first'", "reason", "suspended again"),
    "another person": ("UPDATE suspensions SET person = 'p'", "person", "suspended again"),
    "another time": (f"UPDATE suspensions SET since = '{TIME}'", "since", "suspended again"),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "said", "entry"), ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_register_that_was_changed_does_not_verify(
    house: House, intruder: Intruder, statement: str, said: str, entry: str | None
) -> None:
    async with house.gateway() as gateway:
        consents = await history(house, gateway)
        house.verified(gateway)
        intruder.change(statement.format(**vars(consents)))
        with pytest.raises(VerificationFailed) as raised:
            house.verified(gateway)
    register = "suspensions" if "suspensions" in statement else "consents"
    message = str(raised.value)
    assert message.startswith(f"the register {register} was changed: ")
    assert said in message
    assert raised.value.index == (None if entry is None else ENTRIES[entry])
    for kept in ("Айгуль", "another", "second", "settled", *(person.iin for person in PEOPLE)):
        assert kept not in message


Terms = dict[str, Any]
TERMS: dict[str, Callable[[Terms], str]] = {
    "that allow more": lambda terms: _json(terms | {"publication": True}),
    "with another type": lambda terms: _json(terms | {"publication": 0}),
    "that last longer": lambda terms: _json(terms | {"expires_at": "2099-01-01T00:00:00Z"}),
    "for another purpose": lambda terms: _json(terms | {"purposes": [*terms["purposes"], "debt_collection"]}),
    "without an end": lambda terms: _json({name: terms[name] for name in terms if name != "expires_at"}),
    "that are no JSON": lambda _terms: "{",
    "that are no object": lambda _terms: "1.5",
    "that are nothing": lambda _terms: "",
}


def _json(terms: Terms) -> str:
    return orjson.dumps(terms).decode()


@pytest.mark.parametrize("edit", TERMS.values(), ids=TERMS.keys())
async def test_other_terms_do_not_verify(house: House, intruder: Intruder, edit: Callable[[Terms], str]) -> None:
    async with house.gateway() as gateway:
        consents = await history(house, gateway)
        text = intruder.value("SELECT terms FROM consents WHERE id = ?", consents.active)
        intruder.change("UPDATE consents SET terms = ? WHERE id = ?", edit(orjson.loads(text)), consents.active)
        with pytest.raises(VerificationFailed, match="terms of consent") as raised:
            house.verified(gateway)
        assert raised.value.index == ENTRIES["active"]


async def test_terms_kept_as_other_text_do_not_verify(house: House, intruder: Intruder) -> None:
    async with house.gateway() as gateway:
        consents = await history(house, gateway)
        intruder.change("UPDATE consents SET terms = terms || '}' WHERE id = ?", consents.active)
        with pytest.raises(VerificationFailed, match="terms of consent"):
            house.verified(gateway)


async def test_the_first_bad_entry_is_said_before_a_bad_register(house: House, intruder: Intruder) -> None:
    """Registers are held against entries only once those are known to be good."""
    async with house.gateway() as gateway:
        await history(house, gateway)
        await gateway.store.write(integrate)
        intruder.change("DELETE FROM suspensions")
        intruder.change("UPDATE integrated SET root = ?", bytes(32))
        with pytest.raises(VerificationFailed, match="the past was changed"):
            house.verified(gateway)


async def test_the_command_says_so(house: House, intruder: Intruder) -> None:
    async with house.gateway() as gateway:
        consents = await history(house, gateway)
    intruder.change("UPDATE consents SET withdrawn_at = NULL WHERE id = ?", consents.withdrawn)
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.code, ran.json["verified"], ran.json["index"]) == (6, False, ENTRIES["at once"])
    assert "the register consents was changed" in ran.json["detail"]
