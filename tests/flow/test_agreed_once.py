"""An act that takes two persons takes what two agreed on, of that and nothing else, and is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from approving import ANNA, BORIS, CALLER, Killed, cut_off, entered, subject, untouched
from harness import PEOPLE, House, both_engines, grown
from qaqpa.errors import InvalidRequest, NotAllowed, NotFound, NotPossible, QaqpaError, StoreUnavailable
from qaqpa.gateway import Gateway
from qaqpa.gateway.approvals import Approval, State
from qaqpa.ledger.agreed import Act, Agreed
from qaqpa.ledger.erasure import Erased
from qaqpa.model.actors import API, SHELL, called
from qaqpa.model.identifiers import uuid7


async def _standing(house: House, gateway: Gateway) -> tuple[Approval, Agreed]:
    """An approval that was agreed to and cut off, and what the act would take."""
    about = await subject(house, gateway)
    asked = await gateway.approvals.ask(CALLER, ANNA, Act.ERASE, {"subject": about}, "asked")
    with pytest.raises(Killed):
        await cut_off(gateway).agree(CALLER, BORIS, asked.id, reason="seen")
    found = await gateway.approvals.find(CALLER, asked.id)
    return found, Agreed(found.id, found.act, found.what, found.reason, ANNA, BORIS)


@both_engines
async def test_what_was_agreed_of_one_thing_serves_no_other(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, people=2)
        other = await gateway.ledger.subjects.find(PEOPLE[1].iin)
        assert other is not None
        found, agreed = await _standing(house, gateway)
        acts: list[Callable[[str, Agreed], Awaitable[object]]] = [
            gateway.compliance.settle, gateway.recalls.start_handover,
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(NotAllowed, match="for another act"):
                await act(CALLER, agreed)
        forged = [
            replace(agreed, what={"subject": str(other.id)}),
            replace(agreed, act=Act.FORCE_ERASURE, what={**agreed.what, "instrument": "none"}),
            replace(agreed, approval=uuid7()),
        ]
        for each in forged:
            with pytest.raises(NotPossible, match="nobody else has agreed"):
                await gateway.compliance.erase(CALLER, each)
        assert untouched(house, gateway)
        assert (await gateway.approvals.find(CALLER, found.id)).state is State.AGREED
        await gateway.compliance.erase(CALLER, agreed)
        assert (await gateway.approvals.find(CALLER, found.id)).state is State.DONE
        with pytest.raises((NotPossible, NotFound)):
            await gateway.compliance.erase(CALLER, agreed)
        house.verified(gateway)


@both_engines
@pytest.mark.parametrize("state", ["asked", "refused", "lapsed", "failed", "done"])
async def test_what_does_not_stand_agreed_does_nothing(house: House, state: str) -> None:
    async with house.gateway() as gateway:
        found, agreed = await _standing(house, gateway)
        kept = "asked" if state == "lapsed" else state
        if state == "lapsed":
            house.clock.offset = timedelta(days=8)
        sql = "UPDATE approvals SET state = ? WHERE id = ?"
        await gateway.store.write(lambda connection: connection.execute(sql, (kept, found.id)))
        with pytest.raises(NotPossible):
            await gateway.compliance.erase(CALLER, agreed)
        with pytest.raises(NotPossible):
            await gateway.approvals.carry_out(CALLER, found.id)
        if state != "asked":
            with pytest.raises(NotPossible):
                await gateway.approvals.agree(CALLER, BORIS, found.id, reason="seen")
        assert untouched(house, gateway)


@both_engines
async def test_however_many_press_the_button_in_whatever_process_it_is_done_once(house: House) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        found, _ = await _standing(house, gateway)
        ends = await asyncio.gather(
            *(each.approvals.carry_out(CALLER, found.id) for each in (gateway, elsewhere) for _ in range(3)),
            return_exceptions=True,
        )
        assert len([each for each in ends if isinstance(each, tuple)]) == 1
        assert all(isinstance(each, tuple | QaqpaError) for each in ends), ends
        assert len(house.entries(gateway, "erasure")) == 1
        after = await gateway.approvals.find(CALLER, found.id)
        assert (after.state, after.code) == (State.DONE, None), "those that came too late do not call it failed"
        house.verified(gateway)


@both_engines
async def test_of_several_who_agree_in_several_processes_one_does(house: House) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        about = await subject(house, gateway)
        asked = await gateway.approvals.ask(CALLER, ANNA, Act.ERASE, {"subject": about}, "asked")
        ends = await asyncio.gather(
            *(
                each.approvals.agree(CALLER, called(name, API), asked.id, reason="seen")
                for each, name in ((gateway, "Boris"), (elsewhere, "Vera"), (elsewhere, "Galina"))
            ),
            return_exceptions=True,
        )
        assert [type(each) for each in ends if isinstance(each, Exception)] == [NotPossible, NotPossible]
        assert len(house.entries(gateway, "erasure")) == len(entered(house, gateway, "agree")) == 1


@both_engines
async def test_what_was_asked_for_before_people_at_shells_were_known_is_still_agreed_to(house: House) -> None:
    old = '{"name":"Anna Kim","issuer":"https://provider.example","sub":"a-1"}'
    async with house.gateway() as gateway:
        about = await subject(house, gateway)
        asked = await gateway.approvals.ask(CALLER, ANNA, Act.ERASE, {"subject": about}, "asked")
        sql = "UPDATE approvals SET asked_by = ?, what = ? WHERE id = ?"
        row = (old, f'{{"subject":"{about}"}}', asked.id)
        await gateway.store.write(lambda connection: connection.execute(sql, row))
        with pytest.raises(NotAllowed):
            await gateway.approvals.agree(CALLER, called("Kim Anna", SHELL), asked.id, reason="seen")
        found, done = await gateway.approvals.agree(CALLER, BORIS, asked.id, reason="seen")
        assert isinstance(done, Erased) and found.asked_by.account is not None
        [erasure] = house.entries(gateway, "erasure")
        assert erasure["account"] == f"{found.asked_by.account}; -"


@both_engines
async def test_cut_off_within_the_act_nothing_is_done_and_it_can_be_carried_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.gateway() as gateway:
        about = await subject(house, gateway)
        asked = await gateway.approvals.ask(CALLER, ANNA, Act.ERASE, {"subject": about}, "asked")

        def full(*_given: object) -> None:
            raise StoreUnavailable("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(gateway.compliance, "_erased", full)
            with pytest.raises(StoreUnavailable):
                await gateway.approvals.agree(CALLER, BORIS, asked.id, reason="seen")
        assert (await gateway.approvals.find(CALLER, asked.id)).state is State.AGREED, "that says nothing against it"
        assert untouched(house, gateway)
    async with house.gateway() as gateway:
        found, done = await gateway.approvals.carry_out(CALLER, asked.id)
        assert isinstance(done, Erased) and (found.state, done.subject) == (State.DONE, about)
        house.verified(gateway)


@both_engines
async def test_what_was_agreed_to_and_cut_off_can_be_taken_back_and_is_not_done_much_later(house: House) -> None:
    async with house.gateway() as gateway:
        found, agreed = await _standing(house, gateway)
        with pytest.raises(NotPossible, match="carry it out, or refuse it"):
            await gateway.approvals.agree(CALLER, BORIS, found.id, reason="again")
        house.clock.offset = timedelta(days=7, minutes=1)
        with pytest.raises(NotPossible, match="too long ago; refuse it, and ask anew"):
            await gateway.approvals.carry_out(CALLER, found.id)
        assert await gateway.approvals.waiting(CALLER) == 1, "somebody has to refuse it"
        refused = await gateway.approvals.refuse(CALLER, ANNA, found.id, reason="the court's act was revoked")
        assert refused.state is State.REFUSED and await gateway.approvals.waiting(CALLER) == 0
        with pytest.raises(NotPossible, match="was refused; ask anew"):
            await gateway.approvals.carry_out(CALLER, found.id)
        with pytest.raises(NotPossible):
            await gateway.compliance.erase(CALLER, agreed)
        assert untouched(house, gateway)
        assert len(entered(house, gateway, "agree", "refuse_approval")) == 2
        house.verified(gateway)


async def test_a_name_has_a_letter(house: House) -> None:
    async with house.gateway() as gateway:
        about = await subject(house, gateway)
        asked = await gateway.approvals.ask(CALLER, ANNA, Act.ERASE, {"subject": about}, "asked")
        with pytest.raises(InvalidRequest, match="must have a letter"):
            await gateway.approvals.agree(CALLER, called("!", API), asked.id, reason="seen")
        with pytest.raises(InvalidRequest, match="must have a letter"):
            await gateway.approvals.ask(CALLER, called("...", SHELL), Act.ERASE, {"subject": about}, "asked")
        assert untouched(house, gateway)
