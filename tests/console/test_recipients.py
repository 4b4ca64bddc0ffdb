"""Recipients in the console: what lasts how long, how it goes with each, and stopping one."""

from __future__ import annotations

import html
from datetime import date, timedelta, timezone
from pathlib import Path

import pytest

from desk import Desk
from harness import PEOPLE, House, give_consent, handover_document, request, request_document
from qaqpa.config.models import ConsoleRole
from qaqpa.errors import Denied
from qaqpa.ledger import entries
from qaqpa.ledger.entries import Kind
from qaqpa.model.identifiers import HandoverId
from visitor import SignIn, said

FCB = "/recipients/first-credit-bureau"
COLLECTOR = "/recipients/demo-collector"


async def test_the_list_says_kind_agreement_keys_and_state(console: SignIn, desk: Desk) -> None:
    await desk.gateway.suspend("compliance", "state-credit-bureau", person="A", reason="a leak")
    page = (await (await console()).get("/recipients")).text
    row = {
        name: said(page.partition(f"/console/recipients/{name}")[2].partition("</tr>")[0][2:])
        for name in ("first-credit-bureau", "state-credit-bureau", "demo-collector")
    }
    assert (
        "credit bureau КБ-1/2025, 15 January 2025 – 31 December 2027 in force by TLS alone"
        in row["first-credit-bureau"]
    )
    assert row["first-credit-bureau"].endswith("served")
    assert row["state-credit-bureau"].endswith("suspended")
    assert "encrypted to its key (JWE)" in row["demo-collector"]


@pytest.mark.parametrize(
    ("days_before_the_end", "said_of_it"),
    [(31, "in force"), (30, "ends within 30 days"), (0, "ends within 30 days"), (-1, "has ended")],
)
async def test_an_agreement_is_said_to_end(
    house: House, console: SignIn, days_before_the_end: int, said_of_it: str
) -> None:
    today = house.clock().astimezone(timezone(timedelta(hours=5))).date()
    house.clock.offset += timedelta(days=(date(2027, 12, 31) - today).days - days_before_the_end)
    page = said((await (await console()).get(FCB)).text)
    assert f"КБ-1/2025, 15 January 2025 – 31 December 2027 {said_of_it} binds" in page


async def test_keys_and_certificates_are_said_with_their_ends_and_what_is_wrong_with_them(
    house: House, console: SignIn
) -> None:
    browser = await console()
    assert "key that messages are encrypted to seal.key without end in force" in said(
        (await browser.get(COLLECTOR)).text
    )
    signed = said((await browser.get("/recipients/pension-center")).text)
    assert "our certificate that messages are signed with signer.certificate" in signed
    house.clock.offset += timedelta(days=365)
    later = said((await (await console()).get("/recipients/pension-center")).text)
    assert "our certificate that messages are signed with signer.certificate" in later
    assert "has ended" in later


async def test_a_file_that_cannot_be_read_is_said(house: House, console: SignIn, desk: Desk) -> None:
    browser = await console()
    where = desk.gateway.setup.environ["QAQPA_FCB_CA"]
    Path(where).write_text("<script>alert(1)</script>")  # noqa: ASYNC240 - a test's own file
    page = (await browser.get(FCB)).text
    assert "does not serve" in page
    assert "cannot be read as certificates in PEM" in page
    assert "<script>alert" not in page


async def test_the_breaker_is_seen_to_open(console: SignIn, desk: Desk) -> None:
    browser = await console()
    assert "closed: messages pass" in (await browser.get(FCB)).text
    line = desk.gateway.transport._lines["first-credit-bureau"]
    for _ in range(5):
        line.breaker.failed(was_try=False)
    assert "open: it is left alone" in (await browser.get(FCB)).text
    assert "open: it is left alone" in (await browser.get("/recipients")).text


async def test_the_last_entries_say_what_came_of_each(console: SignIn, desk: Desk) -> None:
    gateway = desk.gateway
    await gateway.disclose("collections", request(handover_document(PEOPLE[0])))
    with pytest.raises(Denied):
        await gateway.disclose("collections", request(handover_document(PEOPLE[1], {"days_overdue": 0})))
    await give_consent(desk.house, gateway, PEOPLE[2])
    await gateway.disclose("loan-scoring", request(request_document(PEOPLE[2])))
    page = said((await (await console()).get(COLLECTOR)).text.partition("Last entries about it</h2>")[2])
    assert "intent debt file handed over for collection collection of debts delivered" in page
    assert "refusal debt file handed over for collection collection of debts denied" in page
    assert "credit report" not in page
    assert all(person.iin not in page for person in PEOPLE)
    looks = [entry for entry in desk.house.entries(gateway, "review") if entry["act"] == "list"]
    assert looks[-1]["selection"]["recipient"] == "demo-collector"
    assert looks[-1]["person"] == "Aigerim"


async def test_suspending_takes_a_reason_and_is_entered_and_stops_everything(console: SignIn, desk: Desk) -> None:
    browser = await console(ConsoleRole.ADMINISTRATOR)
    assert (await browser.post(f"{COLLECTOR}/suspend", reason=" ")).status_code == 400
    hostile = "<script>alert(1)</script> %(x)s"
    answer = await browser.post(f"{COLLECTOR}/suspend", reason=hostile)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console{COLLECTOR}")
    page = (await browser.get(COLLECTOR)).text
    assert "<script>alert" not in page
    assert "by Aigerim: &lt;script&gt;alert(1)&lt;/script&gt; %(x)s" in page
    with pytest.raises(Denied):
        await desk.gateway.disclose("collections", request(handover_document(PEOPLE[0])))
    assert (await browser.post(f"{COLLECTOR}/resume", reason="agreed with them")).status_code == 303
    await desk.gateway.disclose("collections", request(handover_document(PEOPLE[0])))
    acts = [(entry["act"], entry["person"], entry["reason"]) for entry in desk.house.entries(desk.gateway, "control")]
    assert acts[-2:] == [("suspend", "Aigerim", hostile), ("resume", "Aigerim", "agreed with them")]


@pytest.mark.parametrize("act", ["suspend", "resume"])
async def test_only_an_administrator_stops_a_recipient(console: SignIn, desk: Desk, act: str) -> None:
    browser = await console(ConsoleRole.REVIEWER, ConsoleRole.INVESTIGATOR, ConsoleRole.APPROVER)
    assert "Send it nothing from now on" not in (await browser.get(COLLECTOR)).text
    assert (await browser.post(f"{COLLECTOR}/{act}", reason="because")).status_code == 403
    assert await desk.gateway.suspensions() == {}


async def test_an_unknown_recipient_is_not_found(console: SignIn) -> None:
    assert (await (await console()).get("/recipients/nobody")).status_code == 404


async def test_words_from_outside_in_entries_are_no_markup(console: SignIn, desk: Desk) -> None:
    hostile, gateway = "<script>alert(1)</script> %(x)s {{ 7 * 7 }}", desk.gateway
    now = gateway.ledger.clock()
    receipt = entries.receipt(
        HandoverId("x"), "demo-collector", result=hostile, rejected=2, sha256="ab", signed=True, at=now
    )
    await gateway.ledger.record(Kind.RECEIPT, receipt)
    act = entries.control(hostile, "demo-collector", "compliance", hostile, hostile, at=now)
    await gateway.ledger.record(Kind.CONTROL, act)
    versions = [{"id": hostile, "from": "2025-01-01", "sha256": hostile}]
    await gateway.ledger.record(Kind.POLICY, entries.policy(versions, hostile, at=now))
    browser = await console()
    for path in (COLLECTOR, "/policy/versions"):
        answer = await browser.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert html.escape(hostile) in answer.text
