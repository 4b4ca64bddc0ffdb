"""Recalls in the console: what is due, what one tells, who may let it go, take it back, say that it was obeyed."""

from __future__ import annotations

import re
from datetime import timedelta

import orjson
import pytest

from desk import PERSON, Desk
from harness import PEOPLE, House, both_engines, give_consent, handover_document, request, request_document
from qaqpa.config.models import ConsoleRole
from qaqpa.gateway import Gateway
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.recall import records
from qaqpa.recall.asking import Asking
from qaqpa.recall.records import Recalled
from recalls import all_recalls, reached
from visitor import Visitor, signed_in

HOSTILE = "<script>alert(1)</script>"


async def proposed(house: House, gateway: Gateway, person: int = 0) -> Recalled:
    """One that is proposed because its consent was withdrawn."""
    consent = await give_consent(house, gateway, PEOPLE[person], contract=None)
    await gateway.disclose("loan-scoring", request(request_document(PEOPLE[person])))
    await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
    return (await all_recalls(gateway))[-1]


async def sent(gateway: Gateway, person: int = 0, **asked: object) -> Recalled:
    """One to the collection agency, which has the notice."""
    disclosure = (await gateway.disclose("collections", request(handover_document(PEOPLE[person])))).id
    number = PEOPLE[person].data["contract"]["number"]
    asking = Asking(**{"caller": None, "person": "A. Compliance", "contract": number, **asked})  # type: ignore[arg-type]
    asked_for = await gateway.recalls.start("compliance", disclosure, RecallReason.REPAYMENT, asking)
    return await reached(gateway, asked_for.id, RecallState.SENT)


def listed(page: str) -> list[str]:
    return re.findall(r'scope="row"><a href="/console/recalls/([\w-]+)"', page)


@both_engines
async def test_the_list_shows_by_state_what_is_due(desk: Desk, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = desk.gateway
    found = [await sent(gateway, person, due_on=gateway.recalls.recalls.proposer.today() + timedelta(days=9 - person))
             for person in range(3)]  # fmt: skip
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get("/recalls")).text
        assert listed(page) == [each.id for each in reversed(found)], "the most urgent first"
        assert re.search(r'state=sent"[^>]*>[^<]+: 3<', page)
        assert listed((await anna.get("/recalls?state=confirmed")).text) == []
        monkeypatch.setattr("qaqpa.console.recalls._COUNT", 2)
        first = (await anna.get("/recalls?state=sent")).text
        further = re.search(r'href="/console([^"]+)" rel="next"', first)
        assert further is not None
        second = (await anna.get(further[1].replace("&amp;", "&"))).text
        assert listed(first) + listed(second) == [each.id for each in reversed(found)]
        assert (await anna.get("/recalls?state=x")).status_code == 400
        assert (await anna.get("/recalls?after=x")).status_code == 404
        house.clock.offset += timedelta(days=12)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        late = (await anna.get("/recalls?state=late")).text
        assert listed(late) == [found[2].id, found[1].id] and "days late" in late
        one = (await anna.get(f"/recalls/{found[2].id}")).text
        assert "days late." in one and "/console/recipients/demo-collector" in one


async def test_one_tells_its_story_without_the_contract(desk: Desk) -> None:
    recall = await sent(desk.gateway)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get(f"/recalls/{recall.id}")).text
        assert "debt repaid" in page and "A. Compliance" in page and "what left about one person" in page
        assert f"/console/people/{recall.subject}" in page
        assert len(re.findall(r'<li><a href="/console/entries/\d+">', page)) >= 2, "asked, and sent"
        assert PERSON.iin not in page and PERSON.data["contract"]["number"] not in page
        assert "<form" not in page.split("</header>")[1], "a reviewer looks"
        assert (await anna.get("/recalls/0")).status_code == 404


async def test_a_proposed_one_is_let_go_by_an_approver(desk: Desk, house: House) -> None:
    recall = await proposed(house, desk.gateway)
    assert recall.state is RecallState.PROPOSED
    path = f"/recalls/{recall.id}"
    async with (
        signed_in(desk, "Vera", ConsoleRole.REVIEWER) as vera,
        signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna,
    ):
        assert (await vera.post(f"{path}/confirm", by_letter="yes")).status_code == 403
        assert f"{path}/confirm" in (await anna.get(path)).text
        assert (await anna.post(f"{path}/confirm", due_on="31.12.2026")).status_code == 400
        assert (await anna.post(f"{path}/confirm")).status_code == 409, "no route takes a notice to a bureau"
        assert (await anna.post(f"{path}/confirm", by_letter="yes")).status_code == 303
        page = (await anna.get(path)).text
        assert "a letter: a person writes to the recipient" in page and f"{path}/confirm" not in page
        (entered,) = house.entries(desk.gateway, "recall")
        assert (entered["person"], entered["recall"]) == ("Anna", recall.id)


async def test_a_proposed_one_is_cancelled_with_a_reason(desk: Desk, house: House) -> None:
    recall = await proposed(house, desk.gateway)
    path = f"/recalls/{recall.id}"
    async with signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna:
        assert (await anna.post(f"{path}/cancel")).status_code == 400
        assert (await anna.post(f"{path}/cancel", reason=f"agreed {HOSTILE}")).status_code == 303
        page = (await anna.get(path)).text
        assert "cancelled" in page and "Anna" in page
        assert (await anna.post(f"{path}/cancel", reason="again")).status_code == 409
        entered = [each for each in house.entries(desk.gateway, "control") if each["act"] == "cancel_recall"]
        assert [(each["person"], each["recall"]) for each in entered] == [("Anna", recall.id)]


async def test_the_act_of_destruction_is_acknowledged(desk: Desk, house: House) -> None:
    recall = await sent(desk.gateway)
    path = f"/recalls/{recall.id}"
    async with signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna:
        assert (await anna.post(f"{path}/acknowledge", answer="perhaps", act="Act 7")).status_code == 400
        assert (await anna.post(f"{path}/acknowledge", answer="destroyed")).status_code == 400
        assert (await anna.post(f"{path}/acknowledge", answer="refused", act="letter 1")).status_code == 303
        assert "the recipient refuses" in (await anna.get(path)).text
        act = f"Act 7 {HOSTILE}"
        assert (await anna.post(f"{path}/acknowledge", answer="destroyed", act=act)).status_code == 303
        page = (await anna.get(path)).text
        assert "destroyed, as the recipient says" in page and f"{path}/acknowledge" not in page
        receipts = house.entries(desk.gateway, "receipt")
        assert [(each["person"], each["act"]) for each in receipts] == [("Anna", "letter 1"), ("Anna", act)]
        index = re.findall(r'<li><a href="/console/entries/(\d+)">', page)[-1]
        story = (await anna.get(f"/entries/{index}")).text
        assert "answered a recall." in story and HOSTILE not in story and "Act 7 &lt;script&gt;" in story


async def test_what_left_about_one_person_is_asked_back_from_its_own_page(desk: Desk, house: House) -> None:
    disclosed = await desk.gateway.disclose("collections", request(handover_document(PERSON)))
    entry = next(n for n, each in enumerate(house.entries(desk.gateway)) if each["id"] == disclosed.id)
    async with (
        signed_in(desk, "Vera", ConsoleRole.REVIEWER) as vera,
        signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna,
    ):
        assert "Ask it back" not in (await vera.get(f"/entries/{entry}")).text
        assert "Ask it back" in (await anna.get(f"/entries/{entry}")).text
        assert (await vera.post("/recalls", of=disclosed.id, recall_reason="error")).status_code == 403
        assert (await anna.post("/recalls", of=disclosed.id, recall_reason="x")).status_code == 400
        assert (await anna.post("/recalls", of="0", recall_reason="error")).status_code == 404
        assert (await anna.post("/recalls", of=disclosed.id, recall_reason="error")).status_code == 400, "no number"
        number = PERSON.data["contract"]["number"]
        asked = await anna.post("/recalls", of=disclosed.id, recall_reason="error", contract=number)
        assert asked.status_code == 303
        (recall,) = await all_recalls(desk.gateway)
        assert asked.headers["location"] == f"/console/recalls/{recall.id}"
        assert (recall.target, recall.figures["person"]) == (disclosed.id, "Anna")


async def test_that_of_a_whole_handover_goes_only_through_two_persons(desk: Desk, house: House) -> None:
    gateway = desk.gateway
    recall = await proposed(house, gateway)
    # As one of a package would stand there.
    sql = "UPDATE recalls SET scope = 'handover' WHERE id = ?"
    await gateway.store.write(lambda connection: connection.execute(sql, (recall.id,)))
    async with signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna:
        page = (await anna.get(f"/recalls/{recall.id}")).text
        assert "/approvals/ask/recall_handover" in page and f"/recalls/{recall.id}/confirm" not in page
        answer = await anna.post(f"/recalls/{recall.id}/confirm", by_letter="yes")
        assert answer.status_code == 403 and "two persons" in answer.text
    found = await gateway.store.read(lambda connection: records.find(connection, recall.id))
    assert (found.state, found.scope) == (RecallState.PROPOSED, RecallScope.HANDOVER)


async def test_scripts_in_what_recipients_say_are_shown_as_text(desk: Desk) -> None:
    recall = await sent(desk.gateway)
    said = {"code": HOSTILE, "person": HOSTILE, "receipt": {"result": HOSTILE, "signed": False, "code": HOSTILE}}
    figures = orjson.dumps(said).decode()
    sql = "UPDATE recalls SET figures = ?, recipient = ? WHERE id = ?"
    await desk.gateway.store.write(lambda connection: connection.execute(sql, (figures, HOSTILE, recall.id)))
    async with signed_in(desk, "Anna") as anna:
        for path in ("/recalls", f"/recalls/{recall.id}"):
            page = await anna.get(path)
            assert page.status_code == 200 and HOSTILE not in page.text and "&lt;script&gt;" in page.text


async def test_each_look_is_entered_once(desk: Desk, house: House) -> None:
    recall = await sent(desk.gateway)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        await _look(anna, "/recalls", f"/recalls/{recall.id}")
    looks = [(each["act"], each["person"]) for each in house.entries(desk.gateway, "review")]
    assert looks.count(("recalls", "Anna")) == 1 and looks.count(("recall", "Anna")) == 1


async def _look(visitor: Visitor, *paths: str) -> None:
    for path in paths:
        assert (await visitor.get(path)).status_code == 200


@pytest.mark.parametrize("state", list(RecallState))
async def test_one_is_shown_in_every_state_with_the_forms_that_fit(desk: Desk, state: RecallState) -> None:
    recall = await sent(desk.gateway)
    await desk.gateway.jobs.close()
    sql = "UPDATE recalls SET state = ?, scope = ?, figures = ? WHERE id = ?"
    for scope in RecallScope:
        values = (state.value, scope.value, "{}", recall.id)
        await desk.gateway.store.write(lambda connection, values=values: connection.execute(sql, values))
        async with signed_in(desk, "Anna") as anna:
            page = await anna.get(f"/recalls/{recall.id}")
            assert page.status_code == 200, page.text
            waits = state in {RecallState.UPCOMING, RecallState.PROPOSED, RecallState.BLOCKED}
            whole = scope is RecallScope.HANDOVER
            assert (f"/recalls/{recall.id}/confirm" in page.text) == (waits and not whole)
            assert ("/approvals/ask/recall_handover" in page.text) == (waits and whole)
            assert (f"/recalls/{recall.id}/cancel" in page.text) == (waits or state is RecallState.ASKED)
            answerable = state in {RecallState.SENT, RecallState.LATE, RecallState.REFUSED}
            assert (f"/recalls/{recall.id}/acknowledge" in page.text) == answerable
            assert (await anna.get(f"/recalls?state={state}")).status_code == 200
