"""The agency's sandbox: it opens sealed files, drops repeated ones, and refuses the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from joserfc import jwe
from joserfc.jwk import ECKey
from sandbox_calls import IIN, client_of

from qaqpa.testing.sandbox import Fault, another_iin
from qaqpa_adapters.demo_collector.sandbox import DemoCollectorSandbox

FILE = {
    "agency_code": "MFO-1",
    "debtor": {"iin": IIN, "last_name": "Ахметов", "first_name": "Ерлан"},
    "contract": {"number": "1", "total_due": "150000.00", "days_overdue": 61},
}


@pytest.fixture
async def agency() -> AsyncIterator[DemoCollectorSandbox]:
    async with DemoCollectorSandbox() as sandbox:
        yield sandbox


def sealed(agency: DemoCollectorSandbox, file: object = FILE, *, kid: str | None = None, enc: str = "A256GCM") -> str:
    jwk = orjson.loads(agency.key_file.read_bytes())
    assert "d" not in jwk
    header = {"alg": "ECDH-ES", "enc": enc, "kid": kid or jwk["kid"], "cty": "application/json"}
    return jwe.encrypt_compact(header, orjson.dumps(file), ECKey.import_key(jwk), algorithms=["ECDH-ES", enc])


async def hand_over(
    agency: DemoCollectorSandbox, body: str, *, key: str | None = None, kind: str = "application/jose"
) -> httpx.Response:
    headers = {"Content-Type": kind} | ({} if key is None else {"Idempotency-Key": key})
    async with client_of(agency) as client:
        return await client.post(agency.environment["QAQPA_COLLECTOR_URL"], content=body, headers=headers)


async def test_the_agency_opens_a_sealed_file_and_gives_a_receipt(agency):
    response = await hand_over(agency, sealed(agency))
    assert (response.status_code, response.json()) == (202, {"receipt": "DC-000001", "iin": IIN})
    assert agency.received == [FILE]
    assert (agency.calls[0].operation, agency.calls[0].iin, agency.calls[0].accepted) == ("handover", IIN, True)


async def test_the_agency_drops_a_repeated_message_and_gives_the_same_receipt(agency):
    first = await hand_over(agency, sealed(agency), key="a")
    again = await hand_over(agency, sealed(agency), key="a")
    other = await hand_over(agency, sealed(agency), key="b")
    assert first.json() == again.json() != other.json()
    assert len(agency.received) == 2
    assert [(call.accepted, call.problem) for call in agency.calls] == [
        (True, None),
        (False, "repeated"),
        (True, None),
    ]
    another = {**FILE, "agency_code": "MFO-2"}
    assert (await hand_over(agency, sealed(agency, another), key="a")).status_code == 422


async def test_a_receipt_lost_on_the_way_is_given_again(agency):
    agency.fail_next(Fault.CUT_CONNECTION)
    with pytest.raises(httpx.TransportError):
        await hand_over(agency, sealed(agency), key="a")
    assert (await hand_over(agency, sealed(agency), key="a")).json()["receipt"] == "DC-000001"
    assert len(agency.received) == 1


async def test_the_agency_takes_a_recall_at_its_own_address(agency):
    recall = {"of": "0198c5a0", "reason": "error", "due_on": "2026-12-01", "contract": "1"}
    async with client_of(agency) as client:
        for file, status in (({"agency_code": "MFO-1", "recall": recall}, 202), (FILE, 400)):
            body, headers = sealed(agency, file), {"Content-Type": "application/jose"}
            answer = await client.post(agency.environment["QAQPA_COLLECTOR_RECALL_URL"], content=body, headers=headers)
            assert answer.status_code == status
    assert [(call.operation, call.iin, call.accepted) for call in agency.calls] == [
        ("recall", None, True),
        ("recall", None, False),
    ]
    assert agency.received == [{"agency_code": "MFO-1", "recall": recall}]


async def test_the_agency_refuses_what_is_not_encrypted(agency):
    response = await hand_over(agency, orjson.dumps(FILE).decode(), kind="application/json")
    assert (response.status_code, response.json()) == (415, {"error": "not_encrypted"})
    assert agency.received == []


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda token, _: token[:-4] + "AAAA", "cannot_open"),
        (lambda token, _: token.rpartition(".")[0], "cannot_open"),
        (lambda token, _: "A" + token, "cannot_open"),
        (lambda _token, _: "", "cannot_open"),
        (lambda _token, _: "a.b.c.d.e", "cannot_open"),
        (lambda _token, _: "....", "cannot_open"),
        (lambda _token, agency: sealed(agency, enc="A128GCM"), "cannot_open"),
        (lambda _token, agency: sealed(agency, kid="another"), "unknown_key"),
        (lambda _token, agency: sealed(agency, [1]), "file_invalid"),
        (lambda _token, agency: sealed(agency, {**FILE, "employer": "x"}), "file_invalid"),
        (
            lambda _token, agency: sealed(agency, {**FILE, "debtor": {**FILE["debtor"], "iin": "1" * 12}}),
            "file_invalid",
        ),
        (lambda _token, agency: sealed(agency, {**FILE, "contract": {"number": "1"}}), "file_invalid"),
    ],
)
async def test_the_agency_refuses_what_it_cannot_open_or_read(agency, spoil, error):
    response = await hand_over(agency, spoil(sealed(agency), agency))
    assert (response.status_code, response.json()) == (400, {"error": error})
    assert agency.received == []
    assert not agency.calls[0].accepted


async def test_the_agency_may_answer_about_another_debtor(agency):
    agency.fault = Fault.WRONG_SUBJECT
    assert (await hand_over(agency, sealed(agency))).json()["iin"] == another_iin(IIN)
    assert set(agency.environment) == {
        "QAQPA_COLLECTOR_URL",
        "QAQPA_COLLECTOR_RECALL_URL",
        "QAQPA_COLLECTOR_CA",
        "QAQPA_COLLECTOR_NETWORKS",
        "QAQPA_COLLECTOR_KEY",
    }
