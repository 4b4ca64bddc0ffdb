"""Every shipped adapter keeps the contract, and the contract notices one that does not.

A new adapter is held to it by one more class here.
"""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar

import pytest
from bureau_answers import DEBT_ANSWER, REPORT_ANSWER, SCORE_ANSWER, SETTINGS
from pydantic import SecretStr
from state_bureau_answers import BUREAU as STATE_BUREAU
from state_bureau_answers import FORMS, GOOD, PACKAGED

from qaqpa.adapter import Operation, operation
from qaqpa.config.recipients import FieldRule
from qaqpa.errors import AnswerUnreadable, InvalidRequest
from qaqpa.minimise import Context, minimise
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa.model.vocabulary import FieldPath
from qaqpa.testing.contract import EXCHANGE, AdapterContract
from qaqpa.testing.people import people
from qaqpa_adapters.demo_cession_buyer import DemoCessionBuyer, DemoCessionBuyerSettings
from qaqpa_adapters.demo_collector import DemoCollector, DemoCollectorSettings
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau
from qaqpa_adapters.pension_center import PensionCenter, PensionCenterSettings

PENSION_ANSWER = (
    '<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
    '<n:SendMessageResponse xmlns:n="http://bip.bee.kz/SyncChannel/v10/Types"><response><responseInfo><status>'
    "<code>SCSS001</code></status></responseInfo><responseData><data><responseCode>FOUND</responseCode>"
    f"<requestNumber>{EXCHANGE.id}</requestNumber><requestIin>900101300017</requestIin>"
    "<responseNumber>R-7781</responseNumber><deductionsDetailed>"
    "<bin>230340000017</bin><date>2026-10-14</date><name>ТОО «Пример»</name><amount>58551.95</amount>"
    "</deductionsDetailed></data></responseData></response></n:SendMessageResponse></S:Body></S:Envelope>"
).encode()
PERSON = people(1, today=date(2026, 11, 23))[0]


def example(*names: str) -> Extract:
    identity = PERSON.data["identity"]
    fields = tuple(FieldPath(f"identity.{name}") for name in sorted(names))
    return Extract({"identity": {name: identity[name] for name in names}}, fields, withheld=(), consent_confirmed=True)


class TestFirstCreditBureau(AdapterContract):
    adapter = FirstCreditBureau(SETTINGS)
    examples: ClassVar = {
        "credit_report": example("iin"),
        "score": example("iin"),
        "debt_burden": example("iin", "last_name", "first_name", "middle_name", "birth_date"),
    }
    replies: ClassVar = {
        "credit_report": Reply(200, REPORT_ANSWER, "text/xml; charset=utf-8"),
        "score": Reply(200, SCORE_ANSWER, "text/xml; charset=utf-8"),
        "debt_burden": Reply(200, DEBT_ANSWER, "text/xml; charset=utf-8"),
    }
    unbound = frozenset(replies)


class TestStateCreditBureau(AdapterContract):
    adapter = STATE_BUREAU
    examples: ClassVar = {"credit_report": example("iin"), "contributions": example("iin")}
    replies: ClassVar = GOOD
    unbound = frozenset({"credit_report"})


class TestStateCreditBureauInPackages(TestStateCreditBureau):
    replies: ClassVar = PACKAGED


class TestStateCreditBureauInBase64(TestStateCreditBureau):
    replies: ClassVar = GOOD | {"credit_report": FORMS["as base64"]}


def whole(declared: Operation) -> Extract:
    """All that an operation uses."""
    rules = {path: FieldRule(path=path) for path in declared.uses}
    return minimise(PERSON.data, rules, consent_confirmed=False, context=Context(date(2026, 11, 23)))


RECEIPT = Reply(202, b'{"receipt":"DC-000001"}', "application/json")


class TestDemoCollector(AdapterContract):
    adapter = DemoCollector(DemoCollectorSettings(agency_code="KA-7"))
    examples: ClassVar = {name: whole(DemoCollector.operations[name]) for name in ("handover", "recall")}
    replies: ClassVar = dict.fromkeys(examples, RECEIPT)
    unbound = frozenset(replies)


class TestDemoCessionBuyer(AdapterContract):
    adapter = DemoCessionBuyer(DemoCessionBuyerSettings(seller_code="MFO-1"))
    examples: ClassVar = {name: whole(DemoCessionBuyer.operations[name]) for name in ("assignment", "recall")}
    replies: ClassVar = dict.fromkeys(examples, RECEIPT)
    unbound = frozenset(replies)


class TestPensionCenter(AdapterContract):
    adapter = PensionCenter(
        PensionCenterSettings(
            sender_id=SecretStr("lender"), password=SecretStr("p"), service_id="GCVP_SANDBOX", route_id="GCVP"
        )
    )
    examples: ClassVar = {"contributions": example("iin")}
    replies: ClassVar = {"contributions": Reply(200, PENSION_ANSWER, "text/xml; charset=utf-8")}


class Careless(FirstCreditBureau):
    """Adapters with one fault each, to be caught."""


class Templated(Careless):
    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        good = super().encode(operation, example("iin", "last_name", "first_name", "birth_date"), exchange)
        body = good.body.replace(PERSON.iin.encode(), str(extract.get("identity.iin")).encode())
        return Message(body, good.content_type, good.endpoint, good.headers)


class Remembering(Careless):
    seen = b""

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        good = super().encode(operation, extract, exchange)
        self.seen += str(extract.get("identity.last_name")).encode()
        return Message(good.body + b"<!--" + self.seen + b"-->", good.content_type, good.endpoint, good.headers)


class Forgiving(Careless):
    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        try:
            return super().encode(operation, extract, exchange)
        except InvalidRequest:
            return super().encode(operation, TestFirstCreditBureau.examples[operation], exchange)


class Gullible(Careless):
    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        try:
            return super().decode(operation, reply, exchange)
        except AnswerUnreadable:
            return Report(data={})


class Talkative(Careless):
    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        try:
            return super().decode(operation, reply, exchange)
        except AnswerUnreadable:
            raise AnswerUnreadable(f"cannot read {reply.body!r}") from None


class Chaining(Careless):
    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        try:
            return super().decode(operation, reply, exchange)
        except AnswerUnreadable:
            raise AnswerUnreadable("cannot read") from ValueError(reply.body.decode("utf-8", "replace"))


class Leaky(Careless):
    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        if not reply.body:
            raise ValueError("empty")
        return super().decode(operation, reply, exchange)


class Unbound(Careless):
    """It says that its answers are bound to their requests, and does not look."""


class Generous(Careless):
    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        good = super().decode(operation, reply, exchange)
        return Report(data={**good.data, "receipt": "r"}, about=good.about, reference=good.reference)


@pytest.mark.parametrize(
    ("faulty", "test"),
    [
        (Templated, "test_every_value_comes_from_the_extract_and_hostile_characters_stay_data"),
        (Remembering, "test_encoding_is_pure"),
        (Forgiving, "test_a_missing_field_that_is_needed_is_an_invalid_request"),
        (Gullible, "test_an_answer_of_another_form_is_refused"),
        (Gullible, "test_an_answer_with_another_status_is_refused"),
        (Talkative, "test_an_answer_of_another_form_is_refused"),
        (Talkative, "test_flipped_bits_do_no_harm"),
        (Chaining, "test_flipped_bits_do_no_harm"),
        (Leaky, "test_an_answer_of_another_form_is_refused"),
        (Generous, "test_a_good_reply_gives_only_what_is_declared"),
        (Unbound, "test_an_answer_to_another_request_is_refused"),
        (Careless, "test_no_module_does_io_or_reaches_above_the_model"),
    ],
)
def test_the_contract_notices(faulty: type[Any], test: str) -> None:
    unbound = frozenset[str]() if faulty is Unbound else TestFirstCreditBureau.unbound
    held = type("Held", (TestFirstCreditBureau,), {"adapter": faulty(SETTINGS), "unbound": unbound})
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(held(), test)()
    getattr(TestFirstCreditBureau(), test)()


@pytest.mark.parametrize(
    "wrong", [{"package_only": True}, {"deidentified": True}, {"deidentified": True, "package": True}], ids=str
)
def test_rows_of_nobody_go_in_packages_only_and_those_go_in_packages(wrong: dict[str, bool]) -> None:
    none = frozenset[FieldPath]()
    with pytest.raises(TypeError, match="package"):
        Operation("portfolio", "portfolio", none, none, none, idempotent=False, **wrong)
    made = operation("portfolio", endpoint="portfolio", needs=(), deidentified=True)
    assert (made.package, made.package_only, made.deidentified) == (True, True, True)
