"""The breach file in the console: for approvers, entered under their names, and nothing of what is asked believed."""

from __future__ import annotations

import pytest

from desk import Desk
from harness import PEOPLE, grown
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.config.models import ConsoleRole
from visitor import SignIn

WAYS = ("", "/notice", "/notice.pdf", "/notice.json")


@pytest.mark.promise(7)
@pytest.mark.parametrize("role", [each for each in ConsoleRole if each is not ConsoleRole.APPROVER])
async def test_only_approvers_draft(console: SignIn, role: ConsoleRole) -> None:
    browser = await console(role)
    for way in WAYS:
        assert (await browser.get(f"/breach{way}")).status_code == 403
    assert "/console/breach" not in await browser.text("/alerts")


async def test_a_draft_in_every_form_is_entered_and_names_nobody(desk: Desk, console: SignIn) -> None:
    await grown(desk.house, desk.gateway, 3)
    (alert,) = await desk.gateway.alerts.raise_now(Finding(Rule.VOLUME, "alone:caller:loan-scoring", "h", {"count": 9}))
    browser = await console(ConsoleRole.APPROVER, person="A. Approver")
    page = await browser.text(f"/alerts/{alert.id}")
    address = page.split('href="/console')[1:]
    drafted = next(each.split('"')[0] for each in address if each.startswith("/breach")).replace("&amp;", "&")
    asked = await browser.text(drafted)
    assert f'value="{alert.id}"' in asked and '<option value="loan-scoring" selected>' in asked
    query = drafted.partition("?")[2]
    notice = await browser.text(f"/breach/notice?{query}")
    assert "Notice of a breach of personal data" in notice and "unusual volume" in notice
    found = (await browser.get(f"/breach/notice.json?{query}")).json()
    assert (found["subjects"], found["disclosures"], found["alert"]["id"]) == (3, 3, alert.id)
    assert found["scope"]["caller"] == "loan-scoring"
    answer = await browser.get(f"/breach/notice.pdf?{query}", "ru")
    assert answer.headers["content-type"] == "application/pdf" and answer.content.startswith(b"%PDF")
    assert "attachment" in answer.headers["content-disposition"]
    assert not any(person.iin in notice for person in PEOPLE)
    looks = [each for each in desk.house.entries(desk.gateway, "review") if each["act"] == "breach"]
    assert [each["person"] for each in looks] == ["A. Approver"] * 3
    assert all(each["selection"]["alert"] == alert.id for each in looks)


HOSTILE = {
    "a script": "recipient=%3Cscript%3Ealert(1)%3C/script%3E",
    "an IIN": "recipient=870101300123",
    "no time": "since=yesterday",
    "before all": "since=0001-01-01T00:00",
    "after all": "until=9999-12-31T23:59",
    "the wrong way round": "since=2026-11-23T00:00&until=2026-11-22T00:00",
    "too long": f"caller={'x' * 3000}",
    "an alert that is none": "alert=%3Cimg%20src=x%3E",
}


@pytest.mark.parametrize("asked", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_is_no_scope_is_refused_and_nothing_is_entered(desk: Desk, console: SignIn, asked: str) -> None:
    browser = await console(ConsoleRole.APPROVER)
    for way in ("/notice", "/notice.pdf", "/notice.json"):
        answer = await browser.get(f"/breach{way}?{asked}")
        assert answer.status_code in {400, 404}, answer.text
        assert "<script>alert" not in answer.text and "<img" not in answer.text
    assert [each for each in desk.house.entries(desk.gateway, "review") if each["act"] == "breach"] == []


@pytest.mark.parametrize(("language", "said"), [("ru", "Проект: до отправки"), ("kk", "Жоба: уәкілетті органға")])
async def test_the_notice_speaks_the_readers_language(console: SignIn, language: str, said: str) -> None:
    browser = await console(ConsoleRole.APPROVER)
    assert said in await browser.text("/breach/notice", language)
