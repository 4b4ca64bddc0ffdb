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
from recalls import ASKING, handed_over, reached

NUMBER = PERSON.data["contract"]["number"]
BY = ("--caller", "compliance", "--person", "A. Compliance")


async def test_on_the_command_line(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with handed_over(house, tmp_path / "agency") as scene:
        for key, value in house.environ.items():
            monkeypatch.setenv(key, value)
        recipient, handover = scene.agency, scene.handover
        ran = await house.cli("recall", "start", handover, "--reason", "error", *BY, "--due-on", "2020-01-31")
        assert (ran.code, "past" in ran.err) == (2, True)
        ran = await house.cli("recall", "start", handover, "--reason", "error", *BY, "--json")
        assert ran.code == 0, ran.err
        recall = ran.json["recall"]
        assert (ran.json["of"], ran.json["way"], ran.json["person"]) == (handover, "package", "A. Compliance")
        await reached(scene.gateway, recall, RecallState.SENT)
        ran = await house.cli("recall", "start", handover, "--reason", "error", *BY)
        assert (ran.code, "recalled already" in ran.err) == (2, True)
        ran = await house.cli("recall", "list", "--caller", "compliance")
        assert (ran.code, recall in ran.out, "sent" in ran.out) == (0, True, True)
        ran = await house.cli("recall", "acknowledge", recall, *BY)
        assert (ran.code, "--act" in ran.err) == (2, True)
        receipt = recipient.acknowledge(scene.notices[0].name, result="destroyed")
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
