"""Lists as files: the gate serves meanwhile, one goes out to a session at a time, and half a list looks like half."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import random
import sqlite3
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from desk import Desk, at_desk
from harness import PEOPLE, House, built, eventually
from histories import ROUTES, decided
from qaqpa import log
from qaqpa.console import files
from qaqpa.errors import StoreUnavailable
from qaqpa.gateway import reviewing
from qaqpa.ledger import entries
from qaqpa.ledger.entries import Kind
from qaqpa.model.decision import Result
from qaqpa.model.identifiers import uuid7
from qaqpa.store import Connection
from qaqpa.tables import writing
from visitor import Visitor, signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]
ROWS = 25_000
EXPORT = "/disclosures/export"


@dataclass
class Stand:
    """The console before a long list."""

    house: House
    desk: Desk

    def taken(self) -> int:
        """How often it was entered that somebody took a list."""
        looks = self.house.entries(self.desk.gateway, "review")
        return len([each for each in looks if each["act"] == "list_file"])


async def _fill(desk: Desk) -> None:
    """Enter so many refusals, as one decision would be refused again and again."""
    ledger = desk.gateway.ledger
    decision = decided(random.Random(1), ROUTES[0], Result.DENY)
    about = await ledger.subjects.ensure(PEOPLE[0].iin)
    at = ledger.clock()

    def some(connection: Connection) -> None:
        for _ in range(1_000):
            public = entries.refusal(decision, decision.asked, None, at=at) | {"id": uuid7(), "subject": about.id}
            ledger.append(connection, ledger.draft(Kind.REFUSAL, str(public["id"]), public, about, {}))

    for _ in range(ROWS // 1_000):
        await ledger.store.write(some, long=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with built(tmp_path_factory.mktemp("files")) as house, at_desk(house, {}) as desk:
        await _fill(desk)
        yield Stand(house, desk)


@dataclass
class Reader:
    """A browser that takes pieces of a file when it is told to."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    may_take: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pieces(self) -> int:
        return len([each for each in self.messages if each["type"] == "http.response.body"])

    @property
    def is_whole(self) -> bool:
        return any(each["type"] == "http.response.body" and not each.get("more_body") for each in self.messages)


@asynccontextmanager
async def reading(visitor: Visitor, kind: str = "jsonl") -> AsyncIterator[tuple[Reader, asyncio.Task[None]]]:
    """An export of which the head and the first piece are taken; the reader is gone when the block ends."""
    reader = Reader()
    asked = visitor.client.build_request("POST", f"/console{EXPORT}", data={"token": visitor.token, "format": kind})
    body = [{"type": "http.request", "body": asked.read(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if body:
            return body.pop()
        await reader.gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        await reader.may_take.acquire()
        reader.messages.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "headers": [(name.lower(), value) for name, value in asked.headers.raw], "scheme": "http",
        "path": asked.url.path, "raw_path": asked.url.raw_path, "query_string": asked.url.query,
        "server": ("127.0.0.1", 8480), "client": ("192.0.2.9", 40_000), "root_path": "",
    }  # fmt: skip
    task = asyncio.create_task(visitor.desk.app(scope, receive, send))  # type: ignore[arg-type]
    await eventually(lambda: reader.pieces > 0 or task.done())
    try:
        yield reader, task
    finally:
        reader.gone.set()
        await asyncio.wait_for(task, 30)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx"])
async def test_the_gate_answers_while_a_list_goes_out(stand: Stand, kind: str) -> None:
    async with signed_in(stand.desk, "Anna") as anna:
        began = perf_counter()
        export, waits = asyncio.create_task(anna.post(EXPORT, format=kind)), []
        while not export.done():
            asked = perf_counter()
            await asyncio.sleep(0.005)  # as a request from outside, it waits for the loop first
            assert (await stand.desk.client.get("/healthz")).status_code == 200
            waits.append(perf_counter() - asked)
        answer, took = await export, perf_counter() - began
        assert answer.status_code == 200
        if kind == "jsonl":
            assert answer.content.count(b"\n") == ROWS
        elif kind == "csv":
            rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=";"))
            assert len(rows) == len({row["Entry"] for row in rows}) == ROWS
        else:
            sheet = zipfile.ZipFile(io.BytesIO(answer.content)).read("xl/worksheets/sheet1.xml")
            assert sheet.count(b"<row ") == ROWS + 1
        assert took > 0.5, "else this shows nothing"
        # Read and written in the loop, the longest wait is all of it but a little. Others who keep the processors busy
        # make both longer.
        assert max(waits) < took / 2, f"{max(waits):.2f} s of {took:.1f} s"


async def test_who_reads_slowly_holds_no_transaction(stand: Stand) -> None:
    path = stand.house.home / "qaqpa.db"
    async with signed_in(stand.desk, "Anna") as anna, reading(anna) as (reader, task):
        assert not task.done() and not reader.is_whole
        await anna.get("/recipients")
        with closing(sqlite3.connect(path)) as other:
            busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0, "somebody holds a view of the database"


async def test_who_takes_nothing_is_cut_off(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.2)
    log.configure()  # a command that ran before leaves only errors to be told
    with capture_logs() as lines:
        async with signed_in(stand.desk, "Anna") as anna, reading(anna) as (reader, task):
            await asyncio.wait_for(task, 10)
            assert not reader.is_whole
    assert [each["code"] for each in lines if each["event"] == "file cut off"] == ["reader_too_slow"]


async def test_one_file_goes_out_to_a_session_at_a_time(stand: Stand) -> None:
    before = stand.taken()
    async with signed_in(stand.desk, "Anna") as anna, signed_in(stand.desk, "Bella") as bella:
        async with reading(anna):
            second = await anna.post(EXPORT, format="csv")
            assert second.status_code == 409 and "another is being written for you" in second.text
            assert stand.taken() == before + 1, "what is refused is not entered as taken"
            assert (await bella.post(f"{EXPORT}?result=delivered", format="csv")).status_code == 200
        assert (await anna.post(f"{EXPORT}?result=delivered", format="csv")).status_code == 200, "she has left it"


def _failing(after: int) -> Callable[..., Any]:
    search, calls = reviewing.search, 0

    def failing(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise StoreUnavailable("the disk is gone")
        return search(*arguments, **more)

    return failing


async def test_what_fails_midway_is_cut_and_logged_with_its_cause(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with signed_in(stand.desk, "Anna") as anna:
        monkeypatch.setattr(reviewing, "search", _failing(4))
        with capture_logs() as lines:
            async with reading(anna) as (reader, task):
                for _ in range(50):
                    reader.may_take.release()
                await asyncio.wait_for(task, 30)
                assert reader.pieces > 1 and not reader.is_whole, "the server cuts what has no last piece"
        assert [each["code"] for each in lines if each["event"] == "file cut off"] == ["store_unavailable"]
        monkeypatch.undo()
        assert (await anna.post(f"{EXPORT}?result=delivered", format="csv")).status_code == 200


async def test_what_fails_at_once_is_told_in_words(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    async with signed_in(stand.desk, "Anna") as anna:
        monkeypatch.setattr(reviewing, "search", _failing(0))
        answer = await anna.post(EXPORT, format="csv")
        assert answer.status_code == 503 and "store_unavailable" in answer.text


async def test_more_than_a_book_holds_is_refused_in_words(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with signed_in(stand.desk, "Anna") as anna:
        monkeypatch.setattr(writing, "XLSX_ROWS", 700)
        answer = await anna.post(EXPORT, format="xlsx")
        assert answer.status_code == 409 and "write it as CSV or JSONL" in answer.text
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        monkeypatch.setattr(writing, "XLSX_ROWS", 100_000)
        assert (await anna.post(f"{EXPORT}?result=deny", format="xlsx")).content.startswith(b"PK"), "she may go on"
    assert not await asyncio.to_thread(os.listdir, tmp_path)


async def test_no_other_site_and_no_link_has_a_list_taken(stand: Stand) -> None:
    before = stand.taken()
    async with signed_in(stand.desk, "Anna") as anna:
        assert (await anna.get(f"{EXPORT}?format=csv")).status_code == 405
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
            assert (await anna.post(EXPORT, headers=headers, format="csv")).status_code == 403
        anna.token = "x" * 44
        assert (await anna.post(EXPORT, format="csv")).status_code == 403
    assert stand.taken() == before
