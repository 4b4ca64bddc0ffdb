"""Whole registers over HTTP: streamed in once, told of while they go, and nothing kept of what breaks off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from desk import Desk, at_desk, served, tokens_for
from harness import PEOPLE, House, both_engines
from qaqpa.client import Client, Handover, Refused
from qaqpa.handover.manifest import verified
from qaqpa.model.handover import HandoverState
from qaqpa.testing.packages import ReceiptFault
from qaqpa.testing.registers import contracts_csv
from qaqpa.testing.sftp_recipient import SftpRecipient
from qaqpa.tlog.notes import VerifierKey
from registers import agency, as_csv, rows

ASKED = "/v1/handovers?recipient=demo-collector&operation=handover&purpose=debt_collection"
AGENCY = """
[callers.agency]
kind = "service"
roles = ["acknowledge"]
recipient = "demo-collector"
name = { ru = "Агентство", kk = "Агенттік", en = "Agency" }
"""


@asynccontextmanager
async def opened(house: House, folder: Path) -> AsyncIterator[tuple[SftpRecipient, Desk]]:
    async with agency(house, folder) as recipient, at_desk(house, await tokens_for(house)) as desk:
        yield recipient, desk


async def hand(desk: Desk, body: Any, key: str = "first", kind: str = "text/csv", more: str = "") -> httpx.Response:
    headers = {"content-type": kind}
    return await desk.ask("POST", ASKED + more, "collections", key=key, headers=headers, content=body)


async def reached(desk: Desk, where: str, *states: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            answer = await desk.ask("GET", where, "collections")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            if found["state"] in states:
                return found
            await asyncio.sleep(0.05)


def taken_away(receipt: Path) -> bytes:
    """A receipt that is not left where it would be fetched."""
    data = receipt.read_bytes()
    receipt.unlink()
    return data


def kept(house: House) -> list[str]:
    folder = house.home / "handovers"
    return sorted(each.name for each in folder.iterdir() if each.name != "receipts") if folder.exists() else []


@both_engines
async def test_a_register_goes_once_and_is_told_of(house: House, tmp_path: Path) -> None:
    lines = rows(6)
    lines[2]["facts.contract.settlement_steps_done"] = False
    lines[4]["identity.iin"] = "900101300124"
    body = as_csv(lines)
    async with opened(house, tmp_path / "agency") as (recipient, desk):
        taken = await hand(desk, body)
        assert taken.status_code == 202, taken.text
        where = taken.headers["location"]
        assert where == f"/v1/handovers/{taken.json()['handover']}"
        sent = await reached(desk, where, "sent")
        [package] = recipient.packages
        assert sent["package"]["name"] == package.name and sent["rows"] == {"permit": 4, "deny": 1, "malformed": 1}
        assert sent["progress"]["rows"] == 6 and sent["progress"]["bytes"] == package.stat().st_size

        again = await hand(desk, body)
        assert (again.status_code, again.headers["location"]) == (202, where)
        for other in (await hand(desk, body + b"\r\n"), await hand(desk, body, more="&strict=true")):
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert len(recipient.packages) == 1 and kept(house) == [sent["handover"]]

        told = await desk.ask("GET", f"{where}/rows?count=1", "collections", headers={"accept-language": "kk"})
        [first] = told.json()["rows"]
        assert (first["row"], first["result"], told.json()["next_after"]) == (4, "deny", 4)
        assert first["reasons"][0]["code"] == "settlement_steps_done" and "қадам" in first["reasons"][0]["message"]
        rest = (await desk.ask("GET", f"{where}/rows?after=4", "collections")).json()
        assert [(each["row"], each["reasons"][0]["column"]) for each in rest["rows"]] == [(6, "ИИН")]
        assert rest["next_after"] is None

        content = (await desk.ask("GET", f"{where}/manifest", "collections")).content
        note = (await desk.ask("GET", f"{where}/signature", "collections")).content
        key = VerifierKey.parse(json.loads(content)["verifier_key"])
        assert verified(content, note, key)["rows"] == {"handed_in": 6, "go": 4}
        listed = (await desk.ask("GET", "/v1/handovers", "collections")).json()["handovers"]
        assert [each["handover"] for each in listed] == [sent["handover"]]
        late = await desk.ask("POST", f"{where}/cancel", "collections")
        assert (late.status_code, late.json()["code"]) == (409, "not_possible")


async def test_a_bureaus_own_id_of_a_batch_is_told(house: House) -> None:
    house.scb.pump.patience = 0
    where = "/v1/handovers?recipient=state-credit-bureau&operation=contract_upload&purpose=legal_duty"
    async with at_desk(house, await tokens_for(house)) as desk:
        headers = {"content-type": "text/csv"}
        taken = await desk.ask(
            "POST", where, "collections", key="contracts", headers=headers, content=contracts_csv(PEOPLE[:2])
        )
        assert (taken.status_code, taken.json()["batch"]) == (202, None), taken.text
        done = await reached(desk, taken.headers["location"], "acknowledged")
        figures = (await desk.gateway.handovers.find("collections", done["handover"])).handover.figures
        assert done["batch"] == figures["batch"] and done["batch"] and done["package"] is None
        assert Handover.model_validate(done).batch == done["batch"]


@pytest.mark.promise(6)
@both_engines
async def test_of_many_at_once_with_one_key_one_is_taken_in(house: House, tmp_path: Path) -> None:
    body = as_csv(rows(2))
    async with opened(house, tmp_path / "agency") as (recipient, desk):
        answers = await asyncio.gather(*(hand(desk, body) for _ in range(6)))
        assert {answer.status_code for answer in answers} == {202}
        [where] = {answer.headers["location"] for answer in answers}
        await reached(desk, where, "sent")
        assert len(recipient.packages) == 1 and len(kept(house)) == 1


@pytest.mark.promise(7)
async def test_who_ordered_it_sees_it_and_a_persons_look_is_an_entry(house: House, tmp_path: Path) -> None:
    async with opened(house, tmp_path / "agency") as (_, desk):
        where = (await hand(desk, as_csv(rows(1)))).headers["location"]
        await reached(desk, where, "sent")
        before = len(house.entries(desk.gateway, "review"))
        for path in (where, f"{where}/rows", f"{where}/manifest", f"{where}/cancel"):
            method = "POST" if path.endswith("cancel") else "GET"
            assert (await desk.ask(method, path, "loan-scoring")).status_code == 403
        assert (await desk.ask("GET", "/v1/handovers", "loan-scoring")).json() == {"handovers": []}
        assert len(house.entries(desk.gateway, "review")) == before
        assert (await desk.ask("GET", where, "compliance")).status_code == 200
        assert len((await desk.ask("GET", "/v1/handovers?count=5", "compliance")).json()["handovers"]) == 1
        looks = house.entries(desk.gateway, "review")[before:]
        assert [(each["act"], each["selection"]) for each in looks] == [
            ("handover", {"handover": where.rpartition("/")[2]}), ("handovers", {"count": 5}),
        ]  # fmt: skip


async def test_a_recipient_hands_in_receipts_of_its_own_packages_and_nothing_else(house: House, tmp_path: Path) -> None:
    path = house.config / "callers.toml"
    path.write_text(path.read_text() + AGENCY)
    as_sent = {"content-type": "application/jose"}
    async with opened(house, tmp_path / "agency") as (recipient, desk):
        taken = [await hand(desk, as_csv([line]), key=f"k{at}") for at, line in enumerate(rows(2))]
        wheres = [each.headers["location"] for each in taken]
        names = [(await reached(desk, where, "sent"))["package"]["name"] for where in wheres]

        async def given(at: int, receipt: Path, caller: str = "agency") -> tuple[int, str]:
            data = taken_away(receipt)
            answer = await desk.ask("POST", f"{wheres[at]}/receipt", caller, headers=as_sent, content=data)
            return answer.status_code, answer.json().get("code", answer.json().get("state"))

        assert await given(0, recipient.acknowledge(names[0], fault=ReceiptFault.STRANGER)) == (
            422, "receipt_signer_unknown",
        )  # fmt: skip
        assert await given(1, recipient.acknowledge(names[0])) == (422, "receipt_of_another")
        assert await given(0, recipient.acknowledge(names[0])) == (200, "acknowledged")
        assert await given(1, recipient.acknowledge(names[1], result="rejected"), "collections") == (200, "rejected")
        for method, where in (("GET", wheres[0]), ("GET", "/v1/handovers"), ("POST", f"{wheres[0]}/cancel")):
            assert (await desk.ask(method, where, "agency")).status_code == 403
    house.edit("callers.toml", ('recipient = "demo-collector"', 'recipient = "demo-cession-buyer"'))
    async with at_desk(house, desk.tokens) as desk:
        answer = await desk.ask("POST", f"{wheres[0]}/receipt", "agency", headers=as_sent, content=b"x")
        assert answer.status_code == 404, answer.text


async def test_one_that_waits_is_cancelled_and_leaves_nothing(house: House, tmp_path: Path) -> None:
    hour = house.clock().hour
    opens = f"{(hour + 5 + 12) % 22:02}"  # far from now, by the operator's clock
    edit = ("keep_for =", f"windows = [{{ opens = {opens}:00:00, closes = {opens}:00:01 }}]\nkeep_for =")
    house.edit("recipients/demo-collector.toml", edit)
    async with opened(house, tmp_path / "agency") as (recipient, desk):
        where = (await hand(desk, as_csv(rows(2)))).headers["location"]
        await reached(desk, where, "packaged")
        cancelled = await desk.ask("POST", f"{where}/cancel", "collections")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert kept(house) == [] and recipient.packages == []
        absent = await desk.ask("GET", f"{where}/manifest", "collections")
        assert absent.status_code == 404 and "cancelled" in absent.json()["detail"]


NUMBER = "900101300017"
WRONG = {
    "a kind that is no register": ({"kind": "application/json"}, 415, "media_type_refused"),
    "another alphabet": ({"kind": "text/csv; charset=koi8-r"}, 415, "media_type_refused"),
    "empty": ({"body": b""}, 400, "request_invalid"),
    "a name that is none": ({"more": f"&iin={NUMBER}"}, 400, "request_invalid"),
    "a number of a person as its name": ({"more": f"&{NUMBER}=1"}, 400, "request_invalid"),
    "a name twice": ({"more": "&recipient=x"}, 400, "request_invalid"),
    "no choice": ({"more": "&strict=perhaps"}, 400, "request_invalid"),
    "a key that is none": ({"key": "a key"}, 400, "request_invalid"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said_without_repeating_it(house: House, tmp_path: Path, case: str) -> None:
    given, status, code = WRONG[case]
    async with opened(house, tmp_path / "agency") as (_, desk):
        answer = await hand(desk, **{"body": b"a;b", **given})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert NUMBER not in answer.text
    assert kept(house) == []


async def test_where_no_route_or_no_way_leads_nothing_is_read(desk: Desk) -> None:
    def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")

    for path in (ASKED, ASKED.replace("=handover", "=assignment")):  # the collector's server is not configured here
        headers = {"content-type": "text/csv", "content-length": "1000"}
        answer = await desk.ask("POST", path, "collections", key="k", headers=headers, content=Lazy(unread))
        assert (answer.status_code, answer.json()["code"]) == (409, "not_possible"), answer.text


class Lazy(httpx.AsyncByteStream):
    """A body that is made when it is read."""

    def __init__(self, make: Any) -> None:
        self._make = make

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._make():
            yield piece


async def test_a_register_is_never_whole_in_memory_and_what_breaks_off_leaves_nothing(
    house: House, tmp_path: Path
) -> None:
    async with agency(house, tmp_path / "agency"), served(house, await tokens_for(house)) as server:
        head = (
            f"POST {ASKED} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {server.tokens['collections']}\r\n"
            "Idempotency-Key: cut\r\nContent-Type: text/csv\r\nContent-Length: {}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head.format(2**31).encode())
        answer = (await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)).split()
        assert answer[1] == b"413"
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head.format(10_000_000).encode() + as_csv(rows(3)))
        await writer.drain()
        async with asyncio.timeout(10):
            while not kept(house):  # noqa: ASYNC110 - a folder of another process has no event
                await asyncio.sleep(0.01)
        [name] = kept(house)
        assert rows(1)[0]["identity.iin"].encode() not in (house.home / "handovers" / name / "register").read_bytes()
        writer.close()
        async with asyncio.timeout(10):
            while kept(house):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await server.ask("GET", "/v1/handovers", "collections")).json() == {"handovers": []}


async def test_the_client_hands_a_file_over(house: House, tmp_path: Path) -> None:
    file = tmp_path / "debtors.csv"
    lines = rows(3)
    lines[1]["facts.contract.breach_notified_on"] = None
    file.write_bytes(as_csv(lines))
    asked = {"recipient": "demo-collector", "operation": "handover", "purpose": "debt_collection"}
    async with opened(house, tmp_path / "agency") as (recipient, desk):
        transport = httpx.ASGITransport(desk.app)
        async with Client("http://localhost", token=desk.tokens["collections"], transport=transport) as gate:
            taken = await gate.hand_over(file, **asked, idempotency_key="register-1")
            assert (await gate.hand_over(file, **asked, idempotency_key="register-1")).handover == taken.handover
            await reached(desk, f"/v1/handovers/{taken.handover}", HandoverState.SENT)
            found = await gate.handover(taken.handover)
            assert found.rows == {"permit": 2, "gap": 1} and not found.is_over
            page = await gate.handover_rows(taken.handover)
            assert [(each.row, each.result) for each in page.rows] == [(3, "gap")] and page.next_after is None
            with pytest.raises(Refused) as late:
                await gate.cancel(taken.handover)
            assert late.value.code == "not_possible"
            with pytest.raises(ValueError, match="say which"):
                await gate.hand_over(b"x", **asked)
        assert len(recipient.packages) == 1
