"""An answer that comes later, as callers see it: over HTTP, with the client, on the command line."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest

from desk import Desk, at_desk, tokens_for
from harness import PEOPLE, House, answering_later, give_consent, kdp_consent, pension_document
from qaqpa import client
from qaqpa.client import Client, Patience
from qaqpa.gateway.dialogue import Dialogues
from qaqpa.ledger import awaited
from qaqpa.testing.faults import Fault
from qaqpa_adapters.pension_center.sandbox_async import Delivery

PERSON, OTHER = PEOPLE[:2]


async def test_202_and_then_the_answer(house: House) -> None:
    answering_later(house)
    channel = house.ppc.async_channel
    channel.answers_after_s = 0.5
    async with at_desk(house, await tokens_for(house)) as desk:
        for person in (PERSON, OTHER):
            await give_consent(house, desk.gateway, person, **kdp_consent())
        first = await desk.disclose(pension_document(PERSON), key="k")
        assert (first.status_code, first.headers["cache-control"]) == (202, "no-store")
        told = first.json()
        assert told == {"disclosure": told["disclosure"], "status": "awaiting"}
        where = first.headers["location"]
        assert where == f"/v1/disclosures/{told['disclosure']}" and int(first.headers["retry-after"]) >= 1
        again = await desk.disclose(pension_document(PERSON), key="k")
        assert (again.status_code, again.json()) == (202, told)
        assert (await desk.disclose(pension_document(OTHER), key="k")).status_code == 422
        assert (await desk.ask("GET", where)).status_code == 202
        assert (await desk.ask("GET", where, "collections")).status_code == 404
        assert (await desk.ask("GET", where, "compliance")).status_code == 403
        assert (await desk.ask("GET", where, None)).status_code == 401
        metrics = (await desk.ask("GET", "/metrics", None)).text
        assert "qaqpa_jobs_waiting 1.0" in metrics
        answer = await answered(desk, where)
        assert answer.status_code == 200 and len(answer.json()["report"]["contributions"]) == 6
        kept = await desk.disclose(pension_document(PERSON), key="k")
        assert kept.json() == answer.json()
        assert len(channel.taken) == 1

        channel.delivery = Delivery.NOT_DELIVERED
        refused = await answered(desk, (await desk.disclose(pension_document(OTHER))).headers["location"])
        assert (refused.status_code, refused.json()["code"]) == (502, "request_refused")
        assert refused.json()["their_code"] == "NOT_DELIVERED"

        channel.delivery = Delivery.NEVER
        await desk.disclose(pension_document(OTHER))
        assert (await desk.ask("GET", "/readyz", None)).json()["checks"]["jobs"] == "ok"
        await desk.gateway.jobs.close()
        house.clock.offset = timedelta(days=1, hours=1)
        await asyncio.sleep(1.1)
        ready = await desk.ask("GET", "/readyz", None)
        assert ready.status_code == 503 and "no gateway runs jobs" in ready.json()["checks"]["jobs"]


async def answered(desk: Desk, where: str) -> httpx.Response:
    async with asyncio.timeout(20):
        while (answer := await desk.ask("GET", where)).status_code == 202:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.05)
    return answer


async def test_the_client_waits_as_long_as_it_is_told_to(house: House) -> None:
    answering_later(house)
    house.ppc.async_channel.answers_after_s = 0.5
    patience = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=0.1, answer_timeout_s=5, deadline_s=15)
    async with at_desk(house, await tokens_for(house)) as desk:
        await give_consent(house, desk.gateway, PERSON, **kdp_consent())
        transport = httpx.ASGITransport(app=desk.app)
        token = desk.tokens["loan-scoring"]
        async with Client("http://localhost:1", token=token, patience=patience, transport=transport) as gate:
            assert len((await gate.disclose(**pension_document(PERSON))).report["contributions"]) == 6
            with pytest.raises(client.Awaiting) as waits:
                await gate.disclose(**pension_document(PERSON), wait_s=0, idempotency_key="k")
            assert (waits.value.code, waits.value.status) == ("answer_awaited", 202)
            assert waits.value.idempotency_key == "k" and waits.value.disclosure is not None
            with pytest.raises(client.Awaiting):
                await gate.disclosure(waits.value.disclosure)
            done = await gate.disclose(**pension_document(PERSON), idempotency_key="k")
            assert done == await gate.disclosure(waits.value.disclosure)
            with pytest.raises(client.Refused):
                await gate.disclosure("019b0000-0000-7000-8000-000000000000")


async def test_the_command_waits_or_does_not(house: House) -> None:
    answering_later(house)
    channel = house.ppc.async_channel
    channel.answers_after_s = 3600
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **kdp_consent())
    path = house.write("request.json", pension_document(PERSON))
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--no-wait", "--json")
    assert (ran.code, ran.json["status"]) == (0, "awaiting"), ran.err
    disclosure = ran.json["disclosure"]
    ran = await house.cli("answer", disclosure, "--caller", "loan-scoring", "--no-wait")
    assert (ran.code, f"qaqpa answer {disclosure}" in ran.out) == (0, True), ran.err
    channel.answers_after_s = channel.waiting[disclosure].after_s = 0.3
    ran = await house.cli("answer", disclosure, "--caller", "loan-scoring", "--json")
    assert (ran.code, len(ran.json["report"]["contributions"])) == (0, 6), ran.err
    house.ppc.fail_next(Fault.CUT_CONNECTION)
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    assert (ran.code, len(ran.json["report"]["contributions"])) == (0, 6), ran.err
    assert len(channel.taken) == 2
    ran = await house.cli("doctor", "--json")
    [found] = [each for each in ran.json["findings"] if each["about"] == "jobs"]
    # A command ends when the answer is entered; a later process may have to tell the recipient that it came.
    assert found["state"] == "ok" and found["message"].startswith("no answer is awaited"), found
    assert (await house.cli("answer", disclosure, "--caller", "collections")).code == 2


async def test_an_answer_that_came_is_not_awaited_while_its_recipient_is_still_to_be_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_now(*_: object) -> float:
        return 0.2

    async def jobs() -> dict[str, str]:
        [found] = [each for each in (await house.cli("doctor", "--json")).json["findings"] if each["about"] == "jobs"]
        return found

    answering_later(house)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **kdp_consent())
        with monkeypatch.context() as patched:
            patched.setattr(Dialogues, "_confirm", not_now)
            path = house.write("request.json", pension_document(PERSON))
            ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
            assert (ran.code, len(ran.json["report"]["contributions"])) == (0, 6), ran.err
            told = "no answer is awaited; of 1 that came, the recipient is still to be told"
            assert await jobs() == {"state": "ok", "about": "jobs", "message": told}
    async with house.gateway() as gateway:
        gateway.jobs.wake()
        async with asyncio.timeout(30):
            while await gateway.store.read(awaited.jobs):  # noqa: ASYNC110 - another task's work
                await asyncio.sleep(0.05)
    assert await jobs() == {"state": "ok", "about": "jobs", "message": "no answer is awaited"}
