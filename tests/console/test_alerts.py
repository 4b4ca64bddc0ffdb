"""Alerts in the console: what stands there, who may acknowledge, and that nothing of a stored text is believed."""

from __future__ import annotations

import pytest

from desk import Desk
from qaqpa.alerts.findings import Finding, Rule
from qaqpa.config.models import ConsoleRole
from qaqpa.console.alerts import MEANINGS, RULES
from visitor import SignIn

HOSTILE = '"><script>alert(1)</script>'
FINDINGS = [
    Finding(Rule.VOLUME, "alone:caller:loan-scoring", "2026-11-23T07:00:00.000Z",
            {"count": 1_400, "limit": 300.0, "usual": 90.5, "hour": "2026-11-23T07:00:00.000Z"}),
    Finding(Rule.VOLUME, f"looks:person:{HOSTILE}", "2026-11-23T07:00:00.000Z", {"count": 999, "limit": 600.0}),
    Finding(Rule.REFUSALS, "caller:loan-scoring", "2026-11-23T07", {"count": 21, "limit": 20, "minutes": 10}),
    Finding(Rule.SUBJECT, "subject:0b6f", "4", {"count": 4, "limit": 4, "hours": 24.0}),
    Finding(Rule.NIGHT, "caller:compliance", "2026-11-23", {"count": 3, "night": "2026-11-23"}, adds=True),
    Finding(Rule.CHECKPOINT, "checkpoint", figures={"seconds": 700}),
    Finding(Rule.VERIFICATION, "entries", "7", {"index": 7, "count": 1}),
    Finding(Rule.UPKEEP, "jobs", figures={"seconds": 400}),
    Finding(Rule.WITNESS, "witness:witness.example/1", figures={"seconds": 4_000}),
    Finding(Rule.EXPIRY, "agreement:demo-collector", "2026-12-01", {"ends": "2026-12-01"}),
    Finding(Rule.BREAK_GLASS, "console", "2026-11-23T07:00:00.000Z"),
]  # fmt: skip


async def raised(desk: Desk, *findings: Finding) -> list[str]:
    """Their ids."""
    return [alert.id for finding in findings for alert in await desk.gateway.alerts.raise_now(finding)]


@pytest.mark.parametrize("language", ["en", "ru", "kk"])
async def test_every_rule_is_told_in_every_language(desk: Desk, console: SignIn, language: str) -> None:
    ids = await raised(desk, *FINDINGS)
    assert len(ids) == len(FINDINGS)
    browser = await console(ConsoleRole.APPROVER)
    page = await browser.text("/alerts", language)
    assert all(f"/console/alerts/{each}" in page for each in ids)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    for each, finding in zip(ids, FINDINGS, strict=True):
        shown = await browser.text(f"/alerts/{each}", language)
        assert "<script>alert" not in shown
        said = MEANINGS[finding.rule][:40]
        assert (said in shown) is (language == "en"), "the other two have words of their own"
        assert (f"<h1>{RULES[finding.rule]}</h1>" in shown) is (language == "en")


async def test_acknowledging_takes_a_role_and_a_reason_and_is_an_entry(desk: Desk, console: SignIn) -> None:
    (alert,) = await raised(desk, FINDINGS[0])
    reader = await console(ConsoleRole.REVIEWER)
    assert "acknowledge" not in await reader.text(f"/alerts/{alert}")
    await reader.text("/alerts")
    refused = await reader.post(f"/alerts/{alert}/acknowledge", reason="nothing")
    assert refused.status_code == 403
    approver = await console(ConsoleRole.APPROVER, person="A. Approver")
    for reason, status in (("", 400), ("call 870101300123", 400), ("a campaign began", 303), ("again", 409)):
        await approver.text("/alerts" if reason == "again" else f"/alerts/{alert}")
        answer = await approver.post(f"/alerts/{alert}/acknowledge", reason=reason)
        assert answer.status_code == status, (reason, answer.text)
    shown = await approver.text(f"/alerts/{alert}")
    assert "A. Approver: a campaign began" in shown
    entered = [each for each in desk.house.entries(desk.gateway, "control") if each["act"] == "acknowledge_alert"]
    assert [(each["alert"], each["rule"], each["person"], each["reason"]) for each in entered] == [
        (alert, "volume", "A. Approver", "a campaign began")
    ]
    assert alert not in await approver.text("/alerts")
    assert alert in await approver.text("/alerts?show=acknowledged")


async def test_looks_at_alerts_are_entered(desk: Desk, console: SignIn) -> None:
    (alert,) = await raised(desk, FINDINGS[2])
    reader = await console(ConsoleRole.REVIEWER, person="R. One")
    await reader.text(f"/alerts/{alert}")
    looks = [(each["person"], each["act"], each["selection"]) for each in desk.house.entries(desk.gateway, "review")]
    assert ("R. One", "alert", {"alert": alert}) in looks


@pytest.mark.parametrize("asked", ["?show=some", "?rule=none", f"?before={'x' * 41}", "?rule=%3Cscript%3E"])
async def test_a_strange_filter_is_refused(console: SignIn, asked: str) -> None:
    reader = await console(ConsoleRole.REVIEWER)
    assert (await reader.get(f"/alerts{asked}")).status_code == 400


async def test_many_alerts_are_turned_over_without_losing_one(desk: Desk, console: SignIn) -> None:
    ids = await raised(desk, *(Finding(Rule.REFUSALS, f"caller:c{number}", "h") for number in range(70)))
    reader = await console(ConsoleRole.REVIEWER)
    first = await reader.text("/alerts")
    seen = [each for each in ids if each in first]
    assert len(seen) == 50 and 'rel="next"' in first
    second = await reader.text(f"/alerts?before={min(seen)}")
    assert {each for each in ids if each in second} == set(ids) - set(seen) and 'rel="next"' not in second


async def test_an_alert_that_is_not_there(console: SignIn) -> None:
    reader = await console(ConsoleRole.REVIEWER)
    assert (await reader.get("/alerts/nobody")).status_code == 404


async def test_open_alerts_are_a_metric(desk: Desk) -> None:
    await raised(desk, FINDINGS[0], FINDINGS[2])
    said = (await desk.client.get("/metrics")).text
    assert 'qaqpa_alerts{rule="volume"} 1.0' in said and 'qaqpa_alerts{rule="night"} 0.0' in said
    assert "qaqpa_alert_messages_waiting 0.0" in said
