"""What takes two persons: that they are two, that it is done once, and that nothing is lost half-way."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest

from desk import Desk
from harness import PEOPLE, House, erase_as_two, grown
from qaqpa.config.models import ConsoleRole
from qaqpa.errors import InvalidRequest, NotAllowed, NotFound, NotPossible
from qaqpa.gateway import Gateway
from qaqpa.gateway.approvals import Approval, Approvals, Done, State
from qaqpa.ledger.agreed import Act
from qaqpa.model.actors import LINK, Actor
from qaqpa.model.identifiers import uuid7
from visitor import Visitor, signed_in

APPROVER = ConsoleRole.APPROVER


def person(name: str, issuer: str = LINK, sub: str | None = None) -> Actor:
    return Actor(name, issuer, sub or name.casefold())


ANNA, BORIS = person("И. Петрова"), person("Boris")


async def subject_of(desk: Desk, house: House) -> str:
    """The random id of somebody about whom something was asked."""
    await grown(house, desk.gateway)
    found = await desk.gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert found is not None
    return str(found.id)


async def asked(desk: Desk, house: House, act: Act = Act.ERASE, **what: str) -> tuple[Approvals, str]:
    """Anna asks for an erasure."""
    approvals = desk.gateway.approvals
    told = {"subject": await subject_of(desk, house)} | what
    return approvals, (await approvals.ask("compliance", ANNA, act, told, "by letter")).id


def acts(house: House, gateway: Gateway, *names: str) -> list[dict[str, Any]]:
    return [each for each in house.entries(gateway, "control") if each["act"] in names]


async def test_two_persons_do_it_and_every_step_is_an_entry(desk: Desk, house: House) -> None:
    approvals, name = await asked(desk, house)
    assert house.entries(desk.gateway, "erasure") == []
    done, _ = await approvals.agree("compliance", BORIS, name, reason="seen")
    assert (done.state, done.asked_by.name, done.decided_by and done.decided_by.name) == (
        State.DONE,
        ANNA.name,
        "Boris",
    )
    [erasure] = house.entries(desk.gateway, "erasure")
    assert erasure["person"] == "И. Петрова; Boris"
    told = acts(house, desk.gateway, "ask_approval", "agree")
    assert [(each["act"], each["person"], each["approval"]) for each in told] == [
        ("ask_approval", ANNA.name, name), ("agree", "Boris", name),
    ]  # fmt: skip
    house.verified(desk.gateway)


SAME = {
    "herself": ANNA,
    "other capitals": person("  И.  ПЕТРОВА "),
    "an account of the same name": person("И. Петрова", "https://provider.example", "a-1"),
    "a new name of the same account": person("Somebody Else", LINK, ANNA.sub),
    "a missing space": person("И.Петрова"),
    "an unseen space": person("И.\u200bПетрова"),
    "a soft hyphen": person("И. Пет\u00adрова"),
    "a word joiner": person("И.\u2060Петрова"),
    "a variation selector": person("И. Петрова\ufe0f"),
    "Greek letters": person("И. Пετρова"),
    "Latin letters": person("И. Пeтpoвa"),
    "word order": person("Петрова И."),
    "ё for е": person("И. Пётрова"),
    "wide letters": person("И． Петрова"),
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
async def test_one_person_is_not_two(desk: Desk, house: House, same: Actor) -> None:
    approvals, name = await asked(desk, house)
    with pytest.raises(NotAllowed, match="two persons"):
        await approvals.agree("compliance", same, name, reason="me again")
    assert (await approvals.find("compliance", name)).state is State.ASKED
    assert house.entries(desk.gateway, "erasure") == acts(house, desk.gateway, "agree") == []
    assert (await approvals.refuse("compliance", ANNA, name, reason="changed my mind")).state is State.REFUSED


async def _form(visitor: Visitor, path: str, **fields: str) -> int:
    await visitor.get("/approvals")
    return (await visitor.post(path, **fields)).status_code


async def test_another_session_of_the_same_person_is_the_same_person(desk: Desk, house: House) -> None:
    subject = await subject_of(desk, house)
    async with signed_in(desk, "И. Петров", APPROVER) as one, signed_in(desk, "Петров И.", APPROVER) as two:
        assert await _form(one, "/approvals/ask/erase", subject=subject, reason="by letter") == 303
        [approval] = await desk.gateway.approvals.listed("compliance")
        for visitor in (one, two):
            assert await _form(visitor, f"/approvals/{approval.id}/agree", reason="it is right") == 403
            assert "Agree, and do it" not in visitor.seen[-1] and "another person has to agree" in visitor.seen[-1]
        async with signed_in(desk, "Boris", APPROVER) as other:
            assert await _form(other, f"/approvals/{approval.id}/agree", reason="seen") == 303
    assert len(house.entries(desk.gateway, "erasure")) == 1


async def test_after_a_week_nobody_can_agree(desk: Desk, house: House) -> None:
    approvals, name = await asked(desk, house)
    async with signed_in(desk, "Boris", APPROVER) as boris:
        assert f"{name}/agree" in (page := (await boris.get("/approvals")).text) and f"{name}/refuse" in page
        assert "waits for another person" in page
    house.clock.offset += timedelta(days=7, seconds=1)
    async with signed_in(desk, "Boris", APPROVER) as boris:
        page = (await boris.get("/approvals")).text
        assert "lapsed: nobody agreed in time" in page and "<dt>Lapsed</dt>" in page
        assert name not in page and "waits for another person" not in page, "there is nothing to press"
        assert "Nothing waits." in (await boris.get("/approvals", show="waiting")).text
    with pytest.raises(NotPossible, match="nobody agreed to it in time"):
        await approvals.agree("compliance", BORIS, name, reason="late")
    assert (await approvals.find("compliance", name)).state is State.ASKED
    assert house.entries(desk.gateway, "erasure") == acts(house, desk.gateway, "agree") == []


@pytest.mark.parametrize("first", [True, False])
async def test_it_is_decided_once(desk: Desk, house: House, first: bool) -> None:
    approvals, name = await asked(desk, house)
    await (approvals.agree if first else approvals.refuse)("compliance", BORIS, name, reason="first")
    for decide in (approvals.agree, approvals.refuse):
        with pytest.raises(NotPossible, match="is done" if first else "was refused; ask anew"):
            await decide("compliance", person("Vera"), name, reason="again")
    assert (await approvals.find("compliance", name)).decided_by == Actor("Boris", LINK, "boris")
    assert len(house.entries(desk.gateway, "erasure")) == int(first)


async def test_of_several_who_agree_at_once_one_does(desk: Desk, house: House) -> None:
    approvals, name = await asked(desk, house)
    others = [person(each) for each in ("Boris", "Vera", "Galina")]
    ends = await asyncio.gather(
        *(approvals.agree("compliance", each, name, reason="seen") for each in others), return_exceptions=True
    )
    assert [type(each) for each in ends if isinstance(each, Exception)] == [NotPossible, NotPossible]
    assert len(house.entries(desk.gateway, "erasure")) == len(acts(house, desk.gateway, "agree")) == 1


async def test_however_many_were_asked_for_none_vanishes(desk: Desk, house: House) -> None:
    approvals, oldest = await asked(desk, house)
    what = dict((await approvals.find("compliance", oldest)).what)
    for number in range(119):
        name = (await approvals.ask("compliance", ANNA, Act.ERASE, what, f"by letter {number}")).id
        if number < 60:
            await approvals.refuse("compliance", BORIS, name, reason="no")
    async with signed_in(desk, "Boris", APPROVER) as boris:
        for show, pages, count in (("", 3, 120), ("waiting", 2, 60)):
            path, found = f"/approvals?show={show}", []
            for _ in range(pages):
                page = (await boris.get(path)).text
                found += re.findall(r"<dd>by letter \d+</dd>", page)
                further = re.search(r'<a href="/console([^"]+)" rel="next"', page)
                path = further[1].replace("&amp;", "&") if further else ""
            assert (len(set(found)), path) == (count - 1, ""), show
        assert f"{oldest}/agree" in page
        assert (await boris.get("/approvals?show=nothing")).status_code == 400


class Killed(BaseException):
    """The process ends here."""


class CutOff(Approvals):
    """Dies when it was agreed to, before anything is done."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.ledger, gateway._require, gateway.control, gateway.compliance, gateway.recalls)

    async def _carry_out(self, caller: str, found: Approval) -> tuple[Approval, Done]:
        raise Killed


async def test_what_was_cut_off_before_it_was_done_is_carried_out_by_hand_and_once(desk: Desk, house: House) -> None:
    approvals, name = await asked(desk, house)
    with pytest.raises(NotPossible):
        await approvals.carry_out("compliance", name)
    with pytest.raises(Killed):
        await CutOff(desk.gateway).agree("compliance", BORIS, name, reason="seen")
    assert (await approvals.find("compliance", name)).state is State.AGREED
    assert house.entries(desk.gateway, "erasure") == []
    async with signed_in(desk, "Vera", APPROVER) as vera:
        assert await _form(vera, f"/approvals/{name}/carry-out") == 303
        assert "Carry it out" in vera.seen[-1]
        assert (await approvals.find("compliance", name)).state is State.DONE
        assert await _form(vera, f"/approvals/{name}/carry-out") == 409
    [erasure] = house.entries(desk.gateway, "erasure")
    assert erasure["person"] == "И. Петрова; Boris", "whoever presses the button decides nothing"


async def test_what_cannot_be_done_says_why_and_is_over(desk: Desk, house: House) -> None:
    approvals, name = await asked(desk, house)
    await erase_as_two(desk.gateway, "compliance", PEOPLE[0].iin, person="A", reason="meanwhile", duties_met=True)
    with pytest.raises(NotFound):
        await approvals.agree("compliance", BORIS, name, reason="seen")
    assert ((failed := await approvals.find("compliance", name)).state, failed.code) == (State.FAILED, "not_found")
    with pytest.raises(NotPossible):
        await approvals.carry_out("compliance", name)


NOTHING = uuid7()


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (Act.ERASE, {"subject": "<script>"}),
        (Act.ERASE, {"subject": "0" * 32}),
        (Act.ERASE, {"subject": PEOPLE[0].iin}),
        (Act.FORCE_ERASURE, {"subject": "0" * 32, "instrument": "act 7"}),
        (Act.RECALL_HANDOVER, {"handover": PEOPLE[0].iin, "reason": "error"}),
        (Act.RECALL_HANDOVER, {"handover": NOTHING, "reason": "error"}),
        (Act.SETTLE, {"disclosure": "nonsense", "result": "delivered"}),
        (Act.SETTLE, {"disclosure": NOTHING, "result": "delivered"}),
    ],
)
async def test_what_does_not_exist_is_not_asked_for(desk: Desk, house: House, act: Act, what: dict[str, str]) -> None:
    async with signed_in(desk, "Anna", APPROVER) as anna:
        form = {("recall_reason" if name == "reason" else name): value for name, value in what.items()}
        answer = await anna.post(f"/approvals/ask/{act}", **form, reason="by letter")
        assert answer.status_code == 404 and PEOPLE[0].iin not in answer.text and "<script>" not in answer.text
    assert await desk.gateway.approvals.listed("compliance") == acts(house, desk.gateway, "ask_approval") == []


async def test_what_cannot_be_done_now_is_not_asked_for(desk: Desk, house: House) -> None:
    subject = await subject_of(desk, house)
    [intent] = house.entries(desk.gateway, "intent")
    approvals = desk.gateway.approvals
    with pytest.raises(NotFound):  # it was delivered: nothing is to be settled
        await approvals.ask(
            "compliance", ANNA, Act.SETTLE, {"disclosure": intent["id"], "result": "delivered"}, "by letter"
        )
    with pytest.raises(NotFound):  # it is no handover: one person may recall it
        await approvals.ask(
            "compliance", ANNA, Act.RECALL_HANDOVER, {"handover": intent["id"], "reason": "error"}, "by letter"
        )
    assert await approvals.listed("compliance") == acts(house, desk.gateway, "ask_approval") == []
    await erase_as_two(desk.gateway, "compliance", PEOPLE[0].iin, person="A", reason="meanwhile", duties_met=True)
    with pytest.raises(NotFound):
        await approvals.ask("compliance", ANNA, Act.ERASE, {"subject": subject}, "by letter")
    assert len(await approvals.listed("compliance")) == len(acts(house, desk.gateway, "ask_approval")) == 1


@pytest.mark.parametrize(
    ("act", "what", "reason"),
    [
        (Act.ERASE, {}, "x"),
        (Act.ERASE, {"subject": "s", "instrument": "i"}, "x"),
        (Act.FORCE_ERASURE, {"subject": "s", "instrument": PEOPLE[0].iin}, "x"),
        (Act.FORCE_ERASURE, {"subject": "s", "instrument": "line\nbreak"}, "x"),
        (Act.SETTLE, {"disclosure": "d", "result": "unknown"}, "x"),
        (Act.RECALL_HANDOVER, {"handover": "h", "reason": "because"}, "x"),
        (Act.ERASE, {"subject": "s"}, f"of {PEOPLE[0].iin}"),
        (Act.ERASE, {"subject": "s"}, ""),
        (Act.ERASE, {"subject": "s"}, "x" * 201),
    ],
)
async def test_what_is_asked_for_wrongly_is_not_kept(desk: Desk, act: Act, what: dict[str, str], reason: str) -> None:
    approvals = desk.gateway.approvals
    with pytest.raises(InvalidRequest):
        await approvals.ask("compliance", ANNA, act, what, reason)
    assert await approvals.listed("compliance") == []


PROVIDER = "https://provider.example"


def test_two_accounts_of_one_provider_are_two_persons_whatever_they_are_called() -> None:
    one, other = person("Anna K.", PROVIDER, "a-1"), person("Anna K.", PROVIDER, "a-2")
    assert not one.is_same_as(other) and one.account != other.account
    assert one.is_same_as(person("Anna Kim", PROVIDER, "a-1")), "a new name"
    assert not one.is_same_as(person("Boris"))
    for elsewhere in (person("K. anna"), person("Anna K.", "https://another.example", "a-2")):
        assert one.is_same_as(elsewhere) and elsewhere.is_same_as(one), "nobody knows of which account a link is"


async def test_entries_tell_two_of_one_name_apart(desk: Desk, house: House) -> None:
    one, other = person("Anna K.", PROVIDER, "a-1"), person("Anna K.", PROVIDER, "a-2")
    assert one.account == hashlib.sha256(b"https://provider.example\0a-1").hexdigest()[:16]
    approvals = desk.gateway.approvals
    subject = await subject_of(desk, house)
    name = (await approvals.ask("compliance", one, Act.ERASE, {"subject": subject}, "by letter")).id
    await approvals.agree("compliance", other, name, reason="seen")
    told = acts(house, desk.gateway, "ask_approval", "agree")
    assert [(each["person"], each["account"]) for each in told] == [
        ("Anna K.", one.account), ("Anna K.", other.account),
    ]  # fmt: skip
    [erasure] = house.entries(desk.gateway, "erasure")
    assert (erasure["person"], erasure["account"]) == ("Anna K.; Anna K.", f"{one.account}; {other.account}")
    house.verified(desk.gateway)


async def test_one_by_a_link_and_one_by_the_provider_are_told_in_their_order(desk: Desk, house: House) -> None:
    boris = person("Boris", PROVIDER, "b-1")
    approvals, name = await asked(desk, house)
    await approvals.agree("compliance", boris, name, reason="seen")
    [erasure] = house.entries(desk.gateway, "erasure")
    assert erasure["account"] == f"-; {boris.account}"
    [asking] = acts(house, desk.gateway, "ask_approval")
    assert "account" not in asking
