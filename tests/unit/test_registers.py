"""The registers that decide what may leave are bound to the ledger: a row changed behind its back is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import pytest

from harness import PEOPLE, House, give_consent
from qaqpa.errors import VerificationFailed
from qaqpa.gateway import Gateway

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


def tamper(house: House, statement: str, values: Any = ()) -> None:
    """What somebody with the database file may do."""
    with closing(sqlite3.connect(house.home / "qaqpa.db")) as connection, connection:
        changed = connection.execute(statement, values).rowcount
        assert changed == 1, f"the attack changed {changed} rows"


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


async def test_terms_are_compared_as_json_not_as_text(house: House) -> None:
    """Another order of keys or another spacing changes nothing of what was agreed to."""
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PEOPLE[0])
        with gateway.store.snapshot() as connection:
            text = connection.exec_driver_sql("SELECT terms FROM consents").one()[0]
        spaced = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
        assert spaced != text
        tamper(house, "UPDATE consents SET terms = ? WHERE id = ?", (spaced, consent.id))
        house.verified(gateway)


SET = "UPDATE consents SET {} WHERE id = :{}"
TERMS = "UPDATE consents SET terms = json_set(terms, '$.{}', {}) WHERE id = :{}"
ADD = "INSERT INTO consents SELECT '{}', subject, terms, NULL, NULL FROM consents WHERE id = :active"
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
    "terms allow more": (TERMS.format("publication", "json('true')", "active"), "terms", "active"),
    "terms with another type": (TERMS.format("publication", "0", "active"), "terms", "active"),
    "terms last longer": (TERMS.format("expires_at", "'2099-01-01T00:00:00Z'", "active"), "terms", "active"),
    "terms for another purpose": (TERMS.format("purposes[#]", "'debt_collection'", "later"), "terms", "later"),
    "terms without an end": (
        "UPDATE consents SET terms = json_remove(terms, '$.expires_at') WHERE id = :active", "terms", "active",
    ),
    "terms that are no JSON": (SET.format("terms = '{'", "active"), "terms", "active"),
    "terms that are no object": (SET.format("terms = '1.5'", "active"), "terms", "active"),
    "terms as bytes": (SET.format("terms = CAST(terms AS BLOB)", "active"), "terms", "active"),
    "another subject": (
        "UPDATE consents SET subject = (SELECT subject FROM consents WHERE id = :withdrawn) WHERE id = :active",
        "subject", "active",
    ),
    "a consent is deleted": ("DELETE FROM consents WHERE id = :active", "is missing", "active"),
    "a withdrawn one is deleted": ("DELETE FROM consents WHERE id = :withdrawn", "is missing", "withdrawn"),
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
    house: House, statement: str, said: str, entry: str | None
) -> None:
    async with house.gateway() as gateway:
        consents = await history(house, gateway)
        house.verified(gateway)
        tamper(house, statement, vars(consents))
        with pytest.raises(VerificationFailed) as raised:
            house.verified(gateway)
    register = "suspensions" if "suspensions" in statement else "consents"
    message = str(raised.value)
    assert message.startswith(f"the register {register} was changed: ")
    assert said in message
    assert raised.value.index == (None if entry is None else ENTRIES[entry])
    for kept in ("Айгуль", "another", "second", "settled", *(person.iin for person in PEOPLE)):
        assert kept not in message


async def test_the_first_bad_entry_is_said_before_a_bad_register(house: House) -> None:
    """Registers are held against entries only once those are known to be good."""
    async with house.gateway() as gateway:
        await history(house, gateway)
        tamper(house, "DELETE FROM suspensions")
        tamper(house, "UPDATE tree SET root = zeroblob(32)")
        with pytest.raises(VerificationFailed, match="the past was changed"):
            house.verified(gateway)


async def test_the_command_says_so(house: House) -> None:
    async with house.gateway() as gateway:
        consents = await history(house, gateway)
    tamper(house, "UPDATE consents SET withdrawn_at = NULL WHERE id = ?", (consents.withdrawn,))
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.code, ran.json["verified"], ran.json["index"]) == (6, False, ENTRIES["at once"])
    assert "the register consents was changed" in ran.json["detail"]
