"""What every sandbox does, over real sockets: each fault, the log, the counts, starting and stopping."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
from lxml import etree
from sandbox_calls import IIN, REPORT, ask, client_of, envelope, local

from qaqpa.errors import UsageError
from qaqpa.model.identifiers import check_iin
from qaqpa.testing.sandbox import Fault, another_iin
from qaqpa_adapters.demo_collector.sandbox import DemoCollectorSandbox
from qaqpa_adapters.first_credit_bureau.sandbox import FirstCreditBureauSandbox


@pytest.fixture
async def bureau(tmp_path: Path) -> AsyncIterator[FirstCreditBureauSandbox]:
    sandbox = FirstCreditBureauSandbox(log=tmp_path / "calls.jsonl", delay=0.2, unknown_share=0, no_report_share=0)
    async with sandbox:
        yield sandbox


@pytest.fixture
async def client(bureau: FirstCreditBureauSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(bureau) as client:
        yield client


async def test_nothing_has_arrived_before_anybody_connects(bureau):
    assert (bureau.connections, bureau.calls) == (0, [])


async def test_a_call_is_answered_logged_and_counted(bureau, client, tmp_path):
    response = await ask(client, bureau)
    assert response.status_code == 200
    (line,) = (tmp_path / "calls.jsonl").read_bytes().splitlines()
    logged = orjson.loads(line)
    assert b"Envelope" in base64.b64decode(logged.pop("body"))
    assert logged == orjson.loads(orjson.dumps(bureau.calls[0]))
    call = bureau.calls[0]
    assert (call.operation, call.iin, call.accepted, call.problem) == ("GetReport", IIN, True, None)
    assert (bureau.connections, bureau.billed, bureau.queries[IIN]) == (1, 1, 1)


async def test_other_addresses_are_logged_and_refused(bureau, client):
    assert (await client.get(bureau.url)).status_code == 404
    assert (await client.post(f"{bureau.url}/elsewhere", content=b"x")).status_code == 404
    assert [call.problem for call in bureau.calls] == ["no such address"] * 2


async def test_the_address_is_reached_by_name_and_by_number(bureau, client):
    by_number = bureau.environment["QAQPA_FCB_REPORT_URL"].replace("localhost", "127.0.0.1")
    assert (await client.post(by_number, content=b"")).status_code == 415


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE_ACCEPTING, Fault.HANG_AFTER_ACCEPTING])
async def test_a_hanging_call_is_logged_and_billed_only_after_accepting(bureau, fault):
    bureau.fault = fault
    async with client_of(bureau, timeout=0.3) as client:
        with pytest.raises(httpx.ReadTimeout):
            await ask(client, bureau)
    after = fault is Fault.HANG_AFTER_ACCEPTING
    assert (bureau.calls[0].accepted, bureau.billed) == (after, int(after))


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE_ACCEPTING, Fault.HANG_AFTER_ACCEPTING, Fault.SLOW])
async def test_stopping_is_quick_while_a_call_hangs(fault):
    bureau = FirstCreditBureauSandbox(delay=60)
    await bureau.start()
    bureau.fault = fault
    async with client_of(bureau) as client:
        waiting = asyncio.create_task(ask(client, bureau))
        await asyncio.sleep(0.3)
        assert len(bureau.calls) == 1
        began = time.monotonic()
        await bureau.stop()
        assert time.monotonic() - began < 2
        with pytest.raises(httpx.TransportError):
            await waiting


async def test_stopping_is_quick_while_nobody_reads_the_answer():
    bureau = FirstCreditBureauSandbox(unknown_share=0, no_report_share=0)
    await bureau.start()
    bureau.fault = Fault.HUGE
    async with client_of(bureau) as client:
        url, headers = bureau.environment["QAQPA_FCB_REPORT_URL"], {"Content-Type": "text/xml"}
        async with client.stream("POST", url, content=b"<x/>", headers=headers):
            began = time.monotonic()
            await bureau.stop()
            assert time.monotonic() - began < 2


async def test_a_slow_answer_comes_after_the_delay(bureau, client):
    bureau.fault = Fault.SLOW
    began = time.monotonic()
    assert (await ask(client, bureau)).status_code == 200
    assert time.monotonic() - began >= 0.2


async def test_a_server_error_is_an_html_page_and_not_billed(bureau, client):
    bureau.fault = Fault.SERVER_ERROR
    response = await ask(client, bureau)
    assert (response.status_code, response.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert (bureau.calls[0].accepted, bureau.calls[0].problem, bureau.billed) == (False, "fault: server_error", 0)


async def test_a_truncated_answer_is_a_whole_http_message_and_half_a_document(bureau, client):
    bureau.fault = Fault.TRUNCATED
    response = await ask(client, bureau)
    assert int(response.headers["content-length"]) == len(response.content) > 100
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(response.content)


async def test_a_cut_connection_was_accepted_and_breaks_in_the_body(bureau, client):
    bureau.fault = Fault.CUT_CONNECTION
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await ask(client, bureau)
    assert (bureau.calls[0].accepted, bureau.billed) == (True, 1)
    bureau.fault = Fault.NONE
    assert (await ask(client, bureau)).status_code == 200


async def test_a_wrong_subject_is_a_true_answer_about_another_valid_iin(bureau, client):
    bureau.fault = Fault.WRONG_SUBJECT
    about = local(await ask(client, bureau), "IIN").get("value")
    assert about != IIN
    assert check_iin(about) == about
    assert bureau.calls[0].iin == IIN


async def test_an_entity_bomb_is_xml_that_a_careful_parser_refuses(bureau, client):
    bureau.fault = Fault.ENTITY_BOMB
    body = (await ask(client, bureau)).content
    assert b"<!ENTITY" in body
    assert len(body) < 2000
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(body)


async def test_a_huge_answer_is_fifty_megabytes(bureau, client):
    bureau.fault = Fault.HUGE
    assert len((await ask(client, bureau)).content) == 50 * 1024 * 1024


async def test_a_client_may_leave_a_huge_answer(bureau, client):
    bureau.fault = Fault.HUGE
    headers = {"Content-Type": "text/xml"}
    async with client.stream("POST", bureau.environment["QAQPA_FCB_SCORE_URL"], headers=headers) as response:
        assert response.headers["content-length"] == str(50 * 1024 * 1024)
    bureau.fault = Fault.NONE
    assert (await ask(client, bureau)).status_code == 200


async def test_garbage_is_not_xml(bureau, client):
    bureau.fault = Fault.GARBAGE
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring((await ask(client, bureau)).content)


async def test_a_redirect_logs_whoever_follows(bureau, client):
    bureau.fault = Fault.REDIRECT
    response = await ask(client, bureau)
    assert (response.status_code, response.headers["location"]) == (307, f"{bureau.url}/redirected")
    assert len(bureau.calls) == 1
    await client.post(response.headers["location"], content=b"again")
    assert bureau.calls[1].problem == "a redirect was followed"
    assert bureau.billed == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Fault.EXPIRED_CERTIFICATE, "expired"), (Fault.WRONG_HOST_CERTIFICATE, "mismatch")],
)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_bad_certificate_is_shown_live_to_new_and_to_pooled_connections(bureau, client, fault, reason, host):
    url = f"https://{host}:{bureau.url.rpartition(':')[2]}/nothing"
    assert (await client.post(url)).status_code == 404
    bureau.fault = fault
    with pytest.raises(httpx.ConnectError, match=reason):
        await client.post(url)
    assert (len(bureau.calls), bureau.connections) == (1, 2)
    bureau.fault = Fault.NONE
    assert (await client.post(url)).status_code == 404


async def test_a_fault_may_be_for_the_next_calls_only(bureau, client):
    bureau.fail_next(Fault.SERVER_ERROR, times=2)
    assert [(await ask(client, bureau)).status_code for _ in range(3)] == [500, 500, 200]
    bureau.fail_next(Fault.EXPIRED_CERTIFICATE)
    with pytest.raises(httpx.ConnectError):
        await ask(client, bureau)
    assert (await ask(client, bureau)).status_code == 200


async def test_a_bad_certificate_does_not_cut_off_the_call_that_asked_for_it(bureau, client):
    control = f"{bureau.url}/_sandbox/fault"
    response = await client.put(control, json={"fault": "wrong_host_certificate", "times": 1})
    assert response.status_code == 204
    with pytest.raises(httpx.ConnectError):
        await ask(client, bureau)
    assert (await ask(client, bureau)).status_code == 200


async def test_faults_are_set_and_calls_are_read_from_another_process(bureau, client):
    control = f"{bureau.url}/_sandbox/fault"
    assert (await client.put(control, json={"fault": "server_error", "times": 1})).status_code == 204
    assert [(await ask(client, bureau)).status_code for _ in range(2)] == [500, 200]
    assert (await client.put(control, json={"fault": "slow", "times": None})).status_code == 204
    assert bureau.fault is Fault.SLOW
    for wrong in ({"fault": "nonsense"}, {}, [], {"fault": "slow", "times": "many"}):
        assert (await client.put(control, json=wrong)).status_code == 400
    calls = (await client.get(f"{bureau.url}/_sandbox/calls")).json()
    assert [call["accepted"] for call in calls] == [False, True]
    assert len(bureau.calls) == 2


async def test_a_whole_call_is_in_the_log_even_if_the_client_is_gone_at_once(bureau, tmp_path):
    context = ssl.create_default_context(cafile=str(bureau.ca_file))
    body = envelope(bureau, REPORT).encode()
    path = bureau.environment["QAQPA_FCB_REPORT_URL"].removeprefix(bureau.url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n"
        f"SOAPAction: {REPORT[0]}{REPORT[1]}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(30):
        _, writer = await asyncio.open_connection("localhost", int(bureau.url.rpartition(":")[2]), ssl=context)
        writer.write(head.encode() + body)
        writer.transport.abort()
    await asyncio.sleep(0.3)
    assert len((tmp_path / "calls.jsonl").read_bytes().splitlines()) == 30
    assert all(call.accepted for call in bureau.calls)


async def test_a_call_that_breaks_off_is_logged_as_such(bureau):
    context = ssl.create_default_context(cafile=str(bureau.ca_file))
    path = bureau.environment["QAQPA_FCB_REPORT_URL"].removeprefix(bureau.url)
    _, writer = await asyncio.open_connection("localhost", int(bureau.url.rpartition(":")[2]), ssl=context)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n<half".encode())
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.2)
    assert [(call.accepted, call.problem) for call in bureau.calls] == [(False, "the request broke off")]


async def test_a_stopped_sandbox_starts_again_where_it_was(tmp_path):
    bureau = FirstCreditBureauSandbox(directory=tmp_path / "files", unknown_share=0, no_report_share=0)
    seen = []
    for _ in range(2):
        async with bureau, client_of(bureau) as client:
            assert (await ask(client, bureau)).status_code == 200
            seen.append((bureau.url, bureau.environment, bureau.ca_file.read_bytes()))
    assert seen[0] == seen[1]
    assert len(bureau.calls) == 2


async def test_a_sandbox_that_does_not_run_says_so():
    bureau = FirstCreditBureauSandbox()
    with pytest.raises(UsageError, match="start"):
        _ = bureau.environment
    await bureau.stop()


def test_without_the_extra_a_sandbox_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "trustme", None)
    with pytest.raises(UsageError, match=r"qaqpa\[sandbox\]"):
        DemoCollectorSandbox()


async def test_nothing_is_printed(capfd):
    async with FirstCreditBureauSandbox() as bureau, client_of(bureau) as client:
        for fault in (Fault.NONE, Fault.CUT_CONNECTION, Fault.EXPIRED_CERTIFICATE):
            bureau.fault = fault
            try:
                await ask(client, bureau)
            except httpx.TransportError:
                continue
    assert capfd.readouterr() == ("", "")


def test_another_iin_is_valid_and_of_the_same_birth_date_and_sex():
    other = another_iin(IIN)
    assert check_iin(other) != IIN
    assert other[:7] == IIN[:7]
