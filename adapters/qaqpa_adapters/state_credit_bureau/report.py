"""State credit bureau's answers read into `report` of our vocabulary, and its refusals into our errors.

What is known: the answer is `<operation>Response` with a `return`, plain SOAP or an MTOM package; pension data hold the
pension centre's own `data` (responseCode, requestIin, deductionsDetailed). What is **not public**: the elements of the
credit report, how `return` holds it, where in `return` the pension data stand, and the codes in the detail of a fault.
For these, shapes are assumed that the stand-in writes too; every assumed name stands in a table below, to be corrected
there when the bureau's papers are at hand. An answer of another shape is refused as unreadable, because it must name
its IIN where the table says.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lxml import etree

from qaqpa.errors import (
    ConsentRefused,
    CredentialsRefused,
    NoReport,
    Rejected,
    RequestRefused,
    RightsRefused,
    SubjectNotFound,
)
from qaqpa.model import vocabulary
from qaqpa.model.disclosure import Exchange, Reply, Report
from qaqpa_adapters.soap import children, own_value
from qaqpa_adapters.state_credit_bureau.mtom import INCLUDE, Parts, unpack
from qaqpa_adapters.state_credit_bureau.wire import BUREAU, REGISTERS, REPORTS

_Table = tuple[tuple[str, str, Callable[[str | None], Any]], ...]
"""Our field, the path of their leaf, how its text is read."""


def _text(text: str | None) -> str | None:
    return text


# --- what is assumed of the credit report --------------------------------------------------------------

_ABOUT = "subject/iin"

_REPORT: _Table = (
    ("reference", "reportId", _text),
    ("issued_at", "reportDate", BUREAU.moment),
    ("classification", "subject/classification", _text),
    ("negative", "subject/negativeStatus", _text),
    ("existing_contracts", "summary/activeContracts", BUREAU.integer),
    ("terminated_contracts", "summary/closedContracts", BUREAU.integer),
    ("outstanding", "summary/outstandingAmount", BUREAU.money),
    ("overdue", "summary/overdueAmount", BUREAU.money),
    ("max_days_overdue", "summary/maxOverdueDays", BUREAU.integer),
    ("queries_30_days", "requests/days30", BUREAU.integer),
    ("queries_90_days", "requests/days90", BUREAU.integer),
    ("queries_180_days", "requests/days180", BUREAU.integer),
    ("queries_360_days", "requests/days360", BUREAU.integer),
)
_SUBJECT: _Table = (
    ("iin", "subject/iin", _text),
    ("last_name", "subject/lastName", _text),
    ("first_name", "subject/firstName", _text),
    ("middle_name", "subject/middleName", _text),
    ("birth_date", "subject/birthDate", BUREAU.day),
)
_CONTRACTS = ("contracts", "contract")
_CONTRACT: _Table = (
    ("code", "contractCode", _text),
    ("number", "agreementNumber", _text),
    ("phase", "phase", _text),
    ("funding", "fundingType", _text),
    ("purpose", "creditPurpose", _text),
    ("status", "contractStatus", _text),
    ("role", "subjectRole", _text),
    ("institution", "creditor", _text),
    ("currency", "currency", _text),
    ("started_on", "startDate", BUREAU.day),
    ("ends_on", "endDate", BUREAU.day),
    ("repaid_on", "realPaymentDate", BUREAU.day),
    ("updated_on", "lastUpdate", BUREAU.day),
    ("amount", "totalAmount", BUREAU.money),
    ("outstanding", "outstandingAmount", BUREAU.money),
    ("overdue", "overdueAmount", BUREAU.money),
    ("days_overdue", "overdueDays", BUREAU.integer),
    ("max_days_overdue", "maxOverdueDays", BUREAU.integer),
    ("fine", "fine", BUREAU.money),
    ("penalty", "penalty", BUREAU.money),
)

FAULTS: Mapping[str, tuple[type[Rejected], str]] = MappingProxyType(
    {
        "USER_NOT_FOUND": (
            CredentialsRefused,
            "State credit bureau does not know the user: correct `user_id` in the recipient's settings",
        ),
        "ACCESS_DENIED": (
            RightsRefused,
            "The user may not ask State credit bureau for this: have it granted, or choose another report type",
        ),
        "CONSENT_REQUIRED": (
            ConsentRefused,
            "State credit bureau gives nothing without consent: record the subject's consent first",
        ),
        "SUBJECT_NOT_FOUND": (
            SubjectNotFound,
            "State credit bureau knows nobody under this IIN: check the IIN with the applicant",
        ),
        "REPORT_NOT_FOUND": (
            NoReport,
            "State credit bureau has no such report on this person: decide without it or ask for another",
        ),
        "INVALID_PARAMS": (
            RequestRefused,
            "State credit bureau refuses the parameters: check the IIN and the report type in the settings",
        ),
    }
)
"""`Fault/detail/code`, assumed, to our error and what to do next. A fault of another code is RequestRefused."""

# --- pension data: its place is assumed, its elements are known ----------------------------------------

_DATA = ("responseData", "data")
_STATUS = ("responseInfo", "status", "code")
_PASSED_ON = "SCSS001"
_FOUND = "FOUND"
_NOT_FOUND = "NOT_FOUND"
_PENSION: _Table = (("reference", "responseNumber", _text), ("issued_at", "responseDate", BUREAU.moment))
_DEDUCTION: _Table = (
    ("paid_on", "date", BUREAU.day),
    ("amount", "amount", BUREAU.money),
    ("employer", "name", _text),
    ("employer_bin", "bin", _text),
)

_WORD = re.compile("[A-Z_]{1,40}")
_CODE = re.compile("[A-Z]{1,20}[0-9]{0,4}")

RETURNED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "credit_report": frozenset(
            [f"report.{name}" for name, _, _ in _REPORT]
            + [f"report.subject.{name}" for name, _, _ in _SUBJECT]
            + [f"report.contracts.{name}" for name, _, _ in _CONTRACT]
        ),
        "contributions": frozenset(
            [f"report.{name}" for name, _, _ in _PENSION]
            + [f"report.contributions.{name}" for name, _, _ in _DEDUCTION]
        ),
    }
)
"""By operation: the fields that an answer may hold."""


def credit_report(reply: Reply, _exchange: Exchange) -> Report:
    """requestXmlCreditReportResponse, which repeats nothing of the request but the IIN.

    Raises as ThirdParty.decoded says, or what that turns into AnswerUnreadable.
    """
    package = unpack(reply, BUREAU.unreadable)
    answer = BUREAU.open_answer(package.root, namespace=REPORTS, element="requestXmlCreditReportResponse", fault=fault)
    document = _document(BUREAU.need(answer, "return"), package)
    # They were asked by IIN, so a report that does not name it cannot be matched with the one asked about.
    iin = BUREAU.needed_value(document, *_ABOUT.split("/"))
    within, each = _CONTRACTS
    contracts = [_row(node, _CONTRACT) for node in children(BUREAU.child(document, within), each)]
    data = {**_row(document, _REPORT), "subject": _row(document, _SUBJECT), "contracts": contracts or None}
    return _report(data, about=iin)


def contributions(reply: Reply, exchange: Exchange) -> Report:
    """getPensionInfoResponse: the pension centre's `data`, which repeats the request's number."""
    package = unpack(reply, BUREAU.unreadable)
    answer = BUREAU.open_answer(package.root, namespace=REGISTERS, element="getPensionInfoResponse", fault=fault)
    held = BUREAU.need(answer, "return")
    # With other registers an element of the register's own stands around the bus's answer.
    held = held[0] if len(held) == 1 and BUREAU.child(held, *_DATA) is None else held
    status = BUREAU.value(held, *_STATUS)
    if status not in {None, _PASSED_ON}:
        raise Rejected(
            "State credit bureau got no answer from the pension centre: look the code up in its description, ask again",
            their_code=status if _CODE.fullmatch(status or "") else None,
        )
    data = BUREAU.need(held, *_DATA)
    BUREAU.answers(BUREAU.needed_value(data, "requestNumber"), exchange)
    code = BUREAU.needed_value(data, "responseCode")
    if code == _NOT_FOUND:
        raise NoReport(
            "The pension centre has no contributions of this person in the last six months: decide without them",
            their_code=code,
        )
    if code != _FOUND:
        raise Rejected(
            "The pension centre refused with a code that is not in our table: look it up in the bureau's description",
            their_code=code if _WORD.fullmatch(code) else None,
        )
    found = [_row(node, _DEDUCTION) for node in children(data, "deductionsDetailed") if len(node)]
    if any(each["paid_on"] is None or each["amount"] is None for each in found):
        raise BUREAU.unreadable("a contribution without its date or its amount")
    return _report({**_row(data, _PENSION), "contributions": found}, about=BUREAU.needed_value(data, "requestIin"))


def envelope_in(reply: Reply) -> bytes:
    """The SOAP envelope of a reply, whether or not it came in an MTOM package."""
    return unpack(reply, BUREAU.unreadable).root


def _document(result: etree._Element, package: Parts) -> etree._Element:
    """The report, however `return` holds it: as its one element, as text, as base64, or attached."""
    if len(result) > 1:
        raise BUREAU.unreadable("more than one report")
    if len(result) == 1 and result[0].tag == INCLUDE:
        attached = package.part(result[0].get("href"))
        if attached is None:
            raise BUREAU.unreadable("an attachment that is not there")
        return BUREAU.parse(attached)
    if len(result) == 1:
        return result[0]
    text = result.text or ""
    if text.strip().removeprefix("\ufeff").startswith("<"):
        return BUREAU.parse_text(text)
    return BUREAU.parse(base64.b64decode("".join(text.split()), validate=True))


def fault(found: etree._Element) -> Rejected:
    """A SOAP fault of theirs, by the code in its detail."""
    code = BUREAU.value(found, "detail", "code") or ""
    if code not in FAULTS:
        return BUREAU.fault(found)
    kind, sentence = FAULTS[code]
    return kind(sentence, their_code=code)


def _row(node: etree._Element, table: _Table) -> dict[str, Any]:
    return {name: read(own_value(BUREAU.child(node, *path.split("/")))) for name, path, read in table}


def _report(data: dict[str, Any], *, about: str) -> Report:
    checked = vocabulary.Report.model_validate(data)
    return Report(data=checked.model_dump(mode="json", exclude_none=True), about=about, reference=checked.reference)
