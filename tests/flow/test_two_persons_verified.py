"""Whoever writes to the table of approvals makes no act of two persons out of one person's: verification finds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest

from approving import ANNA, BORIS, CALLER, Killed, cut_off, subject
from harness import PEOPLE, House, both_engines, grown
from qaqpa.errors import QaqpaError, VerificationFailed
from qaqpa.gateway import Gateway
from qaqpa.gateway.approvals import Approval, Approvals, State
from qaqpa.ledger.agreed import Act, written
from qaqpa.model.actors import API, Actor, called
from qaqpa.model.identifiers import uuid7

pytestmark = both_engines
VERA = called("Vera", API)


async def change(gateway: Gateway, sql: str, *given: object) -> None:
    await gateway.store.write(lambda connection: connection.execute(sql, given))


def kept(person: Actor) -> str:
    return orjson.dumps(person.kept).decode()


async def asked(house: House, gateway: Gateway, person: Actor = ANNA) -> Approval:
    about = await subject(house, gateway)
    return await gateway.approvals.ask(CALLER, person, Act.ERASE, {"subject": about}, "asked")


def refused_by_verification(house: House, gateway: Gateway, why: str) -> None:
    with pytest.raises(VerificationFailed, match=why):
        house.verified(gateway)


async def test_whatever_becomes_of_an_approval_the_ledger_verifies(house: House) -> None:
    async with house.gateway() as gateway:
        first = await asked(house, gateway)
        house.verified(gateway)
        await gateway.approvals.refuse(CALLER, BORIS, first.id, reason="no")
        house.verified(gateway)
        second = await asked(house, gateway)
        with pytest.raises(Killed):
            await cut_off(gateway).agree(CALLER, BORIS, second.id, reason="seen")
        house.verified(gateway)
        await gateway.approvals.refuse(CALLER, VERA, second.id, reason="after all not")
        house.verified(gateway)
        third, fourth = await asked(house, gateway), await asked(house, gateway)
        assert (await gateway.approvals.agree(CALLER, BORIS, third.id, reason="seen"))[0].state is State.DONE
        house.verified(gateway)
        with pytest.raises(QaqpaError, match="erased"):
            await gateway.approvals.agree(CALLER, BORIS, fourth.id, reason="seen")
        assert (await gateway.approvals.find(CALLER, fourth.id)).state is State.FAILED
        house.verified(gateway)


async def _state(gateway: Gateway, found: Approval) -> None:
    sql = "UPDATE approvals SET state = 'agreed', decided_by = ?, decided_at = asked_at WHERE id = ?"
    await change(gateway, sql, kept(BORIS), found.id)


async def _asker(gateway: Gateway, found: Approval) -> None:
    await change(gateway, "UPDATE approvals SET asked_by = ? WHERE id = ?", kept(VERA), found.id)


async def _what(gateway: Gateway, found: Approval) -> None:
    other = await gateway.ledger.subjects.find(PEOPLE[1].iin)
    assert other is not None
    await change(gateway, "UPDATE approvals SET what = ? WHERE id = ?", written({"subject": str(other.id)}), found.id)


async def _account(gateway: Gateway, found: Approval) -> None:
    another = kept(Actor(found.asked_by.name, "https://provider.example", "a-9"))
    await change(gateway, "UPDATE approvals SET asked_by = ? WHERE id = ?", another, found.id)


async def _reason(gateway: Gateway, found: Approval) -> None:
    await change(gateway, "UPDATE approvals SET reason = 'another' WHERE id = ?", found.id)


async def _removed(gateway: Gateway, found: Approval) -> None:
    await change(gateway, "DELETE FROM approvals WHERE id = ?", found.id)


async def _made_up(gateway: Gateway, found: Approval) -> None:
    sql = (
        "INSERT INTO approvals (id, act, what, reason, asked_by, asked_at, expires, state) "
        "SELECT ?, act, what, reason, asked_by, asked_at, expires, state FROM approvals WHERE id = ?"
    )
    await change(gateway, sql, uuid7(), found.id)


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (_state, "is not what the entries tell"), (_asker, "is not what the entries tell"),
        (_what, "is not what the entries tell"), (_account, "is not what the entries tell"),
        (_reason, "is not what the entries tell"), (_removed, "is missing"), (_made_up, "nobody asked for"),
    ],
)  # fmt: skip
async def test_a_forged_approval_is_found_before_anything_is_done(
    house: House, forge: Callable[[Gateway, Approval], Awaitable[None]], why: str
) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, people=2)
        found = await asked(house, gateway)
        house.verified(gateway)
        await forge(gateway, found)
        refused_by_verification(house, gateway, why)


async def _agree(by: Actor, approvals: Approvals, found: Approval) -> None:
    await approvals.agree(CALLER, by, found.id, reason="seen")


async def _carry_out(approvals: Approvals, found: Approval) -> None:
    await approvals.carry_out(CALLER, found.id)


async def test_what_one_person_made_the_table_do_is_found_afterwards(house: House) -> None:
    """The gateway believes its table; the entries do not."""
    async with house.gateway() as gateway:
        found = await asked(house, gateway)
        await _state(gateway, found)
        await _carry_out(gateway.approvals, found)
        refused_by_verification(house, gateway, "does what nobody else agreed to before it")


@pytest.mark.parametrize(
    ("forge", "agreeing", "why"),
    [
        (_what, BORIS, "does another thing than what two persons agreed to"),
        (_asker, ANNA, "agrees to what the same person asked for"),
        (_reason, BORIS, "gives another reason than who asked for it"),
    ],
)
async def test_what_was_agreed_to_after_the_table_was_changed_is_found(
    house: House, forge: Callable[[Gateway, Approval], Awaitable[None]], agreeing: Actor, why: str
) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, people=2)
        found = await asked(house, gateway)
        await forge(gateway, found)
        await _agree(agreeing, gateway.approvals, found)
        refused_by_verification(house, gateway, why)


async def test_what_names_others_than_the_two_is_found(house: House) -> None:
    async with house.gateway() as gateway:
        found = await asked(house, gateway)
        with pytest.raises(Killed):
            await cut_off(gateway).agree(CALLER, BORIS, found.id, reason="seen")
        await change(gateway, "UPDATE approvals SET decided_by = ? WHERE id = ?", kept(VERA), found.id)
        refused_by_verification(house, gateway, "is not what the entries tell")
        await _carry_out(gateway.approvals, found)
        refused_by_verification(house, gateway, "names others than the two who agreed")


async def test_what_rests_on_no_approval_at_all_is_found(house: House) -> None:
    """As the table alone has it: asked for and agreed to by nobody's entry."""
    async with house.gateway() as gateway:
        found = await asked(house, gateway)
        await _made_up(gateway, found)
        [made_up] = [each for each in await gateway.approvals.listed(CALLER) if each.id != found.id]
        await _state(gateway, made_up)
        await _carry_out(gateway.approvals, made_up)
        refused_by_verification(house, gateway, "rests on what nobody asked for before it")


async def test_what_the_table_calls_undone_is_found(house: House) -> None:
    async with house.gateway() as gateway:
        found = await asked(house, gateway)
        await _agree(BORIS, gateway.approvals, found)
        house.verified(gateway)
        await change(gateway, "UPDATE approvals SET state = 'agreed' WHERE id = ?", found.id)
        refused_by_verification(house, gateway, "is not what the entries tell")


async def test_two_accounts_of_one_name_are_two_persons(house: House) -> None:
    first, second = (Actor("Anna Kim", "https://provider.example", sub) for sub in ("a-1", "a-2"))
    async with house.gateway() as gateway:
        found = await asked(house, gateway, first)
        await _agree(second, gateway.approvals, found)
        house.verified(gateway)
