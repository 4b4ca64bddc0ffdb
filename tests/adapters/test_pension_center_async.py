"""The pension centre's asynchronous channel: what is asked, what is heard, and what of it is ours."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from lxml import etree
from pydantic import SecretStr
from test_contract import example
from test_pension_center import IIN, OURS, ROWS, SETTINGS, SOAP, THEIRS, data

from qaqpa.adapter import Heard, SignedPart, Step
from qaqpa.errors import AnswerUnreadable, CredentialsRefused, NoReport, RequestRefused, SignatureRefused, SigningFailed
from qaqpa.model.disclosure import Message, Reply
from qaqpa.model.identifiers import DisclosureId
from qaqpa.testing.contract import EXCHANGE, AdapterContract
from qaqpa_adapters.pension_center import PensionCenter

TYPES = "http://bip.bee.kz/AsyncChannel/v10/Types"
ADAPTER = PensionCenter(SETTINGS.model_copy(update={"channel": "async"}))
OTHERS = "019b0000-0000-7000-8000-00000000beef"
XML = "text/xml; charset=utf-8"


def said(name: str, inner: str) -> bytes:
    return (
        f'<S:Envelope xmlns:S="{SOAP}"><S:Body><n:{name}Response xmlns:n="{TYPES}"><response>{inner}</response>'
        f"</n:{name}Response></S:Body></S:Envelope>"
    ).encode()


def statement(number: str = EXCHANGE.id, code: str = "FOUND") -> str:
    made = etree.fromstring(data(code, ROWS))
    found = made.find("requestNumber")
    assert found is not None
    found.text = number
    return etree.tostring(etree.fromstring(THEIRS.sign(etree.tostring(made), SignedPart.ROOT))).decode()


def message(receipt: str, correlation: str = EXCHANGE.id, inner: str | None = None) -> str:
    return (
        f"<messages><messageInfo><messageId>{receipt}</messageId><correlationId>{correlation}</correlationId>"
        f"</messageInfo><messageData>{statement(correlation) if inner is None else inner}</messageData></messages>"
    )


def heard(step: Step, body: bytes, status: int = 200) -> Heard:
    return ADAPTER.hear("contributions", step, Reply(status, body, XML), EXCHANGE)


ANSWER = heard(Step.FETCH, said("getMessages", message("r-1"))).answer
assert ANSWER is not None


class TestPensionCenterLater(AdapterContract):
    adapter = PensionCenter(SETTINGS.model_copy(update={"channel": "async", "password": SecretStr("p")}))
    examples: ClassVar = {"contributions": example("iin")}
    replies: ClassVar = {"contributions": ANSWER}


def fields(sent: Message) -> dict[str, str]:
    body = etree.fromstring(sent.body).find(f"{{{SOAP}}}Body")
    assert body is not None
    return {str(node.tag): node.text or "" for node in body.iter() if len(node) == 0}


async def test_a_request_is_of_the_channels_form_and_signed_twice() -> None:
    sent = ADAPTER.encode("contributions", example("iin"), EXCHANGE)
    info = etree.fromstring(sent.body).find(f"*/{{{TYPES}}}sendMessage/request/messageInfo")
    assert info is not None
    names = ["messageId", "correlationId", "serviceId", "messageType", "messageDate", "sender"]
    assert [child.tag for child in info] == names
    assert (info.findtext("messageId"), info.findtext("messageType")) == (EXCHANGE.id, "REQUEST")
    signed = await ADAPTER.sign("contributions", sent, OURS)
    THEIRS.require(signed.body, SignedPart.BODY)
    inner = etree.fromstring(signed.body).find(f"*/{{{TYPES}}}sendMessage/request/messageData/data")
    assert inner is not None
    THEIRS.require(etree.tostring(inner, with_tail=False), SignedPart.ROOT)
    with pytest.raises(SigningFailed):
        empty = sent.body.replace(b"<data>", b"<other>").replace(b"</data>", b"</other>")
        await ADAPTER.sign("contributions", replace(sent, body=empty), OURS)


async def test_questions_hold_ids_and_times_and_their_body_is_signed() -> None:
    for step in (Step.FETCH, Step.STATUS, Step.CONFIRM):
        sent = ADAPTER.follow_up("contributions", step, EXCHANGE, "r-1")
        THEIRS.require((await ADAPTER.sign("contributions", sent, OURS)).body, SignedPart.BODY)
        told = fields(sent)
        assert told["senderId"] and sent.endpoint == "async"
        ours = {"messageId", "correlationId", "serviceId", "requestDate", "senderId", "password", "amount",
                "notificationDate", "receiveStatus", "statusDate", "resendMessage"}  # fmt: skip
        assert told.keys() <= ours and IIN not in str(told)
    confirmed = fields(ADAPTER.follow_up("contributions", Step.CONFIRM, EXCHANGE, "r-1"))
    assert (confirmed["messageId"], confirmed["receiveStatus"]) == ("r-1", "MESSAGE_ACCEPTED")


async def test_ours_is_taken_out_from_among_others_and_nothing_else() -> None:
    both = said("getMessages", message("r-0", OTHERS) + message("r-1") + message("r-2"))
    found = heard(Step.FETCH, both)
    assert found.receipts == ("r-1", "r-2") and found.answer is not None
    assert OTHERS.encode() not in found.answer.body
    await ADAPTER.check("contributions", found.answer, OURS, EXCHANGE)
    report = ADAPTER.decode("contributions", found.answer, EXCHANGE)
    assert report.about == IIN and len(report.data["contributions"]) == 2
    assert heard(Step.FETCH, said("getMessages", message("r-0", OTHERS))) == Heard()
    assert heard(Step.FETCH, said("getMessages", "")) == Heard()
    in_a_list = f"<messages>{message('r-1').replace('messages>', 'message>')}</messages>"
    assert heard(Step.FETCH, said("getMessages", in_a_list)).receipts == ("r-1",)
    with pytest.raises(SignatureRefused):
        await ADAPTER.check_heard("contributions", Reply(200, both, XML), OURS)
    await ADAPTER.check_heard("contributions", Reply(200, THEIRS.sign(both, SignedPart.BODY), XML), OURS)


async def test_an_answer_is_believed_only_as_it_was_signed_and_only_to_our_request() -> None:
    assert ANSWER is not None
    changed = Reply(200, ANSWER.body.replace(b"58551.95", b"98551.95"), ANSWER.content_type)
    with pytest.raises(SignatureRefused):
        await ADAPTER.check("contributions", changed, OURS, EXCHANGE)
    swapped = heard(Step.FETCH, said("getMessages", message("r-1", inner=statement(OTHERS)))).answer
    assert swapped is not None
    with pytest.raises(AnswerUnreadable):
        await ADAPTER.check("contributions", swapped, OURS, EXCHANGE)
    nobody = heard(Step.FETCH, said("getMessages", message("r-1", inner=statement(code="NOT_FOUND")))).answer
    assert nobody is not None
    await ADAPTER.check("contributions", nobody, OURS, EXCHANGE)
    with pytest.raises(NoReport):
        ADAPTER.decode("contributions", nobody, EXCHANGE)


FAULT = (
    f'<S:Envelope xmlns:S="{SOAP}"><S:Body><S:Fault><faultcode>S:Server</faultcode><faultstring>{IIN}</faultstring>'
    f'<detail><n:f xmlns:n="{TYPES}"><errorCode>SCSE003</errorCode></n:f></detail></S:Fault></S:Body></S:Envelope>'
).encode()


def test_a_refusal_of_the_request_is_final_and_one_of_a_question_is_not() -> None:
    refused = heard(Step.REQUEST, FAULT, 500).refused
    assert isinstance(refused, RequestRefused) and refused.their_code == "SCSE003" and IIN not in str(refused)
    assert isinstance(heard(Step.REQUEST, b"", 401).refused, CredentialsRefused)
    assert heard(Step.REQUEST, said("sendMessage", "<messageId>m</messageId>")) == Heard()
    for step in (Step.FETCH, Step.STATUS, Step.CONFIRM):
        with pytest.raises(RequestRefused):
            heard(step, FAULT, 500)
        with pytest.raises(AnswerUnreadable):
            heard(step, b"<html/>", 502)
    for state, final in (("ON_DELIVERY", False), ("DELIVERED", False), ("NOT_DELIVERED", True),
                         ("DELIVERY_STOPPED", True), ("NEW_WORD", False)):  # fmt: skip
        became = heard(Step.STATUS, said("getMessageStatus", f"<messageState>{state}</messageState>")).refused
        assert (became is not None) is final
        assert became is None or became.their_code == state
    other = replace(EXCHANGE, id=DisclosureId(OTHERS))
    ready = Reply(200, said("getMessages", message("r")), XML)
    assert ADAPTER.hear("contributions", Step.FETCH, ready, other) == Heard()


async def test_ids_that_come_back_in_capitals_are_ours_on_this_channel_too() -> None:
    loud = heard(Step.FETCH, said("getMessages", message("r-1", EXCHANGE.id.upper(), statement()))).answer
    assert loud is not None
    await ADAPTER.check("contributions", loud, OURS, EXCHANGE)
    assert ADAPTER.decode("contributions", loud, EXCHANGE).about == IIN
