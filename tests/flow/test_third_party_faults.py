"""What a third party's fault does: the caller gets an error of ours, the ledger tells the truth, nothing is guessed."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

import pytest

from harness import PEOPLE, House, give_consent, handover_document, request, request_document
from qaqpa import errors
from qaqpa.errors import QaqpaError, ThirdPartyError
from qaqpa.gateway import Gateway
from qaqpa.testing.faults import Fault

PERSON = PEOPLE[0]
FCB = "recipients/first-credit-bureau.toml"
QUICK = (("connect_timeout_s = 3", "connect_timeout_s = 1"), ("answer_timeout_s = 10", "answer_timeout_s = 1"))


async def fails(gateway: Gateway, operation: str = "credit_report") -> ThirdPartyError:
    with pytest.raises(ThirdPartyError) as raised:
        await gateway.disclose("loan-scoring", request(request_document(PERSON, operation=operation)))
    return raised.value


@dataclass(frozen=True)
class Expected:
    """What a fault leads to."""

    error: type[QaqpaError]
    result: str
    accepted: int = 1
    """Requests that the bureau acted upon."""


FAULTS = {
    Fault.HANG_BEFORE_ACCEPTING: Expected(errors.AnswerTimeout, "unknown", accepted=0),
    Fault.HANG_AFTER_ACCEPTING: Expected(errors.AnswerTimeout, "unknown"),
    Fault.SERVER_ERROR: Expected(errors.ThirdPartyFault, "unknown", accepted=0),
    Fault.TRUNCATED: Expected(errors.AnswerUnreadable, "unknown"),
    Fault.CUT_CONNECTION: Expected(errors.ConnectionLost, "unknown"),
    Fault.WRONG_SUBJECT: Expected(errors.WrongSubject, "delivered"),
    Fault.ENTITY_BOMB: Expected(errors.AnswerUnreadable, "unknown"),
    Fault.HUGE: Expected(errors.AnswerTooLarge, "unknown"),
    Fault.REDIRECT: Expected(errors.RequestRefused, "rejected", accepted=0),
    Fault.GARBAGE: Expected(errors.AnswerUnreadable, "unknown"),
    Fault.EXPIRED_CERTIFICATE: Expected(errors.PeerRefused, "not_sent", accepted=0),
    Fault.WRONG_HOST_CERTIFICATE: Expected(errors.PeerRefused, "not_sent", accepted=0),
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.items(), ids=[str(fault) for fault in FAULTS])
async def test_a_fault_is_told_and_never_guessed(house: House, fault: Fault, expected: Expected) -> None:
    house.edit(FCB, *QUICK)
    house.fcb.fault = fault
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        error = await fails(gateway)
        assert type(error) is expected.error
        assert error.disclosure is not None
        outcome = house.entries(gateway, "outcome")[0]
        assert (outcome["result"], outcome["code"]) == (expected.result, error.code)
        assert outcome["intent"] == error.disclosure
        assert outcome["returned"] == []
        house.verified(gateway)
        # What surely was not sent may be tried again; what perhaps left may not: a query is billed and counted.
        assert len(house.fcb.calls) == (0 if expected.result == "not_sent" else 1)
        assert sum(call.accepted for call in house.fcb.calls) == expected.accepted
        # And the next disclosure works.
        house.fcb.fault = Fault.NONE
        asked = request(request_document(PERSON))
        assert (await gateway.disclose("loan-scoring", asked)).report


def test_every_fault_of_the_stand_in_has_its_expectation() -> None:
    assert set(Fault) - set(FAULTS) == {Fault.NONE, Fault.SLOW, Fault.STALE}


async def test_an_answer_about_another_person_is_kept_from_the_caller(house: House) -> None:
    house.fcb.fault = Fault.WRONG_SUBJECT
    path = house.write("request.json", request_document(PERSON))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    assert (ran.code, ran.json["code"]) == (4, "wrong_subject")
    assert "report" not in ran.json


async def test_a_slow_bureau_is_waited_for(house: House) -> None:
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        disclosure = await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert disclosure.wire_ms >= 500


async def test_a_bureau_that_is_down_is_tried_again_and_then_left_alone(house: House) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        house.environ["QAQPA_FCB_REPORT_URL"] = f"https://localhost:{free.getsockname()[1]}/report"
    house.edit(FCB, ("failures = 5", "failures = 4"), ("attempts = 3", "attempts = 2"))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        assert [type(await fails(gateway)) for _ in range(3)] == [
            errors.ConnectFailed,
            errors.ConnectFailed,
            errors.CircuitOpen,
        ]
        assert {entry["result"] for entry in house.entries(gateway, "outcome")} == {"not_sent"}
    assert house.fcb.connections == 0


@pytest.mark.promise(3)
async def test_a_name_that_points_to_a_private_address_is_not_connected_to(house: House) -> None:
    house.environ["QAQPA_FCB_NETWORKS"] = "10.20.0.0/16"  # a leased line, but the name now points to loopback
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        error = await fails(gateway)
        assert type(error) is errors.AddressRefused
        assert house.entries(gateway, "outcome")[0]["result"] == "not_sent"
    assert house.fcb.connections == 0


async def test_without_any_private_network_loopback_is_refused(house: House) -> None:
    del house.environ["QAQPA_FCB_NETWORKS"]
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        assert type(await fails(gateway)) is errors.AddressRefused
    assert house.fcb.connections == 0


async def test_wrong_credentials_are_the_operators_to_mend(house: House) -> None:
    house.environ["QAQPA_FCB_PASSWORD"] = "wrong"
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        for operation in ("credit_report", "score"):
            error = await fails(gateway, operation)
            assert type(error) is errors.CredentialsRefused
            assert "wrong" not in str(error)
        assert {entry["result"] for entry in house.entries(gateway, "outcome")} == {"rejected"}


async def test_more_at_once_than_the_recipient_takes_is_refused_before_sending(house: House) -> None:
    house.edit(FCB, ("concurrent = 32", "concurrent = 2\nwait_s = 0.2"))
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        asked = request(request_document(PERSON))
        done = await asyncio.gather(
            *(gateway.disclose("loan-scoring", asked) for _ in range(6)), return_exceptions=True
        )
        limited = [each for each in done if isinstance(each, errors.RateLimited)]
        assert len(limited) == 4
        assert len(house.fcb.calls) == 2
        results = sorted(entry["result"] for entry in house.entries(gateway, "outcome"))
        assert results == ["delivered"] * 2 + ["not_sent"] * 4


async def test_a_message_that_perhaps_left_is_sent_again_only_where_repeats_count_as_one(house: House) -> None:
    # The agency drops a repeated message by its Idempotency-Key, which is the intent's id.
    house.collector.fail_next(Fault.CUT_CONNECTION)
    async with house.gateway() as gateway:
        disclosure = await gateway.disclose("collections", request(handover_document(PERSON)))
        assert disclosure.report
        assert len(house.entries(gateway, "intent")) == 1
    assert [call.accepted for call in house.collector.calls] == [True, False]
    assert len(house.collector.received) == 1


async def test_a_pinned_key_keeps_out_everybody_else(house: House) -> None:
    pin = "sha256/" + "A" * 43 + "="
    house.edit(FCB, ('kind = "https"', f'kind = "https"\nkey_pins = ["{pin}"]'))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        assert type(await fails(gateway)) is errors.PeerRefused
    assert house.fcb.calls == []


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_no_proxy_is_taken_from_the_environment(
    house: House, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0

    def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.close()

    proxy = await asyncio.start_server(count, "127.0.0.1", 0)
    async with proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON)
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    assert seen == 0


@pytest.mark.promise(3)
@pytest.mark.parametrize("addresses", [["10.0.0.7"], ["8.8.8.8", "10.0.0.7"], ["10.0.0.7", "8.8.8.8"]])
async def test_a_name_of_which_one_address_is_private_is_not_connected_to(
    house: House, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.environ["QAQPA_FCB_REPORT_URL"] = "https://bureau.example/report"
    loop = asyncio.get_running_loop()

    async def resolved(_host: str, port: int, **_named: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        assert type(await fails(gateway)) is errors.AddressRefused
        assert house.entries(gateway, "outcome")[0]["result"] == "not_sent"
