"""What the overview says waits, and how the ledger is: each figure agrees with the list that it leads to."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from books import Intruder
from desk import Desk
from harness import PEOPLE, House, both_engines, give_consent, grown
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.config.models import ConsoleRole
from qaqpa.gateway import consent_review
from qaqpa.model.words import timestamp
from visitor import Visitor, signed_in

CONSENT = re.compile(r'scope="row"><a href="/console/consents/([0-9a-f-]{36})"')


async def ending(visitor: Visitor) -> tuple[int, str]:
    """The figure of consents about to end, and where it leads."""
    page = (await visitor.get("/")).text
    found = re.search(r'href="/console(/consents\?ends_by=[^"]+)">([\d\s,]+)</a>', page)
    assert found is not None
    return int(found[2]), found[1]


@both_engines
async def test_consents_about_to_end_are_counted_as_they_are_listed(
    desk: Desk, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent_review, "PAGE", 2)
    gateway, now = desk.gateway, house.clock()
    day = gateway.policy.day(now)
    last = f"{day + timedelta(days=30)}T23:59:59+05:00"
    after = f"{day + timedelta(days=31)}T00:00:00+05:00"
    soon = [(now + timedelta(days=days)).isoformat() for days in (20, 3, 11)]
    ids = {}
    for number, end in enumerate(
        [*soon, last, after, None, soon[0], soon[1], (now + timedelta(seconds=2)).isoformat()]
    ):
        ids[number] = (await give_consent(house, gateway, PEOPLE[number % 6], expires_at=end)).id
    await gateway.withdraw_consent("loan-scoring", ids[6], duties_met=True)
    await gateway.withdraw_consent("loan-scoring", ids[7], duties_met=False)
    house.clock.offset += timedelta(seconds=5)
    async with signed_in(desk, "Anna") as anna:
        count, address = await ending(anna)
        assert address == f"/consents?ends_by={day + timedelta(days=30)}"
        seen: list[str] = []
        while address:
            page = (await anna.get(address.replace("&amp;", "&"))).text
            seen += CONSENT.findall(page)
            further = re.search(r'href="/console(/consents\?[^"]*before=[^"]+)"', page)
            address = further[1] if further else ""
        assert len(seen) == count == 5, "withdrawn ones, ended ones and those without end are none of them"
        assert set(seen[:2]) == {ids[1], ids[7]}, "a pending withdrawal is in force yet (7.1(3))"
        assert seen[2:] == [ids[2], ids[0], ids[3]], "the soonest first"
        for wrong in ("ends_by=x", f"ends_by={day}&state=active", f"ends_by={day}&before=x"):
            assert (await anna.get(f"/consents?{wrong}")).status_code == 400, wrong
        assert (await anna.get(f"/consents?ends_by={day}&before={'0' * 36}")).status_code == 404
    looks = [each["selection"] for each in house.entries(gateway, "review") if each["act"] == "consents"]
    assert looks[0] == {"ends_by": str(day + timedelta(days=30))}
    house.verified(gateway)


@both_engines
async def test_when_a_consent_ends_is_held_against_its_entry(house: House, store_url: str) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0], expires_at=(house.clock() + timedelta(days=3)).isoformat())
    assert (await house.cli("ledger", "verify")).code == 0
    Intruder(store_url, house.home).run("UPDATE consents SET expires_at = NULL")
    ran = await house.cli("ledger", "verify", "--json")
    assert ran.code == 6 and "expires_at of consent" in ran.json["detail"]


async def test_the_last_verification_is_told_with_who_ran_it(desk: Desk, house: House, store_url: str) -> None:
    await grown(house, desk.gateway, 2)
    async with signed_in(desk, "Anna") as anna:
        for path in ("/", "/ledger"):
            assert "nobody has told of a verification yet" in (await anna.get(path)).text
        assert (await house.cli("ledger", "verify", "--person", "B. Officer")).code == 0
        for path in ("/", "/ledger"):
            page = (await anna.get(path)).text
            assert "it holds: " in page and "run by B. Officer" in page
        Intruder(store_url, house.home).run("UPDATE entries SET caller = 'x' WHERE idx = 2")
        assert (await house.cli("ledger", "verify", "--person", "<b>C</b>")).code == 6
        page = (await anna.get("/")).text
        assert "run by &lt;b&gt;C&lt;/b&gt;" in page and "failed " in page and 'href="/console/entries/2"' in page


async def test_alerts_and_acts_of_two_persons_that_wait_are_counted(desk: Desk, house: House) -> None:
    await grown(house, desk.gateway)
    subject = await desk.gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert subject is not None
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER, ConsoleRole.APPROVER) as anna:

        async def figures() -> list[str]:
            page = (await anna.get("/")).text
            return re.findall(r'href="/console/(?:alerts|approvals\?show=waiting)">(\d+)</a>', page)

        assert await figures() == ["0", "0"]
        await desk.gateway.alerts.raise_now(Finding(Rule.UPKEEP, "jobs", timestamp(house.clock())))
        for reason in ("by letter", "by letter, again"):
            posted = await anna.post("/approvals/ask/erase", subject=str(subject.id), reason=reason)
            assert posted.status_code == 303
        assert await figures() == ["1", "2"]
        house.clock.offset += timedelta(days=7, seconds=1)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        assert await figures() == ["1", "0"], "what nobody agreed to waits no more"
