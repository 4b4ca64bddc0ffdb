"""What comes in badly is refused with its reason, leaves nothing, and enters nothing; one key is one disclosure."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import time
from datetime import timedelta
from typing import Any

import pytest

from desk import PERSON, Desk, at_desk
from flow.test_disk_and_clock import fill
from harness import PEOPLE, House, both_engines, handover_document, request_document
from qaqpa.errors import KeyringError, StoreUnavailable
from qaqpa.keys import Keyring
from qaqpa.ledger.checkpoints import Checkpoints
from qaqpa.testing.faults import Fault

GOOD = json.dumps(request_document(PERSON))
JSON = "application/json"


def inside(name: str, value: str) -> str:
    """The good request with raw JSON in place of one member of the contract facts or of the person's data."""
    marked = request_document(PERSON)
    if name in {"days_overdue", "settlement_steps_done", "breach_notified_on"}:
        marked["facts"] = {"contract": {name: "@@"}}
    elif name == "consent":
        marked["consent"] = "@@"
    else:
        group, _, leaf = name.partition(".")
        marked["data"].setdefault(group, {})[leaf] = "@@"
    return json.dumps(marked).replace('"@@"', value)


BAD: dict[str, tuple[int, str | bytes, dict[str, str]]] = {
    "nothing": (400, "", {}),
    "no JSON": (400, "iin=1", {}),
    "null": (400, "null", {}),
    "a list": (400, "[]", {}),
    "text": (400, '"x"', {}),
    "two documents": (400, GOOD + GOOD, {}),
    "cut short": (400, GOOD[:-1], {}),
    "NaN": (400, inside("days_overdue", "NaN"), {}),
    "minus infinity": (400, inside("days_overdue", "-Infinity"), {}),
    "an endless number": (400, inside("days_overdue", "1e400"), {}),
    "a number that takes a day to write out": (400, inside("days_overdue", "1E+999999999"), {}),
    "money that takes a day to write out": (400, inside("employment.salary", "1E+999999999"), {}),
    "five thousand digits": (400, inside("days_overdue", "9" * 5_000), {}),
    "a number for a day": (400, inside("identity.birth_date", "0"), {}),
    "a number as text for a day": (400, inside("identity.birth_date", '"0"'), {}),
    "a day that is none": (400, inside("identity.birth_date", '"2025-02-30"'), {}),
    "text for a flag": (400, inside("settlement_steps_done", '"yes"'), {}),
    "a number for a flag": (400, inside("settlement_steps_done", "1"), {}),
    "text for a number": (400, inside("days_overdue", '"95"'), {}),
    "a flag for a number of a report": (400, inside("report.score", "false"), {}),
    "text for a number of a report": (400, inside("report.score", '"640"'), {}),
    "a member twice": (400, GOOD[:-1] + ', "purpose": "application_review"}', {}),
    "a member twice, inside": (400, inside("identity.last_name", '"A", "last_name": "B"'), {}),
    "a member twice, spelt otherwise": (400, inside("identity.last_name", '"A", "last\\u005fname": "B"'), {}),
    "an unknown member": (400, GOOD[:-1] + ', "urgent": true}', {}),
    "a wrong check digit": (400, inside("identity.iin", f'"{PERSON.iin[:-1]}{(int(PERSON.iin[-1]) + 1) % 10}"'), {}),
    "an IIN as a number": (400, inside("identity.iin", "1" + PERSON.iin[1:]), {}),
    "an IIN in other digits": (400, inside("identity.iin", '"' + "٣" * 12 + '"'), {}),
    "a NUL in a name": (400, inside("identity.last_name", '"A\\u0000B"'), {}),
    "half a character": (400, inside("identity.last_name", '"\\ud800"'), {}),
    "a consent that is none": (400, inside("consent", '"x"'), {}),
    "a consent with a NUL": (400, inside("consent", '"' + "\\u0000" * 36 + '"'), {}),
    "deep lists": (400, "[" * 100_000, {}),
    "deep members": (400, '{"data":' * 20_000 + "1" + "}" * 20_000, {}),
    "many members": (400, "{" + ",".join(f'"m{n}":{n}' for n in range(15_000)) + "}", {}),
    "many members, the last of them twice": (
        400,
        "{" + ",".join(f'"m{n}":1' for n in range(17_000)) + ',"z":1,"z":1}',
        {},
    ),
    "UTF-16": (400, GOOD.encode("utf-16"), {}),
    "Latin-1": (400, GOOD.replace("@", "\xe9").encode("latin-1", "replace"), {}),
    "a byte order mark": (400, b"\xef\xbb\xbf" + GOOD.encode(), {}),
    "too long": (413, GOOD + " " * 300_000, {}),
    "a text of 10 MB": (413, inside("identity.last_name", '"' + "x" * 10_000_000 + '"'), {}),
    "another type": (415, GOOD, {"content-type": "text/plain"}),
    "no type": (415, GOOD, {"content-type": ""}),
    "a form": (415, GOOD, {"content-type": "application/x-www-form-urlencoded"}),
    "another charset": (415, GOOD, {"content-type": f"{JSON}; charset=utf-16"}),
    "two parameters": (415, GOOD, {"content-type": f"{JSON}; charset=utf-8; version=2"}),
    "compressed": (415, gzip.compress(GOOD.encode()), {"content-encoding": "gzip"}),
    "no key": (400, GOOD, {"idempotency-key": ""}),
    "a key with a space": (400, GOOD, {"idempotency-key": "a b"}),
    "a key beyond ASCII": (400, GOOD, {"idempotency-key": "ключ".encode().decode("latin-1")}),
    "a key of 256": (400, GOOD, {"idempotency-key": "k" * 256}),
}


@both_engines
async def test_what_comes_in_badly_is_refused_with_its_reason_and_enters_nothing(desk: Desk) -> None:
    await desk.consent()
    assert len(PERSON.data["identity"]["last_name"]) > 1
    before = len(desk.house.entries(desk.gateway))
    for what, (status, body, changes) in BAD.items():
        headers = {"content-type": JSON, "idempotency-key": "k"} | changes
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        raw.append((b"authorization", f"Bearer {desk.tokens['loan-scoring']}".encode()))
        content = body.encode() if isinstance(body, str) else body
        started = time.perf_counter()
        answer = await desk.client.post("/v1/disclosures", content=content, headers=raw)
        assert time.perf_counter() - started < 2, what
        assert answer.status_code == status, (what, answer.text[:300])
        told = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert told["status"] == status and told["problems"] and told["type"].endswith(told["code"])
        assert PERSON.iin not in answer.text and len(answer.content) < 20_000, what
    assert len(desk.house.entries(desk.gateway)) == before
    assert desk.house.fcb.connections == 0


async def test_a_key_is_demanded_and_one_is_enough(desk: Desk) -> None:
    await desk.consent()
    sent = {"content-type": JSON, "authorization": f"Bearer {desk.tokens['loan-scoring']}"}
    for keys in ([], ["a", "b"], ["a", "a"]):
        headers = [*sent.items(), *(("idempotency-key", key) for key in keys)]
        answer = await desk.client.post("/v1/disclosures", content=GOOD, headers=headers)
        assert answer.status_code == 400 and "Idempotency-Key" in answer.json()["detail"]
    assert desk.house.fcb.connections == 0


@both_engines
async def test_addresses_that_name_nothing_are_not_found(desk: Desk) -> None:
    for path in (
        "/v1/consents/%00", "/v1/consents/x", "/v1/consents/" + "0" * 36, "/v1/consents/" + "a" * 5_000,
        "/v1/consents/%ED%A0%80", "/v1/consents/..%2f..%2f", "/v1/ledger/entries/-1", "/v1/ledger/entries/01",
        "/v1/ledger/entries/1e3", "/v1/ledger/entries/9007199254740993", "/v1/ledger/entries/%D9%A3",
        "/v1/ledger/entries/9999999999999999/proof", "/v1/ledger/tile/../../etc/passwd", "/v1/ledger/tile/%00",
        "/v1/ledger/tile/0/999999999999999999999", "/v1/ledger/tile/", "/v1/ledger/tile/0/000.p/999", "/v1/",
        "/v1/disclosures/", "/docs", "/openapi.json", "/v2/disclosures", "//v1/decisions",
    ):  # fmt: skip
        answer = await desk.ask("GET", path, "compliance")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert answer.headers["content-type"] == "application/problem+json"
    for method, path, allowed in (
        ("GET", "/v1/disclosures", "POST"), ("PUT", "/v1/consents", "POST"), ("DELETE", "/v1/ledger/entries/0", "GET"),
        ("TRACE", "/healthz", "GET, HEAD"), ("PUT", "/readyz", "GET, HEAD"),
    ):  # fmt: skip
        answer = await desk.ask(method, path, "compliance")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path
        assert answer.json()["code"] == "method_not_allowed"


@both_engines
async def test_a_refusal_says_every_reason_in_the_language_of_the_caller(desk: Desk) -> None:
    facts = {
        "days_overdue": 95,
        "settlement_steps_done": False,
        "restructuring_pending": True,
        "collector_clause": True,
    }
    said = {}
    for language in ("en", "ru", "kk-KZ,ru;q=0.4", "de", "ru;q=x", "en;q=0.1,ru"):
        answer = await desk.disclose(
            handover_document(PERSON, facts), caller="collections", headers={"accept-language": language}
        )
        told = answer.json()
        assert answer.status_code == 403 and told["code"] == "denied" and told["decision"]["result"] == "deny"
        assert len(told["reasons"]) >= 3 and all(each["clause"] and each["message"] for each in told["reasons"])
        said[language] = told["reasons"][0]["message"]
    assert len({said["en"], said["ru"], said["kk-KZ,ru;q=0.4"]}) == 3
    assert said["de"] == said["ru;q=x"] == said["en"] and said["en;q=0.1,ru"] == said["ru"]
    gap = await desk.disclose(handover_document(PERSON, {}), caller="collections")
    assert gap.status_code == 422 and gap.json()["code"] == "gap" and gap.json()["reasons"][0]["missing"]
    assert desk.house.collector.connections == 0


# --- one key, one disclosure -----------------------------------------------------------------------


@pytest.mark.promise(6)
@both_engines
async def test_the_same_key_gets_the_first_answer_and_another_body_is_refused(desk: Desk) -> None:
    await desk.consent()
    first = await desk.disclose(request_document(PERSON), "k")
    again = await desk.disclose(request_document(PERSON), "k")
    assert first.status_code == again.status_code == 200, first.text
    assert again.json() == first.json()
    other = await desk.disclose(request_document(PERSON, operation="score"), "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    somebody = await desk.disclose(request_document(PEOPLE[1]), "k")
    assert (somebody.status_code, somebody.json()["code"]) == (422, "idempotency_key_reused")
    denied = await desk.disclose(handover_document(PERSON), "k", caller="collections")
    assert denied.status_code == 200, "a key is its caller's own"
    assert len(desk.house.fcb.calls) == 1


@pytest.mark.promise(6)
@both_engines
async def test_while_the_first_is_under_way_the_second_is_told_so(desk: Desk) -> None:
    await desk.consent()
    desk.house.fcb.fault = Fault.SLOW
    first = asyncio.create_task(desk.disclose(request_document(PERSON), "k"))
    await desk.house.reached(desk.house.fcb)
    second = await desk.disclose(request_document(PERSON), "k")
    assert (second.status_code, second.json()["code"]) == (409, "request_in_flight")
    assert int(second.headers["retry-after"]) > 0
    done = (await first).json()
    assert second.json()["disclosure"] == done["disclosure"]
    assert (await desk.disclose(request_document(PERSON), "k")).json() == done
    assert len(desk.house.fcb.calls) == 1


@pytest.mark.promise(1)
@both_engines
async def test_a_third_party_that_takes_it_and_never_answers_is_504_and_unknown(
    house: House, tokens: dict[str, str]
) -> None:
    file = "recipients/first-credit-bureau.toml"
    house.edit(file, ("answer_timeout_s = 10", "answer_timeout_s = 0.3"))
    house.fcb.fault = Fault.HANG_AFTER_ACCEPTING
    async with at_desk(house, tokens) as desk:
        await desk.consent()
        first = await desk.disclose(request_document(PERSON), "k")
        assert (first.status_code, first.json()["code"]) == (504, "answer_timeout"), first.text
        again = await desk.disclose(request_document(PERSON), "k")
        assert (again.status_code, again.json()["disclosure"]) == (504, first.json()["disclosure"])
        assert len(house.fcb.calls) == 1
        [outcome] = house.entries(desk.gateway, "outcome")
        assert outcome["result"] == "unknown"
        assert 'qaqpa_open_intents{state="unknown"} 1.0' in (await desk.ask("GET", "/metrics", None)).text
        house.verified(desk.gateway)


# --- clocks ----------------------------------------------------------------------------------------


@both_engines
async def test_with_the_clock_a_day_behind_nothing_leaves_and_a_day_ahead_is_no_excuse(desk: Desk) -> None:
    await desk.consent()
    desk.house.clock.offset = timedelta(days=-1)
    answer = await desk.disclose(request_document(PERSON))
    assert (answer.status_code, answer.json()["code"]) in {(503, "clock_set_back"), (403, "denied")}, answer.text
    ready = await desk.ask("GET", "/readyz", None)
    assert ready.status_code == 503 and "behind" in ready.json()["checks"]["clock"]
    assert desk.house.fcb.connections == 0
    desk.house.clock.offset = timedelta(hours=23)
    await asyncio.sleep(1.1)
    assert (await desk.disclose(request_document(PERSON))).status_code == 200


# --- readiness -------------------------------------------------------------------------------------


async def unready(desk: Desk) -> dict[str, str]:
    """What is wrong, asked when the last answer is believed no longer."""
    desk.app.state.desk.health._at = float("-inf")
    answer = await desk.ask("GET", "/readyz", None)
    told: dict[str, Any] = answer.json()
    assert (answer.status_code == 200) is told["ready"]
    assert (await desk.ask("GET", "/healthz", None)).status_code == 200, "alive all the same"
    return {name: said for name, said in told["checks"].items() if said != "ok"}


@both_engines
async def test_a_good_service_is_ready_and_one_that_stops_is_not(desk: Desk) -> None:
    assert await unready(desk) == {}
    desk.app.state.desk.health.stopping = True
    assert "stopping" in (await unready(desk))["service"]
    desk.app.state.desk.health.stopping = False


async def test_on_a_full_disk_nothing_leaves_and_the_caller_is_told_to_come_back(desk: Desk) -> None:
    await desk.consent()
    await desk.gateway.store.write(fill)
    statuses = [(await desk.disclose(request_document(PERSON))).status_code for _ in range(20)]
    assert statuses[-1] == 503
    calls = len(desk.house.fcb.calls)
    answer = await desk.disclose(request_document(PERSON))
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert len(desk.house.fcb.calls) == calls == len(desk.house.entries(desk.gateway, "intent"))


@both_engines
async def test_a_late_checkpoint_is_not_ready(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_self: Checkpoints) -> None:
        raise StoreUnavailable("no")

    monkeypatch.setattr(Checkpoints, "make", fails)
    await desk.consent()
    assert await unready(desk) == {}
    desk.house.clock.offset += timedelta(minutes=2)
    assert "checkpoint" in (await unready(desk))["checkpoint"]
    assert "qaqpa_checkpoint_age_seconds 12" in (await desk.ask("GET", "/metrics", None)).text


async def test_keys_that_cannot_be_used_are_not_ready(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_given: Any) -> bytes:
        raise KeyringError("the token is gone")  # as the ring says of an HSM that does not answer

    monkeypatch.setattr(Keyring, "blind_request", gone)
    assert await unready(desk) == {"keys": "the token is gone"}


@both_engines
async def test_a_ledger_that_was_rolled_back_is_not_ready(desk: Desk) -> None:
    desk.gateway.ledger.closed_by = StoreUnavailable("the ledger was rolled back")
    assert "rolled back" in (await unready(desk))["ledger"]
    desk.gateway.ledger.closed_by = None


async def test_a_database_that_does_not_answer_keeps_nobody_waiting(desk: Desk) -> None:
    holder = sqlite3.connect(desk.house.home / "qaqpa.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        started = time.perf_counter()
        assert "not answered" in (await unready(desk))["ledger"]
        assert time.perf_counter() - started < 3
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    await asyncio.sleep(0.5)
    assert await unready(desk) == {}
