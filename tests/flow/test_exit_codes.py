"""What a third party's fault looks like from a shell: exit code, stable code, the ledger's outcome, what was called.

Nothing of the person is on standard output or standard error, whatever the third party did.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from harness import PEOPLE, House, give_consent, request_document
from qaqpa.testing.faults import Fault
from qaqpa.testing.sandbox import another_iin

PERSON = PEOPLE[0]
FCB = "recipients/first-credit-bureau.toml"
LISTENING_NOWHERE = "https://localhost:{closed_port}/report"
IDENTITY = PERSON.data["identity"]
PERSONAL = {
    *(IDENTITY[name] for name in ("iin", "last_name", "first_name", "middle_name", "birth_date")),
    IDENTITY["document"]["number"],
    PERSON.data["contact"]["mobile"],
    another_iin(PERSON.iin),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, and what the command and the ledger make of it. The exit code is 4 in every case."""

    fault: Fault = Fault.NONE
    environ: Mapping[str, str] = field(default_factory=dict)
    edit: tuple[str, str] | None = None
    unknown_below: float = 0
    """Share of people whom the bureau does not know."""
    code: str
    result: str = "unknown"
    their_code: str | None = None
    accepted: int = 0
    connections: int = 1


CASES = {
    "bureau down": Case(
        environ={"QAQPA_FCB_REPORT_URL": LISTENING_NOWHERE}, code="connect_failed", result="not_sent", connections=0
    ),
    "bureau slower than the time allowed": Case(
        fault=Fault.HANG_AFTER_ACCEPTING,
        edit=("answer_timeout_s = 10", "answer_timeout_s = 1"),
        code="answer_timeout",
        accepted=1,
    ),
    "name points to a private address": Case(
        environ={"QAQPA_FCB_NETWORKS": "10.20.0.0/16"}, code="address_refused", result="not_sent", connections=0
    ),
    "certificate expired": Case(fault=Fault.EXPIRED_CERTIFICATE, code="peer_refused", result="not_sent"),
    "certificate of another host": Case(fault=Fault.WRONG_HOST_CERTIFICATE, code="peer_refused", result="not_sent"),
    "answer about another person": Case(
        fault=Fault.WRONG_SUBJECT, code="wrong_subject", result="delivered", accepted=1
    ),
    "connection cut in the answer": Case(fault=Fault.CUT_CONNECTION, code="connection_lost", accepted=1),
    "answer truncated": Case(fault=Fault.TRUNCATED, code="answer_unreadable", accepted=1),
    "answer of 50 MB": Case(fault=Fault.HUGE, code="answer_too_large", accepted=1),
    "entity bomb": Case(fault=Fault.ENTITY_BOMB, code="answer_unreadable", accepted=1),
    "redirect": Case(fault=Fault.REDIRECT, code="request_refused", result="rejected"),
    "HTTP 500": Case(fault=Fault.SERVER_ERROR, code="third_party_fault"),
    "person unknown to the bureau": Case(
        unknown_below=1.1, code="subject_not_found", result="rejected", their_code="1102", accepted=1
    ),
    "wrong password": Case(
        environ={"QAQPA_FCB_PASSWORD": "not-the-password"},
        code="credentials_refused",
        result="rejected",
        their_code="1104",
    ),
}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def prepared(house: House) -> str:
    """Record a consent; the path of a request that it covers."""
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    return house.write("request.json", request_document(PERSON))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_third_partys_fault(
    house: House, case: Case, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await prepared(house)
    if case.edit is not None:
        house.edit(FCB, case.edit)
    for name, value in case.environ.items():
        monkeypatch.setenv(name, value.format(closed_port=closed_port))
    monkeypatch.setattr(house.fcb, "_unknown_below", case.unknown_below)
    house.fcb.fault = case.fault

    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")

    assert (ran.code, ran.json["code"]) == (4, case.code), ran.out + ran.err
    assert ran.json.get("their_code") == case.their_code
    assert "report" not in ran.json
    assert [value for value in PERSONAL if value in ran.out + ran.err] == []
    assert all(value not in ran.out + ran.err for value in (house.fcb.password, *case.environ.values()))
    assert sum(call.accepted for call in house.fcb.calls) == case.accepted
    assert len(house.fcb.calls) == (0 if case.result == "not_sent" else 1)
    assert house.fcb.connections == case.connections
    async with house.gateway() as gateway:
        [outcome] = house.entries(gateway, "outcome")
        assert (outcome["result"], outcome["code"]) == (case.result, case.code)
        assert outcome["intent"] == ran.json["disclosure"]
        house.verified(gateway)


@pytest.mark.parametrize("fault", [Fault.WRONG_SUBJECT, Fault.SERVER_ERROR, Fault.GARBAGE])
async def test_a_fault_in_words_for_people_names_the_disclosure_and_nobody(house: House, fault: Fault) -> None:
    path = await prepared(house)
    house.fcb.fault = fault
    ran = await house.cli("disclose", path, "--caller", "loan-scoring")
    assert (ran.code, ran.out) == (4, "")
    assert [value for value in PERSONAL if value in ran.err] == []
    async with house.gateway() as gateway:
        [outcome] = house.entries(gateway, "outcome")
    assert ran.err.startswith(f"{outcome['code']}: ")
    assert f"(disclosure {outcome['intent']})" in ran.err


@pytest.mark.promise(3)
async def test_without_an_agreement_nothing_is_even_decided(house: House) -> None:
    path = await prepared(house)
    file = house.config / FCB
    whole = file.read_text()
    without = re.sub(r"^\[agreement\]\n(?:[^\[\n].*\n)+", "", whole, flags=re.MULTILINE)
    assert "agreement" not in without and without != whole
    file.write_text(without)

    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")

    assert (ran.code, ran.json["code"]) == (2, "config_invalid"), ran.out
    # One problem for each route that the agreement would have carried, at its line.
    routes = [number for number, line in enumerate(without.splitlines(), 1) if line == "[[routes]]"]
    places = [problem.split(": ")[0] for problem in ran.json["problems"]]
    assert places == [f"{FCB}:{line}" for line in routes]
    assert all("no [agreement]" in problem for problem in ran.json["problems"])
    assert house.fcb.connections == 0
    file.write_text(whole)
    async with house.gateway() as gateway:
        assert [entry["kind"] for entry in house.entries(gateway) if entry["kind"] in ("intent", "refusal")] == []
