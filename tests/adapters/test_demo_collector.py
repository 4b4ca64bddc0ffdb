"""The demo collector's codec: what is in the message, and what each answer means."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qaqpa.errors import (
    AnswerUnreadable,
    CredentialsRefused,
    InvalidRequest,
    Rejected,
    RequestRefused,
    RightsRefused,
)
from qaqpa.model.disclosure import Extract, Reply
from qaqpa.testing.contract import EXCHANGE
from qaqpa_adapters.demo_collector import DemoCollector, DemoCollectorSettings, wire

IIN = "900101300017"
NEEDED = {
    "identity": {"iin": IIN, "last_name": "Ахметов", "first_name": "Ерлан"},
    "contract": {"number": "МФО-1", "total_due": "150000.00", "days_overdue": 61},
}
ADAPTER = DemoCollector(DemoCollectorSettings(agency_code="MFO-7"))


def extract_of(data: dict[str, dict[str, object]]) -> Extract:
    return Extract(data=data, fields=(), withheld=(), consent_confirmed=False)


def reply_of(body: object, status: int = 202) -> Reply:
    return Reply(status, body if isinstance(body, bytes) else orjson.dumps(body), "application/json")


def test_a_message_holds_the_debtor_under_the_agencys_names():
    message = ADAPTER.encode("handover", extract_of(NEEDED), EXCHANGE)
    assert (message.endpoint, message.content_type, dict(message.headers)) == ("handover", "application/json", {})
    assert orjson.loads(message.body) == {
        "agency_code": "MFO-7",
        "debtor": NEEDED["identity"],
        "contract": NEEDED["contract"],
    }


def test_the_order_of_keys_does_not_depend_on_the_extract():
    turned = {group: dict(reversed(fields.items())) for group, fields in reversed(NEEDED.items())}
    assert ADAPTER.encode("handover", extract_of(turned), EXCHANGE) == ADAPTER.encode(
        "handover", extract_of(NEEDED), EXCHANGE
    )


def test_every_field_that_the_operation_uses_is_written_and_no_other():
    uses = ADAPTER.operations["handover"].uses
    assert uses == set(wire.FIELDS)
    data: dict[str, dict[str, object]] = {"employment": {"employer": "canary"}, "bank": {"account": "canary"}}
    for path in uses:
        group, _, name = path.partition(".")
        data.setdefault(group, {})[name] = f"value of {path}"
    data["contact"]["email"] = data["identity"]["sex"] = "canary"
    body = ADAPTER.encode("handover", extract_of(data), EXCHANGE).body
    assert all(f'"value of {path}"'.encode() in body for path in uses)
    assert b"canary" not in body


@pytest.mark.parametrize("path", wire.NEEDED)
def test_a_missing_field_is_named_and_no_value_is(path):
    group, _, name = path.partition(".")
    data = {**NEEDED, group: {key: value for key, value in NEEDED[group].items() if key != name}}
    with pytest.raises(InvalidRequest) as caught:
        ADAPTER.encode("handover", extract_of(data), EXCHANGE)
    assert caught.value.problems == (f"{path}: the agency needs it",)


def test_an_operation_that_the_agency_does_not_offer_is_refused():
    with pytest.raises(InvalidRequest, match="handover"):
        ADAPTER.encode("gossip", extract_of(NEEDED), EXCHANGE)


@pytest.mark.parametrize("status", [200, 202])
def test_a_receipt_is_the_report(status):
    report = ADAPTER.decode("handover", reply_of({"receipt": "DC-1", "iin": IIN, "more": 1}, status), EXCHANGE)
    assert (report.data, report.about, report.reference) == ({"receipt": "DC-1"}, IIN, "DC-1")
    assert ADAPTER.decode("handover", reply_of({"receipt": "DC-1"}, status), EXCHANGE).about is None


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (401, {"error": "login"}, CredentialsRefused, "login"),
        (403, {"error": "no_agreement"}, RightsRefused, "no_agreement"),
        (400, {"error": "file_invalid"}, RequestRefused, "file_invalid"),
        (400, {"error": f"unknown {IIN}"}, RequestRefused, "400"),
        (400, {"error": IIN}, RequestRefused, "400"),
        (415, b"<html/>", RequestRefused, "415"),
        (422, [], RequestRefused, "422"),
        (307, b"", RequestRefused, "307"),
    ],
)
def test_a_refusal_carries_the_agencys_code_and_never_its_text(status, body, error, code):
    with pytest.raises(Rejected) as caught:
        ADAPTER.decode("handover", reply_of(body, status), EXCHANGE)
    assert (type(caught.value), caught.value.their_code) == (error, code)
    assert IIN not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (202, b""),
        (202, b'{"receipt": "DC-'),
        (202, b"[" * 5000),
        (202, []),
        (202, {}),
        (202, {"receipt": None}),
        (202, {"receipt": 7}),
        (202, {"receipt": ""}),
        (202, {"receipt": "a\nb"}),
        (202, {"receipt": "x" * 501}),
        (202, {"receipt": "DC-1", "iin": 900101300017}),
        (204, b""),
        (500, {"receipt": "DC-1"}),
    ],
)
def test_anything_else_is_unreadable(status, body):
    with pytest.raises(AnswerUnreadable):
        ADAPTER.decode("handover", reply_of(body, status), EXCHANGE)


@given(st.binary(max_size=200), st.integers(100, 599))
def test_no_answer_whatever_raises_anything_else(body, status):
    try:
        ADAPTER.decode("handover", Reply(status, body), EXCHANGE)
    except (Rejected, AnswerUnreadable):
        return
    assert status in {200, 202}


def test_settings_refuse_what_they_do_not_know():
    with pytest.raises(ValidationError):
        DemoCollectorSettings.model_validate({"agency_code": "MFO-7", "agency_cod": "x"})
    with pytest.raises(ValidationError):
        DemoCollectorSettings.model_validate({})
