"""The pension centre's adapter: what it writes, what it reads, what it signs and what it believes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date

import pytest
import xmlsec
from lxml import etree
from pydantic import SecretStr
from test_contract import example

from qaqpa.adapter import SignedPart
from qaqpa.errors import (
    AnswerUnreadable,
    NoReport,
    Rejected,
    RequestRefused,
    SignatureRefused,
    SigningFailed,
    WrongExchange,
)
from qaqpa.model.disclosure import Message, Reply
from qaqpa.testing.contract import ANOTHER, EXCHANGE
from qaqpa.testing.people import people
from qaqpa.testing.sandbox import Arrival
from qaqpa.testing.signing import key_pair
from qaqpa_adapters.pension_center import PensionCenter, PensionCenterSettings, wire
from qaqpa_adapters.pension_center.sandbox import PensionCenterSandbox, Signing
from signed import signed_by_xmlsec

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
TYPES = "http://bip.bee.kz/SyncChannel/v10/Types"
IIN = people(1, today=date(2026, 11, 23))[0].iin
SETTINGS = PensionCenterSettings(
    sender_id=SecretStr("lender"), password=SecretStr('p<&>"w'), service_id="GCVP_SANDBOX", route_id="GCVP"
)
ADAPTER = PensionCenter(SETTINGS)
OURS = key_pair("operator").signer(key_pair("pension centre"))
THEIRS = key_pair("pension centre").signer(key_pair("operator"))


def data(code: str = "FOUND", rows: str = "") -> bytes:
    """The answer's inner data, not signed."""
    return (
        f"<data><responseCode>{code}</responseCode><requestNumber>{EXCHANGE.id}</requestNumber>"
        f"<requestIin>{IIN}</requestIin>"
        f"<responseDate>2026-11-23T11:00:00.000+05:00</responseDate><responseNumber>R-77</responseNumber>{rows}</data>"
    ).encode()


ROWS = (
    "<deductionsDetailed><bin>230340000017</bin><date>2026-10-14</date><name>ТОО «Пример»</name>"
    "<amount>58551.95</amount></deductionsDetailed>"
    "<deductionsDetailed><bin>230340000017</bin><date>14.09.2026</date><name>ТОО «Пример»</name>"
    "<amount>58226</amount></deductionsDetailed>"
)


def answer(inside: bytes, *, status: str = "SCSS001") -> bytes:
    """An answer around `inside`, its body not signed."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><S:Envelope xmlns:S="{SOAP}"><S:Header/><S:Body>'
        f'<ns2:SendMessageResponse xmlns:ns2="{TYPES}"><response><responseInfo><messageId>m</messageId>'
        f"<correlationId>{EXCHANGE.id}</correlationId><status><code>{status}</code><message>ok</message></status>"
        "</responseInfo>"
        f"<responseData>{etree.tostring(etree.fromstring(inside), encoding='unicode')}</responseData></response>"
        "</ns2:SendMessageResponse></S:Body></S:Envelope>"
    ).encode()


def signed_answer(code: str = "FOUND", rows: str = ROWS) -> bytes:
    return THEIRS.sign(answer(THEIRS.sign(data(code, rows), SignedPart.ROOT)), SignedPart.BODY)


def reply(body: bytes, status: int = 200) -> Reply:
    return Reply(status, body, "text/xml; charset=utf-8")


def fault(code: str) -> bytes:
    return (
        f'<S:Envelope xmlns:S="{SOAP}"><S:Body><S:Fault><faultcode>S:Server</faultcode><faultstring>secret {IIN}'
        f'</faultstring><detail><n:SendMessageFault1_SendMessageFault xmlns:n="{TYPES}"><errorCode>{code}</errorCode>'
        f"<errorMessage>{IIN}</errorMessage></n:SendMessageFault1_SendMessageFault></detail></S:Fault></S:Body>"
        "</S:Envelope>"
    ).encode()


def encoded() -> Message:
    return ADAPTER.encode("contributions", example("iin"), EXCHANGE)


# --- writing ---------------------------------------------------------------------------------------


def test_a_message_is_of_the_channels_form() -> None:
    root = etree.fromstring(encoded().body)
    sent = root.find(f"{{{SOAP}}}Body/{{{TYPES}}}SendMessage")
    assert sent is not None
    info = sent.find("request/requestInfo")
    assert info is not None
    names = ["messageId", "correlationId", "serviceId", "messageDate", "routeId", "sender"]
    assert [child.tag for child in info] == names
    assert info.findtext("messageId") == EXCHANGE.id == sent.findtext("request/requestData/data/requestNumber")
    assert info.findtext("messageDate") == "2026-01-15T06:30:00.000Z"
    assert info.findtext("sender/password") == 'p<&>"w'
    inner = sent.find("request/requestData/data")
    assert inner is not None and inner.findtext("requestIin") == IIN
    assert {etree.QName(node).namespace for node in inner.iter()} == {None}


async def test_both_signatures_are_made_inside_out_and_nothing_else_changes() -> None:
    before = encoded()
    after = await ADAPTER.sign("contributions", before, OURS)
    THEIRS.require(after.body, SignedPart.BODY)
    root = etree.fromstring(after.body)
    inner = root.find(f"*/{{{TYPES}}}SendMessage/request/requestData/data")
    assert inner is not None
    THEIRS.require(etree.tostring(inner, with_tail=False), SignedPart.ROOT)
    assert (after.content_type, after.endpoint, after.headers) == (
        before.content_type, before.endpoint, before.headers,
    )  # fmt: skip
    texts = [str(text) for text in etree.fromstring(before.body).itertext() if text.strip()]
    added = {f"{{{'http://www.w3.org/2000/09/xmldsig#'}}}Signature"}
    left = [
        node.text
        for node in root.iter()
        if node.text and node.text.strip() and not added & {parent.tag for parent in node.iterancestors()}
    ]
    assert left == texts


async def test_a_message_without_its_data_is_not_signed() -> None:
    with pytest.raises(SigningFailed):
        await ADAPTER.sign("contributions", Message(b"<a/>", "text/xml", "sync"), OURS)


# --- reading ---------------------------------------------------------------------------------------


async def test_contributions_are_read_and_the_answer_is_believed() -> None:
    body = signed_answer()
    await ADAPTER.check("contributions", reply(body), OURS, EXCHANGE)
    report = ADAPTER.decode("contributions", reply(body), EXCHANGE)
    assert report.data == {
        "reference": "R-77",
        "issued_at": "2026-11-23T11:00:00+05:00",
        "contributions": [
            {"paid_on": "2026-10-14", "amount": "58551.95", "employer": "ТОО «Пример»", "employer_bin": "230340000017"},
            {"paid_on": "2026-09-14", "amount": "58226.00", "employer": "ТОО «Пример»", "employer_bin": "230340000017"},
        ],
    }
    assert (report.about, report.reference) == (IIN, "R-77")


@dataclass(frozen=True)
class Case:
    """What an answer is read as."""

    body: bytes
    error: type[Exception]
    their_code: str | None = None
    status: int = 200


CASES = {
    "nobody known": Case(answer(data("NOT_FOUND")), NoReport, "NOT_FOUND"),
    "a code that is not in our table": Case(answer(data("BUSY")), Rejected, "BUSY"),
    "a code that might tell of somebody": Case(answer(data(f"ERR {IIN}")), Rejected),
    "the bus did not pass it on": Case(answer(data(), status="SCSE017"), Rejected, "SCSE017"),
    "a fault": Case(fault("SCSE003"), RequestRefused, "SCSE003", 500),
    "a fault that tells of somebody": Case(fault(IIN), RequestRefused, "Server", 500),
    "no person named": Case(answer(data().replace(b"requestIin", b"requestXin")), AnswerUnreadable),
    "two data": Case(answer(data()).replace(b"<data>", b"<data/><data>"), AnswerUnreadable),
    "two answers": Case(answer(data()).replace(b"<response>", b"<response/><response>"), AnswerUnreadable),
    "an amount that is no number": Case(answer(data(rows=ROWS.replace("58226", "all"))), AnswerUnreadable),
    "a contribution without its amount": Case(answer(data(rows=ROWS.replace("58226", ""))), AnswerUnreadable),
    "a contribution without its date": Case(answer(data(rows=ROWS.replace("14.09.2026", "-"))), AnswerUnreadable),
    "a date that does not exist": Case(answer(data(rows=ROWS.replace("10-14", "02-30"))), AnswerUnreadable),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_no_report(case: Case) -> None:
    with pytest.raises(case.error) as raised:
        ADAPTER.decode("contributions", reply(case.body, case.status), EXCHANGE)
    assert type(raised.value) is case.error
    assert getattr(raised.value, "their_code", None) == case.their_code
    assert IIN not in str(raised.value)


# --- what is believed ------------------------------------------------------------------------------


def unsigned_inner() -> bytes:
    return THEIRS.sign(answer(data("FOUND", ROWS)), SignedPart.BODY)


HOSTILE = {
    "not signed at all": answer(data("FOUND", ROWS)),
    "only the body signed": unsigned_inner(),
    "only the data signed": answer(THEIRS.sign(data("FOUND", ROWS), SignedPart.ROOT)),
    "an amount changed": signed_answer().replace(b"58551.95", b"98551.95"),
    "signed by ourselves": OURS.sign(answer(OURS.sign(data("FOUND", ROWS), SignedPart.ROOT)), SignedPart.BODY),
    "a comment in an amount": signed_answer().replace(b"58551.95", b"58551<!-- -->.95"),
    "a row without a signature over it": THEIRS.sign(
        answer(THEIRS.sign(data("FOUND", ""), SignedPart.ROOT).replace(b"</data>", b"<deductionsDetailed/></data>")),
        SignedPart.BODY,
    ),
    "that nothing is known, not signed": answer(data("NOT_FOUND")),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_an_answer_that_is_not_signed_as_agreed_is_not_believed(body: bytes) -> None:
    with pytest.raises(SignatureRefused) as raised:
        await ADAPTER.check("contributions", reply(body), OURS, EXCHANGE)
    assert IIN not in str(raised.value)


OLD = ANOTHER.id.encode()
OURS_IN_DATA = f"<requestNumber>{EXCHANGE.id}<".encode()
OURS_ON_THE_BUS = f"<correlationId>{EXCHANGE.id}<".encode()


def signed_anew(old: bytes, new: bytes, code: str = "FOUND") -> bytes:
    """An answer with another text in it, signed by them all the same."""
    inside = THEIRS.sign(data(code, ROWS).replace(old, new), SignedPart.ROOT)
    return THEIRS.sign(answer(inside).replace(old, new), SignedPart.BODY)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (signed_anew(OURS_IN_DATA, b"<requestNumber>" + OLD + b"<"), WrongExchange),
        (signed_anew(OURS_IN_DATA, b"<requestNumber>" + OLD + b"<", "NOT_FOUND"), WrongExchange),
        (signed_anew(OURS_ON_THE_BUS, b"<correlationId>" + OLD + b"<"), WrongExchange),
        (signed_anew(OURS_IN_DATA, b"<requestNumber><"), AnswerUnreadable),
    ],
    ids=["an old answer", "an old word that nothing is known", "the bus took it for another", "it does not say which"],
)
async def test_a_signed_answer_to_another_request_is_not_believed(body: bytes, error: type[Exception]) -> None:
    for exchange, wanted in ((EXCHANGE, error), (ANOTHER, WrongExchange)):
        with pytest.raises(wanted) as raised:
            await ADAPTER.check("contributions", reply(body), OURS, exchange)
        assert type(raised.value) is wanted and IIN not in str(raised.value)
        with pytest.raises(wanted):
            ADAPTER.decode("contributions", reply(body), exchange)


async def test_the_bus_need_not_say_which_message_is_answered_when_the_data_do() -> None:
    body = signed_anew(OURS_ON_THE_BUS, b"<correlationId><")
    await ADAPTER.check("contributions", reply(body), OURS, EXCHANGE)
    assert ADAPTER.decode("contributions", reply(body), EXCHANGE).reference == "R-77"


async def test_data_that_are_signed_inclusively_with_namespaces_of_their_own_are_believed() -> None:
    inside = data("FOUND", ROWS).replace(b"<data>", b'<data xmlns:ns2="urn:unused" xmlns:ns3="urn:too">')
    inclusively = xmlsec.constants.TransformInclC14NWithComments
    signed = signed_by_xmlsec(inside, SignedPart.ROOT, key_pair("pension centre"), how=inclusively)
    body = THEIRS.sign(answer(signed), SignedPart.BODY)
    await ADAPTER.check("contributions", reply(body), OURS, EXCHANGE)
    with pytest.raises(SignatureRefused):
        tampered = THEIRS.sign(answer(signed.replace(b"58551.95", b"98551.95")), SignedPart.BODY)
        await ADAPTER.check("contributions", reply(tampered), OURS, EXCHANGE)


async def test_that_nothing_is_known_is_believed_when_signed() -> None:
    await ADAPTER.check("contributions", reply(signed_answer("NOT_FOUND", "")), OURS, EXCHANGE)


async def test_a_body_that_the_papers_say_is_not_signed() -> None:
    adapter = PensionCenter(SETTINGS.model_copy(update={"body_signed": False}))
    body = answer(THEIRS.sign(data("FOUND", ROWS), SignedPart.ROOT))
    await adapter.check("contributions", reply(body), OURS, EXCHANGE)
    with pytest.raises(SignatureRefused):
        await adapter.check("contributions", reply(answer(data("FOUND", ROWS))), OURS, EXCHANGE)


@pytest.mark.parametrize("name", ["a fault", "the bus did not pass it on", "no person named", "two data"])
async def test_a_refusal_is_not_signed_and_stays_a_refusal(name: str) -> None:
    case = CASES[name]
    with pytest.raises(case.error):
        await ADAPTER.check("contributions", reply(case.body, case.status), OURS, EXCHANGE)


@dataclass
class Listening:
    """A signer that notes what it was asked to verify, and believes everything."""

    verified: list[tuple[bytes, SignedPart]] = field(default_factory=list)

    async def enveloped(self, xml: bytes) -> bytes:
        return xml

    async def wsse(self, soap: bytes) -> bytes:
        return soap

    async def verify(self, xml: bytes, part: SignedPart) -> None:
        self.verified.append((xml, part))


async def test_what_is_verified_is_what_is_read() -> None:
    body, listening = signed_answer(), Listening()
    await ADAPTER.check("contributions", reply(body), listening, EXCHANGE)
    assert [part for _, part in listening.verified] == [SignedPart.BODY, SignedPart.ROOT]
    assert listening.verified[0][0] == body
    again = etree.fromstring(listening.verified[1][0])
    read = wire.answered(body, EXCHANGE)
    assert etree.tostring(again, method="c14n") == etree.tostring(etree.fromstring(wire.alone(read)), method="c14n")


# --- the stand-in ----------------------------------------------------------------------------------


@pytest.fixture
async def stand() -> PensionCenterSandbox:
    return PensionCenterSandbox(unknown_share=0, password='p<&>"w')


async def asked(stand: PensionCenterSandbox, message: Message, *changes: tuple[bytes, bytes]) -> str | None:
    body = message.body
    for old, new in changes:
        assert old in body
        body = body.replace(old, new)
    found = stand.examine(Arrival(path=stand.paths[0], headers={"content-type": message.content_type}, body=body))
    return found.problem


async def test_the_stand_in_takes_only_what_is_signed_by_the_operator(stand: PensionCenterSandbox) -> None:
    stand.sender = "lender"
    plain = encoded()
    good = await ADAPTER.sign("contributions", plain, OURS)
    assert await asked(stand, good) is None
    refused = "a signature is missing or wrong"
    assert await asked(stand, plain) == refused
    assert await asked(stand, good, (b"DEDUCTION_6", b"DEDUCTION_9")) == refused
    assert await asked(stand, await ADAPTER.sign("contributions", plain, THEIRS)) == refused
    other = PensionCenter(SETTINGS.model_copy(update={"password": SecretStr("wrong")}))
    sent = await other.sign("contributions", other.encode("contributions", example("iin"), EXCHANGE), OURS)
    assert await asked(stand, sent) == "sender or password refused"
    other = PensionCenter(SETTINGS.model_copy(update={"service_id": "ANOTHER"}))
    sent = await other.sign("contributions", other.encode("contributions", example("iin"), EXCHANGE), OURS)
    assert await asked(stand, sent) == "no such service"


@pytest.mark.parametrize("signing", Signing)
async def test_the_stand_ins_answers_are_believed_only_when_signed_well(
    stand: PensionCenterSandbox, signing: Signing
) -> None:
    stand.sender, stand.signing = "lender", signing
    message = await ADAPTER.sign("contributions", encoded(), OURS)
    arrival = Arrival(path=stand.paths[0], headers={"content-type": "text/xml"}, body=message.body)
    given = stand.answer(stand.examine(arrival), about=IIN)
    got = Reply(given.status, given.body, given.content_type)
    assert len(ADAPTER.decode("contributions", got, EXCHANGE).data["contributions"]) == 6
    with nullcontext() if signing is Signing.GOOD else pytest.raises(SignatureRefused):
        await ADAPTER.check("contributions", got, OURS, EXCHANGE)
