"""Contracts uploaded to the stand-ins of both bureaus over real sockets, and what they say became of them."""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sandbox_calls import client_of
from upload_answers import CODES, ROWS, TODAY, told

from qaqpa.errors import AnswerUnreadable, CredentialsRefused, Rejected, RequestRefused, WrongExchange
from qaqpa.model.batch import BatchState, BatchStatus, Remark
from qaqpa.model.disclosure import Extract, Message, Reply
from qaqpa.testing.batch_contract import Numbered
from qaqpa.testing.contract import EXCHANGE
from qaqpa.testing.faults import Fault
from qaqpa.testing.people import people
from qaqpa_adapters import records_check
from qaqpa_adapters.batches import CONTRACT_UPLOAD
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau, FirstCreditBureauSettings
from qaqpa_adapters.first_credit_bureau.sandbox import FirstCreditBureauSandbox
from qaqpa_adapters.state_credit_bureau import StateCreditBureau, StateCreditBureauSettings
from qaqpa_adapters.state_credit_bureau.sandbox import Form, StateCreditBureauSandbox

OP = CONTRACT_UPLOAD
FIRST, STATE = "first", "state"


@dataclass
class Desk:
    """A lender's end: the adapter, and a client of the bureau."""

    adapter: Any
    bureau: Any
    client: httpx.AsyncClient
    url: str

    async def send(self, message: Message) -> Reply:
        headers = {"Content-Type": message.content_type, **message.headers}
        response = await self.client.post(self.url, content=message.body, headers=headers)
        return Reply(response.status_code, response.content, response.headers["content-type"])

    def document(self, rows: Sequence[Extract]) -> bytes:
        written = [self.adapter.batch_row(OP, number, each, EXCHANGE) for number, each in enumerate(rows, start=2)]
        return b"".join((self.adapter.batch_head(OP, EXCHANGE), *written, self.adapter.batch_tail(OP)))

    async def upload(self, rows: Sequence[Extract] = ROWS) -> str:
        message = self.adapter.upload(OP, self.document(rows), EXCHANGE)
        return str(self.adapter.uploaded(OP, await self.send(message), EXCHANGE))

    async def upload_archive(self, archive: bytes) -> str:
        """What no adapter would send."""
        good = self.adapter.upload(OP, self.document(ROWS[:1]), EXCHANGE)
        held = base64.b64encode(
            records_check.packed(self.document(ROWS[:1]), name=f"{EXCHANGE.id}.xml", at=EXCHANGE.at)
        )
        assert held in good.body
        body = good.body.replace(held, base64.b64encode(archive))
        reply = await self.send(Message(body, good.content_type, good.endpoint, good.headers))
        return str(self.adapter.uploaded(OP, reply, EXCHANGE))

    async def ask(self, batch: str, rows: Sequence[Extract] = ROWS) -> BatchStatus:
        reply = await self.send(self.adapter.ask_status(OP, batch, EXCHANGE))
        numbered = Numbered([self.adapter.batch_codes(OP, each) for each in rows])
        status: BatchStatus = self.adapter.status(OP, reply, batch, numbered)
        return status

    async def followed(self, batch: str, rows: Sequence[Extract] = ROWS) -> tuple[list[str], BatchStatus]:
        """The states until the end, and the last with all that was said of rows: what a handover does."""
        seen = []
        for _ in range(20):
            status = await self.ask(batch, rows)
            seen.append(status.code)
            if status.state is not BatchState.PENDING:
                break
        rejections, warnings, more = [*status.rejections], [*status.warnings], status.more
        while more is not None:
            page = await self.ask(more, rows)
            assert page.state is status.state
            rejections += page.rejections
            warnings += page.warnings
            more = page.more
        return seen, BatchStatus(status.state, status.code, tuple(rejections), tuple(warnings))


@pytest.fixture(params=[FIRST, STATE])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    kind = FirstCreditBureauSandbox if request.param == FIRST else StateCreditBureauSandbox
    async with kind() as bureau, client_of(bureau) as client:
        found, adapter = bureau.environment, None
        if request.param == FIRST:
            adapter = FirstCreditBureau(
                FirstCreditBureauSettings.model_validate(
                    {
                        "user_name": found["QAQPA_FCB_USER"],
                        "password": found["QAQPA_FCB_PASSWORD"],
                        "schema_id": found["QAQPA_FCB_SCHEMA_ID"],
                        "dictionaries": found["QAQPA_FCB_DICTIONARIES"],
                    }
                )
            )
        else:
            adapter = StateCreditBureau(
                StateCreditBureauSettings.model_validate(
                    {
                        "client_id": found["QAQPA_SCB_CLIENT_ID"],
                        "password": found["QAQPA_SCB_PASSWORD"],
                        "user_id": found["QAQPA_SCB_USER_ID"],
                        "report_type": "extendedReport",
                        "file_type": 1,
                        "dictionaries": found["QAQPA_SCB_DICTIONARIES"],
                    }
                )
            )
        url = found["QAQPA_FCB_UPLOAD_URL" if request.param == FIRST else "QAQPA_SCB_UPLOAD_URL"]
        yield Desk(adapter, bureau, client, url)


def is_first(desk: Desk) -> bool:
    return isinstance(desk.bureau, FirstCreditBureauSandbox)


# --- what becomes of a batch -------------------------------------------------------------------------


async def test_a_batch_goes_its_way_and_its_contracts_are_known_at_the_end(desk):
    batch = await desk.upload()
    assert desk.bureau.pump.live == {}
    seen, status = await desk.followed(batch)
    assert seen == (["519", "520", "524", "533"] if is_first(desk) else ["pending"] * 3 + ["accepted"])
    assert (status.state, status.rejections, status.warnings) == (BatchState.ACCEPTED, (), ())
    assert set(desk.bureau.pump.live) == set(CODES)
    assert {desk.bureau.pump.live[code].phase for code in CODES[:5]} == {"8"}, "the creditor changed"
    assert desk.bureau.pump.live[CODES[5]].phase == "SB-open"
    assert [call.accepted for call in desk.bureau.calls] == [True] * 5
    assert {call.iin for call in desk.bureau.calls} == {None}
    assert (desk.bureau.billed, desk.bureau.queries.total()) == (0, 0)


async def test_rejections_and_warnings_come_back_to_their_rows(desk):
    homeless = told(people(7, today=TODAY)[6])
    data = {**homeless.data, "contact": {}}
    rows = [*ROWS, Extract(data, homeless.fields, (), consent_confirmed=False)]
    desk.bureau.pump.refuse = {CODES[1]: "777", CODES[4]: "778"}
    _, status = await desk.followed(await desk.upload(rows), rows)
    mark = "1." if is_first(desk) else ""
    assert status.state is BatchState.ACCEPTED_WITH_WARNINGS
    assert status.rejections == (Remark(3, f"{mark}777"), Remark(6, f"{mark}778"))
    assert status.warnings == (Remark(8, "2.201" if is_first(desk) else "201"),)
    assert set(CODES) - set(desk.bureau.pump.live) == {CODES[1], CODES[4]}


@pytest.mark.parametrize(
    ("group", "changes"),
    [
        ("102", {"matures_on": "2020-01-01"}),
        ("103", {"overdue_amount": "9999999.00", "outstanding_amount": "1.00"}),
    ],
)
async def test_the_bureau_finds_what_contradicts_itself(desk, group, changes):
    rows = [*ROWS[:3], told(people(8, today=TODAY)[7], **changes)]
    _, status = await desk.followed(await desk.upload(rows), rows)
    assert [(each.row, each.code.rpartition(".")[2]) for each in status.rejections] == [(5, group)]


async def test_too_many_errors_refuse_the_whole_batch_and_say_which(desk):
    desk.bureau.pump.refuse = dict.fromkeys(CODES[:4], "777")
    seen, status = await desk.followed(await desk.upload())
    assert seen[-1] == ("525" if is_first(desk) else "rejected")
    assert status.state is BatchState.REJECTED
    assert [each.row for each in status.rejections] == [2, 3, 4, 5]
    assert desk.bureau.pump.live == {}


async def test_a_document_that_is_not_of_the_schema_is_refused_as_a_whole(desk):
    document = desk.document(ROWS[:2]).replace(b"<General>", b"<Generals/><General>", 1)
    batch = await desk.upload_archive(records_check.packed(document, name="a.xml", at=EXCHANGE.at))
    seen, status = await desk.followed(batch)
    assert seen[-1] == ("527" if is_first(desk) else "rejected")
    assert status.state is BatchState.REJECTED
    assert desk.bureau.pump.live == {}


async def test_what_they_say_of_many_contracts_comes_page_by_page(desk):
    crowd = [told(person) for person in people(260, today=TODAY)]
    desk.bureau.pump.patience = 0
    desk.bureau.pump.refuse = dict.fromkeys([row.get("contract.code") for row in crowd[::2]][:120], "777")
    _, status = await desk.followed(await desk.upload(crowd), crowd)
    assert [each.row for each in status.rejections] == list(range(2, 242, 2))


async def test_an_upload_of_what_changed_is_another_batch(desk):
    first = await desk.upload()
    second = await desk.upload([*ROWS[:5], told(people(6, today=TODAY)[5])])
    assert first != second
    for batch in (first, second):
        await desk.followed(batch)
    assert desk.bureau.pump.live[CODES[5]].phase == "8"


# --- what is refused -----------------------------------------------------------------------------------


async def test_the_same_document_twice_is_refused_and_loaded_once(desk):
    await desk.upload()
    with pytest.raises(RequestRefused):
        await desk.upload()
    assert len(desk.bureau.pump.batches) == 1
    assert [call.accepted for call in desk.bureau.calls] == [True, False]


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return buffer.getvalue()


async def test_archives_that_are_none_or_two_or_bombs_are_refused(desk):
    bomb = zipped(a=b" " * (records_check.MAX_DOCUMENT + 1))
    for archive in (bomb, zipped(), zipped(a=b"<a/>", b=b"<b/>"), b"no ZIP"):
        with pytest.raises(RequestRefused) as caught:
            await desk.upload_archive(archive)
        assert "batch" in str(caught.value)
    assert desk.bureau.pump.batches == {}


async def test_a_batch_that_they_do_not_know_is_refused(desk):
    with pytest.raises(RequestRefused):
        await desk.ask("1234567")


async def test_a_wrong_login_is_refused(desk):
    desk.bureau.password = "another"
    with pytest.raises(CredentialsRefused):
        await desk.upload()
    assert desk.bureau.pump.batches == {}


async def test_another_user_of_the_state_bureau_is_refused(desk):
    if not is_first(desk):
        desk.bureau.user_id = "another"
        with pytest.raises(CredentialsRefused):
            await desk.upload()


async def test_another_schema_or_type_of_file_is_refused(desk):
    wrong = {"schema_id": 99} if is_first(desk) else {"file_type": 9}
    desk.adapter = type(desk.adapter)(desk.adapter._settings.model_copy(update=wrong))
    with pytest.raises(RequestRefused):
        await desk.upload()


async def test_another_soap_action_is_refused_by_the_first_bureau(desk):
    if is_first(desk):
        message = desk.adapter.ask_status(OP, await desk.upload(), EXCHANGE)
        reply = await desk.send(Message(message.body, message.content_type, "upload", {"SOAPAction": '"x"'}))
        with pytest.raises(Rejected):
            desk.adapter.status(OP, reply, "7000001", Numbered([]))


# --- what goes wrong on the way ------------------------------------------------------------------------

SPOILT = [Fault.TRUNCATED, Fault.GARBAGE, Fault.ENTITY_BOMB, Fault.SERVER_ERROR, Fault.STALE]


@pytest.mark.parametrize("fault", SPOILT)
async def test_a_spoilt_answer_to_a_question_is_believed_by_nobody(desk, fault):
    batch = await desk.upload()
    desk.bureau.fault = fault
    with pytest.raises(AnswerUnreadable):
        await desk.ask(batch)
    desk.bureau.fault = Fault.NONE
    assert (await desk.followed(batch))[1].state is BatchState.ACCEPTED


@pytest.mark.parametrize("fault", [each for each in SPOILT if each is not Fault.STALE])
async def test_after_a_spoilt_answer_to_an_upload_only_the_bureau_knows(desk, fault):
    desk.bureau.fault = fault
    with pytest.raises(AnswerUnreadable):
        await desk.upload()
    desk.bureau.fault = Fault.NONE
    assert len(desk.bureau.pump.batches) == (fault is not Fault.SERVER_ERROR)


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE_ACCEPTING, Fault.HANG_AFTER_ACCEPTING])
async def test_an_upload_that_hangs_may_have_been_taken(desk, fault):
    desk.bureau.fault = fault
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await desk.upload()
    assert len(desk.bureau.pump.batches) == (fault is Fault.HANG_AFTER_ACCEPTING)


async def test_the_answer_about_one_batch_is_not_believed_of_another(desk):
    batch = await desk.upload()
    reply = await desk.send(desk.adapter.ask_status(OP, batch, EXCHANGE))
    with pytest.raises(WrongExchange):
        desk.adapter.status(OP, reply, "7000009", Numbered([CODES]))


async def test_the_state_bureau_may_pack_its_answers(desk):
    if not is_first(desk):
        desk.bureau.form = Form.XOP
        assert (await desk.followed(await desk.upload()))[1].state is BatchState.ACCEPTED
