"""The client over the real application, and over a gate that fails in every way that passes."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import respx

from harness import PEOPLE, House, consent_document, request_document
from qaqpa import client
from qaqpa.client import Client, Patience
from qaqpa.service import tokens
from qaqpa.service.app import make_app
from qaqpa.testing.faults import Fault

HASTY = Patience(attempts=4, first_wait_s=0.001, longest_wait_s=0.002, answer_timeout_s=5, deadline_s=10)
URL = "http://localhost:8480"
PERSON = PEOPLE[0]


@asynccontextmanager
async def gate_of(house: House, **given: Any) -> AsyncIterator[Client]:
    """The application with its lifespan, and a client of loan scoring."""
    app = make_app(house.setup(), clock=house.clock)
    async with app.router.lifespan_context(app):
        gateway = app.state.desk.gateway
        _, token = await tokens.make_for(
            gateway, "loan-scoring", caller="compliance", person="A", reason="test", lifetime=timedelta(days=1)
        )
        transport = httpx.ASGITransport(app=app)
        async with Client(URL, **{"token": token, "patience": HASTY, "transport": transport} | given) as gate:
            yield gate


def asked(**changes: Any) -> dict[str, Any]:
    return request_document(PERSON, **changes)


async def test_a_disclosure_and_the_same_key_again(house: House) -> None:
    async with gate_of(house) as gate:
        consent = await gate.record_consent(consent_document(PERSON, house.clock()))
        assert consent.status == "active"
        assert (await gate.consent(consent.consent)).terms["purposes"] == ["application_review"]
        assert (await gate.decide(**asked())).permits
        assert not house.fcb.calls
        first = await gate.disclose(**asked(), consent=consent.consent, idempotency_key="application-1")
        again = await gate.disclose(**asked(), consent=consent.consent, idempotency_key="application-1")
        assert first.disclosure == again.disclosure
        assert first.report == again.report
        assert first.sent == ("identity.iin",)
        assert first.ledger.outcome > first.ledger.intent
        assert len(house.fcb.calls) == 1
        assert "outstanding" in first.report
        assert "'outstanding'" not in repr(first)
        other = await gate.disclose(**asked())
        assert other.disclosure != first.disclosure or other.reused
        assert (await gate.withdraw_consent(consent.consent, duties_met=False)).status == "withdrawal_pending"
        assert (await gate.withdraw_consent(consent.consent, duties_met=True)).withdrawn_at


async def test_what_is_refused_says_why(house: House) -> None:
    async with gate_of(house, language="kk") as gate:
        with pytest.raises(client.Blocked) as blocked:
            await gate.disclose(**asked())
        assert isinstance(blocked.value, client.Denied | client.Gap)
        assert blocked.value.reasons[0].clause
        assert blocked.value.idempotency_key
        assert not (await gate.decide(**asked())).permits
        with pytest.raises(client.Refused) as wrong:
            await gate.disclose(**asked() | {"data": {"identity": {"iin": "1"}}})
        assert wrong.value.code == "request_invalid"
        assert wrong.value.problems
        with pytest.raises(client.Refused) as missing:
            await gate.consent("00000000-0000-7000-8000-000000000000")
        assert missing.value.status == 404
        await gate.record_consent(consent_document(PERSON, house.clock()))
        await gate.disclose(**asked(), idempotency_key="one")
        with pytest.raises(client.Refused) as reused:
            await gate.disclose(**asked(operation="score"), idempotency_key="one")
        assert reused.value.code == "idempotency_key_reused"


async def test_a_third_party_that_fails(house: House) -> None:
    async with gate_of(house) as gate:
        await gate.record_consent(consent_document(PERSON, house.clock()))
        house.fcb.fault = Fault.SERVER_ERROR
        with pytest.raises(client.Unsettled) as failed:
            await gate.disclose(**asked())
        assert failed.value.code == "third_party_fault"
        assert failed.value.disclosure
        assert len(house.fcb.calls) == 1


async def test_the_token_is_asked_for_each_time_and_must_be_right(house: House) -> None:
    given: list[str] = []

    async def source() -> str:
        given.append("qaqpa_0")
        return given[-1]

    async with gate_of(house, token=None, token_source=source) as gate:
        for _ in range(2):
            with pytest.raises(client.NotAuthenticated) as refused:
                await gate.decide(**asked())
    assert refused.value.status == 401
    assert len(given) == 2


# --- a gate that fails -----------------------------------------------------------------------------

DECISION = {"result": "permit", "at": "2026-01-01T00:00:00.000Z", "something_new": 1}
DISCLOSED = {
    "disclosure": "d", "decision": DECISION, "sent": [], "withheld": [], "report": {}, "cut": [], "reused": False,
    "ledger": {"intent": 1, "outcome": 2},
}  # fmt: skip
CONSENT = {"consent": "c", "status": "active", "terms": {}}


def said(status: int, code: str, after: str | None = "0", **more: Any) -> httpx.Response:
    headers = {} if after is None else {"retry-after": after}
    return httpx.Response(status, json={"code": code, "status": status, "detail": "why", **more}, headers=headers)


async def disclose(route: respx.Route, patience: Patience = HASTY, **given: Any) -> client.Disclosed:
    async with Client(URL, token="t", patience=patience) as gate:
        return await gate.disclose(recipient="r", operation="o", purpose="p", data={"identity": {}}, **given)


@pytest.fixture
def route(respx_mock: respx.MockRouter) -> respx.Route:
    return respx_mock.post(f"{URL}/v1/disclosures")


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), said(409, "request_in_flight"),
     said(429, "rate_limited"), said(503, "store_unavailable"), said(503, "circuit_open"),
     said(409, "decision_outdated"), httpx.Response(502, text="<html>")],
)  # fmt: skip
async def test_what_passes_is_asked_again_with_the_same_key(route: respx.Route, failure: Any) -> None:
    route.side_effect = [failure, failure, httpx.Response(200, json=DISCLOSED)]
    assert (await disclose(route)).ledger.intent == 1
    keys = {call.request.headers["idempotency-key"] for call in route.calls}
    assert route.call_count == 3
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(said(403, "denied"), client.Denied), (said(422, "gap"), client.Gap), (said(409, "not_possible"), client.Refused),
     (said(422, "idempotency_key_reused"), client.Refused), (said(502, "third_party_fault"), client.Unsettled),
     (said(504, "answer_timeout"), client.Unsettled), (said(404, "no_report"), client.Rejected),
     (said(403, "recipient_suspended"), client.NotSent), (said(503, "peer_refused"), client.NotSent),
     (said(503, "ledger_rolled_back"), client.Unavailable), (said(500, "defect", None), client.Unavailable),
     (said(503, "store_unavailable", None), client.Unavailable), (said(403, "not_allowed"), client.NotAllowed),
     (said(429, "too_many_attempts", "30"), client.NotAuthenticated), (said(400, "of_a_newer_gate"), client.Refused),
     (httpx.Response(200, json={"not": "ours"}), client.Unavailable), (httpx.Response(302), client.Unavailable),
     (httpx.Response(404, text="no"), client.Unavailable)],
)  # fmt: skip
async def test_a_definite_answer_is_final(
    route: respx.Route, answer: httpx.Response, kind: type[client.GateError]
) -> None:
    route.side_effect = [answer] * 3
    with pytest.raises(client.GateError) as failed:
        await disclose(route, idempotency_key="mine")
    assert type(failed.value) is kind
    assert failed.value.idempotency_key == "mine"
    assert route.call_count == 1


async def test_it_gives_up_after_its_attempts_and_its_time(route: respx.Route) -> None:
    route.side_effect = httpx.ConnectError("x")
    with pytest.raises(client.Unavailable) as failed:
        await disclose(route)
    assert failed.value.code == "unreachable"
    assert failed.value.__context__ is None  # httpx's own error holds the whole request
    assert failed.value.idempotency_key
    assert route.call_count == 4
    route.side_effect = [said(503, "store_unavailable", "30")] * 4
    with pytest.raises(client.Unavailable) as told:
        await disclose(route)
    assert told.value.code == "store_unavailable"
    assert route.call_count == 5


# --- an answer that comes later --------------------------------------------------------------------

AWAITED = httpx.Response(202, json={"disclosure": "d-1", "status": "awaiting"}, headers={"retry-after": "1"})
DONE = httpx.Response(200, json=DISCLOSED)


@pytest.fixture
def later(route: respx.Route, respx_mock: respx.MockRouter) -> respx.Route:
    """Where the answer is asked for, once the disclosure was taken on."""
    route.side_effect = [AWAITED]
    return respx_mock.get(f"{URL}/v1/disclosures/d-1")


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), said(503, "store_unavailable"),
     said(503, "store_unavailable", None), said(500, "defect", None), httpx.Response(502, text="<html>"), AWAITED],
)  # fmt: skip
async def test_a_gate_that_fails_meanwhile_is_asked_again(route: respx.Route, later: respx.Route, failure: Any) -> None:
    later.side_effect = [failure] * 10 + [DONE]  # more often than one request is tried
    assert (await disclose(route)).ledger.outcome == 2
    assert (route.call_count, later.call_count) == (1, 11)


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [(httpx.ConnectError("x"), client.Unavailable, "unreachable"), (AWAITED, client.Awaiting, "answer_awaited"),
     (said(503, "store_unavailable"), client.Unavailable, "store_unavailable"),
     (said(503, "store_unavailable", "30"), client.Unavailable, "store_unavailable")],
)  # fmt: skip
async def test_what_waited_in_vain_says_key_and_disclosure(
    route: respx.Route, later: respx.Route, failure: Any, kind: type[client.GateError], code: str
) -> None:
    later.side_effect = itertools.repeat(failure)
    started = time.monotonic()
    with pytest.raises(client.GateError) as failed:
        await disclose(route, idempotency_key="mine", wait_s=0.2)
    assert time.monotonic() - started < 1
    assert (type(failed.value), failed.value.code) == (kind, code)
    assert (failed.value.idempotency_key, failed.value.disclosure) == ("mine", "d-1")
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(said(502, "request_refused", their_code="T"), client.Rejected), (said(504, "answer_overdue"), client.Unsettled),
     (said(401, "not_authenticated", None), client.NotAuthenticated), (said(404, "not_found", None), client.Refused),
     (said(503, "ledger_rolled_back"), client.Unavailable)],
)  # fmt: skip
async def test_what_it_ended_with_is_final_and_says_key_and_disclosure(
    route: respx.Route, later: respx.Route, answer: httpx.Response, kind: type[client.GateError]
) -> None:
    later.side_effect = [AWAITED, answer]
    with pytest.raises(client.GateError) as failed:
        await disclose(route, idempotency_key="mine")
    assert type(failed.value) is kind
    assert (failed.value.idempotency_key, failed.value.disclosure) == ("mine", "d-1")


async def test_a_question_that_hangs_ends_with_the_waiting(route: respx.Route, later: respx.Route) -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    later.side_effect = hang
    started = time.monotonic()
    with pytest.raises(client.Unavailable) as failed:
        await disclose(route, Patience(first_wait_s=0.001, deadline_s=30), wait_s=0.2)
    assert time.monotonic() - started < 1
    assert failed.value.idempotency_key and failed.value.disclosure == "d-1"


async def test_a_token_source_that_fails_meanwhile_does_not_take_the_disclosure_along(
    route: respx.Route, later: respx.Route
) -> None:
    given = iter(["t"])

    async def source() -> str:
        for token in given:
            return token
        raise ConnectionError("no issuer")

    async with Client(URL, token_source=source, patience=HASTY) as gate:
        with pytest.raises(client.Awaiting) as failed:
            await gate.disclose(recipient="r", operation="o", purpose="p", data={"identity": {}}, idempotency_key="k")
    assert (failed.value.idempotency_key, failed.value.disclosure) == ("k", "d-1")
    assert isinstance(failed.value.__cause__, ConnectionError)
    assert later.call_count == 0


# --- what else can be asked ------------------------------------------------------------------------


async def test_a_consent_is_not_recorded_twice(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/v1/consents")
    async with Client(URL, token="t", patience=HASTY) as gate:
        route.side_effect = [httpx.ConnectError("x"), said(429, "rate_limited"), httpx.Response(201, json=CONSENT)]
        assert (await gate.record_consent({})).consent == "c"
        for failure in (httpx.ReadTimeout("x"), said(503, "store_unavailable"), httpx.Response(502)):
            route.side_effect = [failure, httpx.Response(201, json=CONSENT)]
            with pytest.raises(client.Unavailable):
                await gate.record_consent({})


def test_waits_grow_and_never_fall_into_step() -> None:
    patience = Patience()
    assert 0.05 <= patience.wait_s(0, None) <= 0.1
    assert 2.5 <= patience.wait_s(20, None) <= 5
    assert 8 <= patience.wait_s(0, 8.0) <= 10
    assert len({patience.wait_s(3, 1.0) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    "given",
    [{"url": "http://gate.example", "token": "t"}, {"url": "gate", "token": "t"}, {"url": URL},
     {"url": URL, "token": "t", "token_source": lambda: None}, {"url": "ftp://gate.example", "token": "t"}],
)  # fmt: skip
def test_a_client_that_is_made_wrongly_says_so(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"token|https"):
        Client(**given)


async def test_a_closed_client_says_so_and_odd_values_are_refused() -> None:
    gate = Client(URL, token="t")
    with pytest.raises(RuntimeError, match="async with"):
        await gate.consent("c")
    with pytest.raises(ValueError, match="JSON"):
        await gate.record_consent({"x": object()})


def test_importing_it_loads_nothing_of_the_gate() -> None:
    code = (
        "import sys, qaqpa.client\n"
        "heavy = ('qaqpa.gateway', 'qaqpa.config', 'qaqpa.ledger', 'sqlalchemy', 'phonenumbers', 'aiohttp', 'cel')\n"
        "print([name for name in heavy if any(m == name or m.startswith(name + '.') for m in sys.modules)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
