"""Recalls on the command line and over HTTP: who may, what is shown, what is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from desk import PERSON, at_desk, tokens_for
from harness import House, handover_document, request
from qaqpa.errors import NotAllowed
from qaqpa.model.identifiers import uuid7
from qaqpa.model.recall import RecallReason, RecallState
from recalls import ASKING, all_recalls, handed_over, reached

NUMBER = PERSON.data["contract"]["number"]
BY = ("--caller", "compliance", "--person", "A. Compliance")
OTHER = ("--caller", "compliance", "--person", "B. Deputy", "--reason", "seen")


async def test_on_the_command_line(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        for key, value in house.environ.items():
            monkeypatch.setenv(key, value)
        recipient, handover = scene.agency, scene.handover
        ran = await house.cli("recall", "start", handover, "--reason", "error", *BY, "--due-on", "2020-01-31")
        assert (ran.code, "past" in ran.err) == (2, True)
        ran = await house.cli("recall", "start", handover, "--reason", "error", *BY, "--json")
        assert ran.code == 0, ran.err
        assert (ran.json["state"], ran.json["what"]) == ("asked", {"handover": handover, "reason": "error"})
        assert await all_recalls(scene.gateway) == [], "it takes two persons"
        ran = await house.cli("approval", "agree", ran.json["approval"], *OTHER, "--json")
        assert ran.code == 0, ran.err
        done, recall = ran.json["done"], ran.json["done"]["recall"]
        assert (done["of"], done["way"], done["person"]) == (handover, "package", "A. Compliance; B. Deputy")
        await reached(scene.gateway, recall, RecallState.SENT)
        ran = await house.cli("recall", "start", handover, "--reason", "error", *BY)
        assert (ran.code, "recalled already" in ran.err) == (2, True)
        ran = await house.cli("recall", "list", "--caller", "compliance")
        assert (ran.code, recall in ran.out, "sent" in ran.out) == (0, True, True)
        ran = await house.cli("recall", "acknowledge", recall, *BY)
        assert (ran.code, "--act" in ran.err) == (2, True)
        receipt = recipient.acknowledge(scene.notices[0].name, result="destroyed")
        for more in (("--refused",), ("--person", "A. Compliance")):
            ran = await house.cli("recall", "acknowledge", recall, str(receipt), "--caller", "compliance", *more)
            assert (ran.code, "are for --act" in ran.err) == (2, True), ran.err
        assert (await scene.gateway.recalls.find("compliance", recall)).state is RecallState.SENT
        ran = await house.cli("recall", "acknowledge", recall, str(receipt), "--caller", "compliance", "--json")
        assert (ran.code, ran.json["state"]) == (0, "confirmed"), ran.err
        assert ran.json["receipt"] == {"result": "destroyed", "signed": True, "code": None}
        assert "no recall waits" in (await house.cli("recall", "list", "--caller", "compliance")).out
        ran = await house.cli("recall", "show", recall, "--caller", "compliance")
        assert (ran.code, "destroyed" in ran.out) == (0, True)
        ran = await house.cli("recall", "show", uuid7(), "--caller", "compliance")
        assert (ran.code, "no recall" in ran.err) == (2, True)
        ran = await house.cli("ledger", "verify")
        assert ran.code == 0, ran.err
        exported = tmp_path / "export"
        await house.cli("ledger", "export", str(exported), "--caller", "compliance")
        checked = subprocess.run(  # noqa: ASYNC221 - nothing else is to go on meanwhile
            [sys.executable, str(exported / "verify.py"), str(exported), "--vkey", str(scene.gateway.setup.log_key)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert (checked.returncode, "1 recall" in checked.stdout) == (0, True), checked.stdout + checked.stderr


async def test_a_command_whose_notice_may_not_leave_ends_as_one_that_is_refused(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        for key, value in house.environ.items():
            monkeypatch.setenv(key, value)
        await scene.gateway.suspend("compliance", "demo-collector", person="A. Compliance", reason="incident")
        ran = await house.cli("recall", "start", scene.handover, "--reason", "error", *BY, "--json")
        ran = await house.cli("approval", "agree", ran.json["approval"], *OTHER, "--json")
        done = ran.json["done"]
        assert (ran.code, done["state"], done["code"]) == (1, "blocked", "deny")
        again = await house.cli("recall", "confirm", done["recall"], *BY, "--json")
        assert (again.code, again.json["what"]) == (0, {"handover": scene.handover, "reason": "error"})
        again = await house.cli("approval", "agree", again.json["approval"], *OTHER)
        assert (again.code, "blocked" in again.out) == (1, True)
        served = await scene.gateway.recalls.recalls.find(done["recall"])
        assert (served.state, served.figures["code"]) == (RecallState.CANCELLED, "another")
        shown = await house.cli("recall", "show", done["recall"], "--caller", "compliance")
        assert shown.code == 0, "to look at it is no failure"


async def test_over_http_a_whole_handover_is_asked_back_and_confirmed_by_two(house: House, tmp_path: Path) -> None:
    async with handed_over(house, tmp_path / "agency", count=2) as scene:
        handover = scene.handover
        await scene.gateway.suspend("compliance", "demo-collector", person="A. Compliance", reason="incident")
    said, seen = {"person": "A. Compliance"}, {"person": "B. Deputy", "reason": "seen"}
    async with at_desk(house, await tokens_for(house)) as desk:
        body = {"of": handover, "reason": "error", **said, "contract": NUMBER}
        assert (await desk.ask("POST", "/v1/recalls", "compliance", json=body)).status_code == 400, (
            "it is of one person"
        )
        body = {"of": handover, "reason": "error", **said, "due_on": "2020-01-31"}
        assert (await desk.ask("POST", "/v1/recalls", "compliance", json=body)).status_code == 400
        asked = await desk.ask("POST", "/v1/recalls", "compliance", json={"of": handover, "reason": "error", **said})
        assert (asked.status_code, asked.json()["state"]) == (202, "asked")
        done = await desk.ask("POST", asked.json()["links"]["agree"], "compliance", json=seen)
        recall = done.json()["done"]["recall"]
        await reached(desk.gateway, recall, RecallState.BLOCKED)
        confirmed = await desk.ask("POST", f"/v1/recalls/{recall}/confirmation", "compliance", json=said)
        assert (confirmed.status_code, confirmed.json()["what"]) == (202, {"handover": handover, "reason": "error"})
        assert (await all_recalls(desk.gateway))[-1].state is RecallState.BLOCKED, "nothing is done yet"
        done = await desk.ask("POST", confirmed.json()["links"]["agree"], "compliance", json=seen)
        assert (done.status_code, done.json()["done"]["person"]) == (200, "A. Compliance; B. Deputy")
        again = await desk.ask("POST", f"/v1/recalls/{recall}/confirmation", "compliance", json=said)
        assert again.status_code == 409, "another serves it"


async def test_over_http_and_what_the_doctor_says(house: House) -> None:
    tokens = await tokens_for(house)
    async with at_desk(house, tokens) as desk:
        gateway = desk.gateway
        disclosure = (await gateway.disclose("collections", request(handover_document(PERSON)))).id
        body = {"of": disclosure, "reason": "repayment", "person": "A. Compliance", "contract": NUMBER}
        for caller, status in (("collections", 403), ("loan-scoring", 403), (None, 401)):
            assert (await desk.ask("POST", "/v1/recalls", caller, json=body)).status_code == status
        wrong = {"of": "x", "reason": "whim", "person": "", "contract": "\u0000"}
        for name, value in wrong.items():
            answer = await desk.ask("POST", "/v1/recalls", "compliance", json=body | {name: value})
            assert (answer.status_code, name) == (400, name)
        answer = await desk.ask("POST", "/v1/recalls", "compliance", json=body | {"of": uuid7()})
        assert answer.status_code == 404
        answer = await desk.ask("POST", "/v1/recalls", "compliance", json=body)
        assert answer.status_code == 202, answer.text
        recall = answer.json()["recall"]
        assert answer.headers["location"] == f"/v1/recalls/{recall}"
        assert NUMBER not in answer.text
        await reached(gateway, recall, RecallState.SENT)
        assert (await desk.ask("POST", "/v1/recalls", "compliance", json=body)).status_code == 409
        answer = await desk.ask(
            "POST", f"/v1/recalls/{recall}/confirmation", "compliance", json={"person": "A. Compliance"}
        )
        assert answer.status_code == 409
        looks = len(house.entries(gateway, "review"))
        [listed] = (await desk.ask("GET", "/v1/recalls", "compliance")).json()["recalls"]
        assert listed == (await desk.ask("GET", f"/v1/recalls/{recall}", "compliance")).json()
        assert (listed["state"], listed["way"], listed["asked_by"]) == ("sent", "message", "compliance")
        assert len(house.entries(gateway, "review")) == looks + 2
        assert (await desk.ask("GET", "/v1/recalls", "collections")).status_code == 403
        house.clock.offset = timedelta(days=11)
        await gateway.recalls.keep()
        scraped = (await desk.ask("GET", "/metrics", "compliance")).text
        assert 'qaqpa_recalls{state="late"} 1.0' in scraped
        with pytest.raises(NotAllowed):
            await gateway.recalls.start("loan-scoring", disclosure, RecallReason.ERROR, ASKING)
    house.clock.offset = timedelta(0)
    ran = await house.cli("doctor", "--json")
    [found] = [each for each in ran.json["findings"] if each["about"] == "recalls"]
    assert (found["state"], "1 were not obeyed in time" in found["message"]) == ("wrong", True)
