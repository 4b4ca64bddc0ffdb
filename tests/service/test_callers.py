"""Who asks: API tokens, and what each caller may do. Nothing that is shown is logged."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import re
import statistics
import time
from datetime import timedelta

import pytest

from desk import PERSON, Desk, at_desk, tokens_for
from harness import House, both_engines, consent_document, request_document
from qaqpa import log
from qaqpa.errors import NotAuthenticated
from qaqpa.service import tokens as api_tokens

ID = "00000000-0000-7000-8000-000000000000"
ASKED = {"iin": PERSON.iin, "person": "A", "reason": "asked", "duties_met": True}
DECISION = {"person": "B. Deputy", "reason": "seen"}
RECALL = {"of": ID, "reason": "repayment", "person": "A"}
DONE, NO, ABSENT, DENIED, UNKNOWN = 200, (403, "not_allowed"), 404, (403, "denied"), 401
ONE_ROLE_EACH = """
[callers.clerk]
kind = "person"
roles = ["consents"]
name = { ru = "К", kk = "К", en = "Clerk" }

[callers.auditor]
kind = "person"
roles = ["review"]
name = { ru = "А", kk = "А", en = "Auditor" }

[callers.operator]
kind = "person"
roles = ["operate"]
name = { ru = "О", kk = "О", en = "Operator" }
"""
CALLERS = ("loan-scoring", "collections", "compliance", "clerk", "auditor", "operator", None)
# What each may do, in that order. Whatever begins with /v1/ledger is for those who review, hashes and proofs too:
# a token of scoring cannot read the ledger.
TABLE = [
    ("POST", "/v1/disclosures", request_document(PERSON), (DONE, DENIED, NO, NO, NO, NO, UNKNOWN)),
    ("GET", f"/v1/disclosures/{ID}", None, (ABSENT, ABSENT, NO, NO, NO, NO, UNKNOWN)),
    ("POST", "/v1/decisions", request_document(PERSON), (DONE, DONE, NO, NO, NO, NO, UNKNOWN)),
    ("POST", "/v1/consents", None, (201, NO, 201, 201, NO, NO, UNKNOWN)),
    ("GET", f"/v1/consents/{ID}", None, (ABSENT, NO, ABSENT, ABSENT, ABSENT, NO, UNKNOWN)),
    ("POST", f"/v1/consents/{ID}/withdrawal", {"duties_met": False}, (ABSENT, NO, ABSENT, ABSENT, NO, NO, UNKNOWN)),
    ("POST", "/v1/disclosures/search", {}, (NO, NO, DONE, NO, DONE, NO, UNKNOWN)),
    ("POST", "/v1/disclosures/search", {"iin": PERSON.iin}, (NO, NO, DONE, NO, DONE, NO, UNKNOWN)),
    ("GET", "/v1/ledger/entries/0", None, (NO, NO, DONE, NO, DONE, NO, UNKNOWN)),
    ("GET", "/v1/ledger/entries/999999", None, (NO, NO, ABSENT, NO, ABSENT, NO, UNKNOWN)),
    ("GET", "/v1/ledger/entries/x", None, (NO, NO, ABSENT, NO, ABSENT, NO, UNKNOWN)),
    ("GET", "/v1/ledger/entries/0/proof", None, (NO, NO, DONE, NO, DONE, NO, UNKNOWN)),
    ("GET", "/v1/ledger/entries/x/proof", None, (NO, NO, ABSENT, NO, ABSENT, NO, UNKNOWN)),
    ("GET", "/v1/ledger/checkpoint", None, (NO, NO, DONE, NO, DONE, NO, UNKNOWN)),
    ("GET", "/v1/ledger/tile/9/000", None, (NO, NO, ABSENT, NO, ABSENT, NO, UNKNOWN)),
    ("POST", "/v1/handovers", None, (400, 400, NO, NO, NO, NO, UNKNOWN)),  # it says neither what nor to whom
    ("GET", "/v1/handovers", None, (DONE, DONE, DONE, NO, DONE, DONE, UNKNOWN)),
    ("GET", f"/v1/handovers/{ID}", None, (ABSENT, ABSENT, ABSENT, NO, ABSENT, ABSENT, UNKNOWN)),
    ("GET", f"/v1/handovers/{ID}/rows", None, (ABSENT, ABSENT, ABSENT, NO, ABSENT, ABSENT, UNKNOWN)),
    ("GET", f"/v1/handovers/{ID}/manifest", None, (ABSENT, ABSENT, ABSENT, NO, ABSENT, ABSENT, UNKNOWN)),
    ("GET", f"/v1/handovers/{ID}/signature", None, (ABSENT, ABSENT, ABSENT, NO, ABSENT, ABSENT, UNKNOWN)),
    ("POST", f"/v1/handovers/{ID}/cancel", None, (ABSENT, ABSENT, ABSENT, NO, NO, ABSENT, UNKNOWN)),
    ("POST", f"/v1/handovers/{ID}/receipt", {}, (ABSENT, ABSENT, ABSENT, NO, NO, ABSENT, UNKNOWN)),
    ("POST", "/v1/recalls", RECALL, (NO, NO, ABSENT, NO, NO, ABSENT, UNKNOWN)),
    ("GET", "/v1/recalls", None, (NO, NO, DONE, NO, DONE, DONE, UNKNOWN)),
    ("GET", f"/v1/recalls/{ID}", None, (NO, NO, ABSENT, NO, ABSENT, ABSENT, UNKNOWN)),
    ("POST", f"/v1/recalls/{ID}/confirmation", {"person": "A"}, (NO, NO, ABSENT, NO, NO, ABSENT, UNKNOWN)),
    ("POST", "/v1/subject-reports", {"iin": PERSON.iin}, (NO, NO, DONE, NO, DONE, NO, UNKNOWN)),
    ("GET", "/healthz", None, (DONE,) * 7),
    ("HEAD", "/healthz", None, (DONE,) * 7),
    ("GET", "/readyz", None, (DONE,) * 7),
    ("HEAD", "/readyz", None, (DONE,) * 7),
    ("GET", "/metrics", None, (DONE,) * 7),
    ("POST", "/v1/erasures", ASKED, (NO, NO, 202, NO, NO, 202, UNKNOWN)),  # only asked for: nobody agrees
    ("GET", "/v1/approvals", None, (NO, NO, DONE, NO, DONE, DONE, UNKNOWN)),
    ("GET", f"/v1/approvals/{ID}", None, (NO, NO, ABSENT, NO, ABSENT, ABSENT, UNKNOWN)),
    ("POST", f"/v1/approvals/{ID}/agree", DECISION, (NO, NO, ABSENT, NO, NO, ABSENT, UNKNOWN)),
    ("POST", f"/v1/approvals/{ID}/refuse", DECISION, (NO, NO, ABSENT, NO, NO, ABSENT, UNKNOWN)),
    ("POST", f"/v1/approvals/{ID}/carry-out", None, (NO, NO, ABSENT, NO, NO, ABSENT, UNKNOWN)),
]  # fmt: skip


@pytest.mark.promise(7)
@both_engines
async def test_a_caller_may_do_what_its_roles_say_and_no_more(house: House) -> None:
    path = house.config / "callers.toml"
    path.write_text(path.read_text() + ONE_ROLE_EACH)
    async with at_desk(house, await tokens_for(house)) as desk:
        await desk.consent()
        desk.app.state.desk.callers.burst.ATTEMPTS = 1_000
        await every_route_for_every_caller(desk)


async def every_route_for_every_caller(desk: Desk) -> None:
    wrong = []
    for method, path, body, expected in TABLE:
        assert len(expected) == len(CALLERS), path
        for caller, wanted in zip(CALLERS, expected, strict=True):
            document = consent_document(PERSON, desk.house.clock()) if path == "/v1/consents" else body
            answer = await desk.ask(method, path, caller, key="k" if path == "/v1/disclosures" else None, json=document)
            told = answer.status_code if isinstance(wanted, int) else (answer.status_code, answer.json()["code"])
            if told != wanted:
                wrong.append((method, path, caller, told, wanted, answer.text[:200]))
    assert wrong == []
    tried = {(method, path.replace(ID, "{consent}")) for method, path, _, _ in TABLE}
    served = {(method, route.path) for route in desk.app.routes for method in getattr(route, "methods", ())}
    assert len({(m, p) for m, p in served if not p.endswith(("openapi.json", "/console"))}) == len(
        {(m, p.replace("999999", "0").replace("/x", "/0")) for m, p in tried}
    ), "every path stands in the table"


@both_engines
async def test_what_a_person_of_compliance_saw_is_an_entry(desk: Desk) -> None:
    before = len(desk.house.entries(desk.gateway, "review"))
    await desk.ask("POST", "/v1/disclosures/search", "compliance", json={"iin": PERSON.iin, "kind": "intent"})
    await desk.ask("GET", "/v1/ledger/entries/0", "compliance")
    looks = desk.house.entries(desk.gateway, "review")[before:]
    assert [look["act"] for look in looks] == ["list", "show"]
    assert PERSON.iin not in str(looks)


@pytest.mark.parametrize("name", ["recipient", "caller", "kind"])
async def test_no_number_of_a_person_gets_into_the_entry_of_a_look(desk: Desk, name: str) -> None:
    for text in (PERSON.iin, f"a{PERSON.iin}", "\x00", "x" * 1_000):
        answer = await desk.ask("POST", "/v1/disclosures/search", "compliance", json={name: text})
        assert answer.status_code == 400, answer.text
    assert PERSON.iin not in str(desk.house.entries(desk.gateway))


# --- API tokens ------------------------------------------------------------------------------------


def wrong_headers(good: str) -> list[str]:
    secret = good.rpartition("_")[2]
    return [
        "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", good, f"Token {good}", f"Bearer {good}x", f"Bearer {good[:-1]}",
        f"Bearer qaqpa_{'0' * 16}_{secret}", f"Bearer {good} {good}", f"Bearer {good}, Bearer {good}",
        f"Bearer {good.upper()}", f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}", "Bearer " + "a" * 9_000,
        "Bearer ...", "Bearer é", "Bearer qaqpa_", "Bearer null", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.",
    ]  # fmt: skip


@both_engines
async def test_whatever_is_no_token_of_ours_is_nobody(desk: Desk) -> None:
    desk.app.state.desk.callers.burst.ATTEMPTS = 1_000
    good = desk.tokens["compliance"]
    for shown in wrong_headers(good):
        headers = {b"authorization": shown.encode()}
        answer = await desk.client.get("/v1/ledger/entries/0", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated"), shown
        bearer = shown.lower().startswith("bearer")
        why = 'Bearer realm="qaqpa"' + (', error="invalid_token"' if bearer else "")
        assert answer.headers["www-authenticate"] == why, shown  # RFC 6750 §3.1
        assert answer.headers["content-type"] == "application/problem+json"
        assert good not in answer.text
    nobody = await desk.ask("GET", "/v1/ledger/entries/0", None)
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, 'Bearer realm="qaqpa"')
    twice = [(b"authorization", f"Bearer {good}".encode()), (b"authorization", f"Bearer {good}".encode())]
    assert (await desk.client.get("/v1/ledger/entries/0", headers=twice)).status_code == 401
    assert (await desk.ask("GET", "/v1/ledger/entries/0", "compliance")).status_code == 200
    lower = {"authorization": f"bearer {good}"}
    assert (await desk.client.get("/v1/ledger/entries/0", headers=lower)).status_code == 200


@both_engines
async def test_a_revoked_token_serves_no_longer_than_it_is_hot(
    house: House, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_tokens.HOT_S <= 5
    monkeypatch.setattr(api_tokens, "HOT_S", 0.3)
    async with at_desk(house, tokens) as desk, house.gateway() as elsewhere:
        assert (await desk.ask("GET", "/v1/ledger/checkpoint", "compliance")).status_code == 200
        token = tokens["compliance"].split("_")[1]
        await api_tokens.revoke_for(elsewhere, token, caller="compliance", person="A", reason="lost")
        await asyncio.sleep(0.35)
        for _ in range(2):
            assert (await desk.ask("GET", "/v1/ledger/checkpoint", "compliance")).status_code == 401
        assert (await desk.ask("GET", "/v1/ledger/checkpoint", "collections")).status_code == 403, "still known"


@both_engines
async def test_a_token_ends_on_its_day_even_while_it_is_hot(desk: Desk) -> None:
    assert (await desk.ask("GET", "/v1/ledger/checkpoint", "compliance")).status_code == 200
    desk.house.clock.offset = timedelta(hours=23, minutes=59)
    assert (await desk.ask("GET", "/v1/ledger/checkpoint", "compliance")).status_code == 200
    desk.house.clock.offset = timedelta(days=1, minutes=1)
    answer = await desk.ask("GET", "/v1/ledger/checkpoint", "compliance")
    assert answer.status_code == 401 and "expired" in answer.json()["detail"]


async def test_a_token_of_a_caller_that_was_taken_away_serves_nobody(house: House, tokens: dict[str, str]) -> None:
    house.edit("callers.toml", ("[callers.loan-scoring]", "[callers.other-scoring]"))
    for file in (house.config / "recipients").glob("*.toml"):
        file.write_text(file.read_text().replace('caller = "loan-scoring"', 'caller = "other-scoring"'))
    async with at_desk(house, tokens) as desk:
        answer = await desk.ask("GET", "/v1/ledger/checkpoint")
        assert answer.status_code == 401 and "callers.toml" in answer.json()["detail"]


async def test_a_hot_token_takes_microseconds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_tokens, "_slow_hash", api_tokens._slow_hash.__wrapped__)  # type: ignore[attr-defined]
    callers, shown = desk.app.state.desk.callers, f"Bearer {desk.tokens['loan-scoring']}"
    taken = []
    for _ in range(300):
        started = time.perf_counter()
        assert await callers.caller(shown, "192.0.2.7") == "loan-scoring"
        taken.append(time.perf_counter() - started)
    assert statistics.median(taken) < 200e-6
    assert taken[0] > 2e-3, "the first check is a slow hash"


async def test_a_thousand_requests_with_one_cold_token_make_one_slow_hash(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, slow = [], api_tokens._slow_hash

    def counted(secret: str, salt: bytes) -> bytes:
        made.append(salt)
        return slow(secret, salt)

    monkeypatch.setattr(api_tokens, "_slow_hash", counted)
    callers, shown = desk.app.state.desk.callers, f"Bearer {desk.tokens['loan-scoring']}"
    assert set(await asyncio.gather(*(callers.caller(shown, "h") for _ in range(1_000)))) == {"loan-scoring"}
    assert len(made) == 1
    with pytest.raises(NotAuthenticated):
        await callers.caller(shown[:-2] + "AA", "h")
    assert len(made) == 1, "and a wrong one none"


# --- nothing is told -------------------------------------------------------------------------------


@both_engines
async def test_logs_metrics_and_answers_hold_no_secret_and_no_person(
    house: House, tokens: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    logged = io.StringIO()
    caplog.set_level(logging.DEBUG)
    log.configure(level=logging.DEBUG, stream=logged)
    try:
        async with at_desk(house, tokens) as desk:
            await desk.consent()
            document = request_document(PERSON)
            done = await desk.disclose(document, key="canary-key-8d1f")
            assert done.status_code == 200, done.text
            for changes in (
                {"recipient": "canary-recipient"}, {"operation": "canary-operation"}, {"purpose": "canary-purpose"},
            ):  # fmt: skip
                assert (await desk.disclose(document | changes)).status_code == 403
                assert (await desk.ask("POST", "/v1/decisions", json=document | changes)).status_code == 200
            await desk.disclose({"canary-member": PERSON.iin})
            await desk.ask("GET", "/v1/consents/canary-path")
            await desk.ask("GET", "/canary-path/canary")
            await desk.ask("GET", "/v1/ledger/checkpoint?canary-query=1")
            await desk.ask("CANARY", "/v1/ledger/checkpoint")
            await desk.client.get("/v1/ledger/checkpoint", headers={"authorization": "Bearer canary-token"})
            exposition = (await desk.ask("GET", "/metrics", None)).text
            ready = (await desk.ask("GET", "/readyz", None)).text
    finally:
        log.configure()
    everything = exposition + ready + logged.getvalue() + caplog.text
    secrets = [*tokens.values(), *(text.split("_", 2)[2] for text in tokens.values())]
    values = [value for value in _values(document["data"]) if len(value) >= 6]
    assert len(values) > 30
    assert [each for each in ("canary", "CANARY", *secrets) if each in everything] == []
    # Whole words: a path that another test asked for holds "transfers", and this person pays by "transfer".
    words = re.compile("|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in values))
    assert words.findall(everything) == []
    assert "loan-scoring" in exposition and "first-credit-bureau" in exposition


def _values(node: object) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _values(value)]
    if isinstance(node, list):
        return [text for value in node for text in _values(value)]
    return [str(node)]


def test_a_token_has_256_bits_of_its_own() -> None:
    match = api_tokens._TEXT.fullmatch("qaqpa_" + "0" * 16 + "_" + base64.urlsafe_b64encode(bytes(32)).decode()[:43])
    assert match is not None
