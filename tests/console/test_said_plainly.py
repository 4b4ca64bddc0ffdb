"""Lists and pages name things once and say what was done: times, handovers, drafts, guards, where to sign in."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from desk import Desk
from harness import PEOPLE, House, give_consent, grown, handover_document, request, request_document
from qaqpa.config.models import ConsoleConfig, ConsoleRole
from qaqpa.console.names import GUARDS_OF_LAW, UNMET_OF_LAW
from qaqpa.errors import Denied
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.integrate import integrate_all
from qaqpa.ledger.lately import lately
from qaqpa.ledger.read import Wanted
from qaqpa.policy.law import GUARDS
from qaqpa.report.saying import Saying
from qaqpa.service.listening import console_url, note_served
from qaqpa.testing.faults import Fault
from visitor import SignIn, said


async def test_each_disclosure_of_a_list_has_a_link_of_its_own(console: SignIn, desk: Desk, house: House) -> None:
    await grown(house, desk.gateway, 4)
    page = (await (await console()).get("/disclosures")).text
    links = re.findall(r'scope="row" class="number"><a href="/console/entries/(\d+)">([^<]+)<', page)
    assert len(links) >= 4 and all(number == text.replace(",", "") for number, text in links)
    assert re.search(r'class="when">[^<]*\d\d:\d\d:\d\d<', page)
    assert f"by the operator's clock: {desk.gateway.policy.operator.time_zone}." in said(page)


@pytest.mark.parametrize("language", ["en", "ru", "kk"])
async def test_an_operation_has_one_name_on_every_page(console: SignIn, desk: Desk, language: Any) -> None:
    reader, zone = await console(language=language), desk.gateway.policy.operator.time_zone
    name = Saying(language, zone).operation("handover")
    for path in ("/recipients/demo-collector", "/policy/matrix", "/disclosures", "/policy"):
        assert name in html.unescape((await reader.get(path)).text), path


async def test_without_a_draft_nothing_is_said_to_have_been_compared(console: SignIn, desk: Desk, house: House) -> None:
    await grown(house, desk.gateway, 2)
    page = said((await (await console()).get("/policy/shadow")).text)
    assert "No draft is configured: nothing is compared." in page
    assert "draft differed" not in page.partition("nothing is compared")[2]


async def test_the_search_offers_every_guard_and_a_person(console: SignIn, desk: Desk, house: House) -> None:
    await grown(house, desk.gateway)
    page = (await (await console()).get("/disclosures")).text
    offered = re.search(r'<select name="reason">(.*?)</select>', page, re.DOTALL)
    assert offered is not None
    assert {*GUARDS, *desk.gateway.setup.config.guards} <= set(re.findall(r'value="([^"]+)"', offered[1]))
    assert 'name="subject"' in page


def test_each_guard_of_law_says_what_it_finds() -> None:
    assert GUARDS_OF_LAW.keys() == UNMET_OF_LAW.keys() == GUARDS.keys()
    assert not {*GUARDS_OF_LAW.values()} & {*UNMET_OF_LAW.values()}


async def test_what_was_not_met_is_worded_as_a_finding(console: SignIn, desk: Desk) -> None:
    with pytest.raises(Denied):
        await desk.gateway.disclose("loan-scoring", request(request_document(PEOPLE[0], purpose="cession")))
    await integrate_all(desk.gateway.store)
    await catalogue_more(desk.gateway.store, desk.gateway.setup.config.gateway.operator.utc_offset_hours)
    reader = await console(language="ru")
    page = said((await reader.get("/")).text)
    assert "Такую передачу не допускает ни один маршрут." in page and "Не выполнено" not in page


async def test_a_recipient_is_told_with_its_state_number_and_address(console: SignIn, desk: Desk, house: House) -> None:
    reader = await console(language="ru")
    page = said((await reader.get("/recipients/demo-collector")).text)
    assert "Казахстан" in page and "Страна KZ" not in page
    known = desk.gateway.policy.recipients["demo-collector"]
    for value in (known.bin, known.address):
        assert (value or "в конфигурации не указано") in page


async def test_the_language_is_chosen_before_signing_in_and_kept(desk: Desk) -> None:
    page = (await desk.client.get("/console/signin")).text
    assert "qaqpa console" not in page and "administrator" in page
    for code in ("ru", "kk", "en"):
        assert f'href="/console/signin?language={code}"' in page
        answer = await desk.client.get(f"/console/signin?language={code}")
        assert f'<html lang="{code}">' in answer.text
        assert f"qaqpa_language={code}" in answer.headers["set-cookie"]
        assert f'<html lang="{code}">' in (await desk.client.get("/console/signin")).text
    answer = await desk.client.get("/console/signin?language=<x>")
    assert "set-cookie" not in answer.headers and "<x>" not in answer.text


def test_a_link_to_sign_in_leads_where_the_service_was_started(house: House) -> None:
    unset, chosen = ConsoleConfig(), ConsoleConfig(url="https://gate.example")
    assert console_url(house.home, unset) == "http://127.0.0.1:8480"
    note_served(house.home, "http://127.0.0.1:9001")
    assert console_url(house.home, unset) == "http://127.0.0.1:9001"
    assert console_url(house.home, chosen) == "https://gate.example"


async def test_rows_of_a_handover_are_one_of_the_last_entries(desk: Desk, house: House) -> None:
    """Tested in `test_handover_pages` with a register; here that single ones stay apart."""
    await give_consent(house, desk.gateway, PEOPLE[0])
    house.fcb.fault = Fault.NONE
    for person in PEOPLE[:2]:
        await desk.gateway.disclose("collections", request(handover_document(person)))
    with desk.gateway.store.snapshot() as connection:
        found = lately(connection, 20, Wanted(recipient="demo-collector", kind="intent"))
    assert [each.rows for each in found] == [0, 0]


async def test_a_report_drawn_here_says_whose_it_is(console: SignIn, desk: Desk, house: House) -> None:
    await grown(house, desk.gateway)
    iin = PEOPLE[0].iin
    subject = await desk.gateway.ledger.subjects.find(iin)
    assert subject is not None
    path = f"/people/{subject.id}/report"
    reader, investigator = await console(), await console(ConsoleRole.INVESTIGATOR, person="Boris")
    masked = "•" * 8 + iin[-4:]
    assert (await reader.get(f"{path}.json")).json()["about"] == masked
    assert masked in (await reader.get(f"/people/{subject.id}")).text
    assert (await reader.post(f"{path}.json", reason="asked at the desk")).status_code == 403
    assert (await investigator.get(f"{path}.json")).json()["about"] == masked
    assert (await investigator.post(f"{path}.json", reason="")).status_code == 400
    named = await investigator.post(f"{path}.json", reason="asked at the desk")
    assert named.json()["about"] == iin
    assert (await investigator.post(f"{path}.pdf", reason="asked at the desk")).content.startswith(b"%PDF-")
    page = (await investigator.post(f"/people/{subject.id}/identity", reason="asked at the desk")).text
    assert f'action="/console{path}.pdf"' in page and 'name="reason" value="asked at the desk"' in page
    looks = [each for each in house.entries(desk.gateway, "review") if each["act"] == "identity"]
    assert [(each["person"], each["selection"]["reason"]) for each in looks] == [("Boris", "asked at the desk")] * 3
