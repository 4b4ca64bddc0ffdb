"""The draft of a breach's notice: what the ledger knows, right in numbers, bounded in work, and naming nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from harness import PEOPLE, House, both_engines, give_consent, grown, request, request_document
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.errors import Blocked, InvalidRequest, NotAllowed, NotFound
from qaqpa.gateway import Gateway
from qaqpa.report import breach as reading
from qaqpa.report.breach import Breach, Consequence, Scope
from qaqpa.report.deadline import business_day_after
from qaqpa.report.notice import plain_breach, tell_breach
from qaqpa.report.typeset import pdf

ALMATY = timezone(timedelta(hours=5))


def scope(house: House, **more: str | None) -> Scope:
    now = house.clock()
    return Scope(now - timedelta(hours=1), now + timedelta(minutes=1), **more)


async def drafted(house: House, gateway: Gateway, **more: str | None) -> Breach:
    return await gateway.reporting.breach("compliance", scope(house, **more))


@pytest.mark.parametrize(
    ("known", "deadline"),
    [
        ("2026-11-23T10:15", "2026-11-24T10:15"),  # Monday → Tuesday
        ("2026-11-27T17:00", "2026-11-30T17:00"),  # Friday → Monday
        ("2026-11-28T09:00", "2026-12-01T00:00"),  # Saturday: all of Monday
        ("2026-11-29T23:59", "2026-12-01T00:00"),
        ("2026-11-26T23:59", "2026-11-27T23:59"),
    ],
)
def test_one_business_day(known: str, deadline: str) -> None:
    at = datetime.fromisoformat(known).replace(tzinfo=ALMATY)
    wanted = datetime.fromisoformat(deadline).replace(tzinfo=ALMATY)
    assert business_day_after(at.astimezone(UTC), ALMATY) == wanted


@both_engines
async def test_what_left_to_whom_and_about_how_many(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, 3)
        await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0], operation="score")))
        with pytest.raises(Blocked):
            await gateway.disclose("loan-scoring", request(request_document(PEOPLE[5])))
        found = await drafted(house, gateway)
        assert (found.subjects, found.disclosures, found.refused, found.not_sent) == (3, 4, 1, 0)
        assert [(each.party.id, each.disclosures, each.subjects) for each in found.recipients] == [
            ("first-credit-bureau", 4, 3)
        ]
        by_path = {each.path: each for each in found.data}
        assert by_path["identity.iin"].left == 4 and by_path["identity.iin"].sensitivity == "identifier"
        assert any(each.came_back for each in found.data if each.path.startswith("report."))
        assert found.is_whole and found.first is not None and found.last is not None and found.first < found.last
        assert Consequence.IDENTITY in found.consequences
        assert [(asker.id, count) for asker, count in found.askers] == [("loan-scoring", 4)]
        assert found.deadline == business_day_after(found.known_at, gateway.policy.operator.time_zone)


@both_engines
async def test_only_what_is_asked_for_is_counted(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, 2)
        assert (await drafted(house, gateway, recipient="state-credit-bureau")).disclosures == 0
        assert (await drafted(house, gateway, recipient="first-credit-bureau")).disclosures == 2
        assert (await drafted(house, gateway, caller="collections")).disclosures == 0
        assert (await drafted(house, gateway, caller="loan-scoring")).subjects == 2
        now = house.clock()
        before = Scope(now - timedelta(days=9), now - timedelta(days=8))
        assert (await gateway.reporting.breach("compliance", before)).disclosures == 0


async def test_a_period_is_found_among_many_entries(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.gateway() as gateway:
        for _ in range(3):
            await grown(house, gateway, 2)
            house.clock.offset += timedelta(days=1)
        now = house.clock()
        for days in (1, 2, 3):
            middle = now - timedelta(days=days)
            found = await gateway.reporting.breach(
                "compliance", Scope(middle - timedelta(hours=2), middle + timedelta(hours=2))
            )
            assert found.disclosures == 2, days


async def test_what_is_too_much_is_said_to_be_cut(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCKS_AT_MOST", 1)
    monkeypatch.setattr(reading, "BLOCK", 8)
    async with house.gateway() as gateway:
        await grown(house, gateway, 6)
        found = await drafted(house, gateway)
        assert not found.is_whole and 0 < found.disclosures < 6
        said = tell_breach(found, "en", ALMATY).plain()
        assert "shorter periods" in json.dumps(said)


async def test_what_surely_did_not_leave_is_not_counted(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0])
        await gateway.suspend("compliance", "first-credit-bureau", person="A", reason="a leak")
        with pytest.raises(Blocked):
            await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
        found = await drafted(house, gateway)
        assert (found.disclosures, found.subjects, found.refused) == (0, 0, 1)
        assert [(each.act, each.about and each.about.id, each.reason) for each in found.measures] == [
            ("suspend", "first-credit-bureau", "a leak")
        ]


async def test_an_alert_says_when_it_came_to_be_known(house: House) -> None:
    async with house.gateway() as gateway:
        (alert,) = await gateway.alerts.raise_now(Finding(Rule.VOLUME, "looks:person:Jane Doe", "h", {"count": 900}))
        house.clock.offset += timedelta(hours=5)
        found = await drafted(house, gateway, alert=alert.id)
        assert found.known_at == datetime.fromisoformat(alert.since)
        assert found.alert is not None and found.alert.rule is Rule.VOLUME
        assert "Jane" not in json.dumps(plain_breach(found))
        with pytest.raises(NotFound):
            await drafted(house, gateway, alert="none")


async def test_drafting_takes_a_role_and_is_an_entry(house: House) -> None:
    async with house.gateway() as gateway:
        with pytest.raises(NotAllowed):
            await gateway.reporting.breach("loan-scoring", scope(house))
        await drafted(house, gateway, recipient="first-credit-bureau")
        looks = [each for each in house.entries(gateway, "review") if each["act"] == "breach"]
        assert [each["selection"]["recipient"] for each in looks] == ["first-credit-bureau"]
        for wrong in ({"recipient": "870101300123"}, {"caller": "nobody"}):
            with pytest.raises(InvalidRequest):
                await drafted(house, gateway, **wrong)
        now = house.clock()
        with pytest.raises(InvalidRequest):
            await gateway.reporting.breach("compliance", Scope(now, now))
        assert len([each for each in house.entries(gateway, "review") if each["act"] == "breach"]) == 1


@pytest.mark.promise(7)
@pytest.mark.parametrize("language", ["en", "ru", "kk"])
async def test_the_notice_names_nobody_in_any_language_or_form(house: House, language: str) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, 2)
        found = await drafted(house, gateway)
        subjects = [each["subject"] for each in house.entries(gateway, "intent")]
        told = gateway.reporting.notice(found, language)  # type: ignore[arg-type]
        said = json.dumps(told.plain(), ensure_ascii=False, default=str) + json.dumps(plain_breach(found))
        assert not any(each in said for each in subjects)
        for person in PEOPLE[:2]:
            assert person.iin not in said and person.data["identity"]["last_name"] not in said
        assert pdf(told).startswith(b"%PDF")
        texts = json.dumps(told.plain(), ensure_ascii=False, default=str)
        assert ("Likely consequences" in texts) is (language == "en")


async def test_by_the_command_line(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, 2)
    since = (house.clock() - timedelta(hours=1)).astimezone(ALMATY).strftime("%Y-%m-%dT%H:%M")
    base = ("breach", "draft", "--since", since, "--caller", "compliance", "--person", "A. Officer")
    ran = await house.cli(*base, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["subjects"], ran.json["state"], ran.json["scope"].keys()) == (2, "draft", {"since", "until"})
    file = house.home / "notice.pdf"
    ran = await house.cli(*base, "--recipient", "first-credit-bureau", "--pdf", str(file), "--language", "kk")
    assert ran.code == 0 and file.read_bytes().startswith(b"%PDF")
    ran = await house.cli(*base, "--language", "en")
    assert "Persons concerned: 2" in ran.out
    ran = await house.cli(*base, "--alert", "none")
    assert ran.code == 2
    async with house.gateway() as gateway:
        looks = [each for each in house.entries(gateway, "review") if each["act"] == "breach"]
        assert {each["person"] for each in looks} == {"A. Officer"} and len(looks) == 3


async def test_alerts_by_the_command_line(house: House) -> None:
    async with house.gateway() as gateway:
        (alert,) = await gateway.alerts.raise_now(Finding(Rule.REFUSALS, "caller:loan-scoring", "h", {"count": 21}))
    ran = await house.cli("alert", "list", "--caller", "compliance", "--json")
    assert [each["id"] for each in ran.json["alerts"]] == [alert.id]
    ran = await house.cli(
        "alert", "acknowledge", alert.id, "--caller", "compliance", "--person", "A", "--reason", "a test", "--json"
    )
    assert (ran.code, ran.json["state"]) == (0, "acknowledged")
    ran = await house.cli("alert", "list", "--caller", "compliance")
    assert "none" in ran.out
    ran = await house.cli("alert", "list", "--all", "--caller", "compliance")
    assert alert.id in ran.out
