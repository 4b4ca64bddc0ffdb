"""First Credit Bureau's answers read into `report` of our vocabulary, and their error codes read into our errors.

Every reader takes the raw bytes of an answer and gives a report that is valid under the vocabulary and ready for JSON.
It never keeps anything of an answer beyond the fields named here, and never passes on their free text as an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from lxml import etree

from qaqpa.errors import (
    ConsentRefused,
    CredentialsRefused,
    ManySubjects,
    NoReport,
    Rejected,
    RequestRefused,
    RightsRefused,
    SubjectNotFound,
)
from qaqpa.model import vocabulary
from qaqpa.model.disclosure import Report
from qaqpa_adapters.first_credit_bureau.wire import (
    DEBTS,
    REPORTS,
    SCORES,
    child,
    children,
    currency,
    day,
    integer,
    local_name,
    moment,
    money,
    need,
    needed_value,
    open_answer,
    own_value,
    ratio,
    unreadable,
    value,
)

REPORT_ERRORS: dict[str, tuple[type[Rejected], str]] = {
    "1101": (Rejected, "First Credit Bureau reports a general error: ask again later, and call the bureau if it stays"),
    "1102": (SubjectNotFound, "First Credit Bureau knows nobody under this IIN: check the IIN with the applicant"),
    "1103": (RequestRefused, "First Credit Bureau refuses the culture: correct `culture` in the recipient's settings"),
    "1104": (CredentialsRefused, "First Credit Bureau refuses the login: renew the user name and password"),
    "1105": (RequestRefused, "First Credit Bureau refuses the report code: correct `report_code` in the settings"),
    "1106": (RightsRefused, "The login may not ask for this report: have the bureau grant it, or choose another code"),
    "1107": (RequestRefused, "First Credit Bureau refuses the document: check that the IIN is a person's"),
    "1108": (NoReport, "First Credit Bureau has no such report on this person: decide without it or ask for another"),
    "1112": (ManySubjects, "Several persons match at First Credit Bureau: have the bureau settle who is meant"),
}
"""`CigResultError/Errmessage@code` to our error and what to do next."""

SCORE_ERRORS: dict[int, tuple[type[Rejected], str]] = {
    -1000: (CredentialsRefused, "First Credit Bureau's score service refuses the login: renew the password"),
    -1017: (ConsentRefused, "First Credit Bureau gives no score without consent: record the subject's consent first"),
}
"""`ErrorCode` of the score service to our error and what to do next."""

_OTHER_ERROR = (
    "First Credit Bureau refused with a code that is not in our table: look it up in the bureau's description"
)

_MAX_TEXT = 500
"""Length of a text in the vocabulary; a list of theirs joined into one text is cut to it with an ellipsis."""


# --- credit report ---------------------------------------------------------------------------------


def credit_report(answer: bytes) -> Report:
    """GetReportResult: a CigResult, or a CigResultError that becomes an error of ours."""
    result = need(open_answer(answer, namespace=REPORTS, element="GetReportResponse"), "GetReportResult")
    error = child(result, "CigResultError")
    if error is not None:
        raise refused(need(error, "Errmessage"))
    cig = need(result, "CigResult")
    root = need(cig, "Result", "Root")
    # They were asked by IIN, so an answer that does not name it cannot be matched with the one asked about.
    iin = needed_value(root, "Header", "IIN")
    reference = value(cig, "ReferenceId")
    contracts = [
        *(_contract(node, "existing") for node in children(child(root, "ExistingContracts"), "Contract")),
        *(_contract(node, "terminated") for node in children(child(root, "TerminatedContracts"), "Contract")),
    ]
    data = {
        "reference": reference,
        "issued_at": moment(value(cig, "DateTime")),
        "subject": _subject(root),
        "classification": _classification(child(root, "ClassificationOfBorrower")),
        "negative": _negative(child(root, "NegativeData")),
        **_summary(root, contracts),
        **_queries(child(root, "NumberOfQueries")),
        "contracts": contracts or None,
    }
    return _report(data, about=iin, reference=reference)


def refused(message: etree._Element) -> Rejected:
    """An `Errmessage`, by its code."""
    code = (message.get("code") or "").strip()
    kind, sentence = REPORT_ERRORS.get(code, (Rejected, _OTHER_ERROR))
    return kind(sentence, their_code=code if re.fullmatch("[0-9]{1,6}", code) else None)


def _subject(root: etree._Element) -> dict[str, Any]:
    header = need(root, "Header")
    details = child(root, "SubjectDetails")
    homes = list(children(child(root, "SubjectsAddress"), "Address"))
    kinds = ("CellularPhone", "HomePhone", "OfficePhone")
    documents = children(child(root, "IdentificationDocuments"), "Document")
    return {
        "iin": value(header, "IIN"),
        "last_name": value(header, "Surname"),
        "first_name": value(header, "Name"),
        "middle_name": value(header, "FathersName"),
        "birth_date": day(value(header, "DateOfBirth")),
        "sex": value(header, "Gender"),
        "marital_status": value(header, "MatrialStatus"),  # their spelling
        "citizenship": value(root, "ClassificationOfBorrower", "Citizenship"),
        "phones": _once(value(node, kind) for node in (details, *homes) for kind in kinds),
        "addresses": _once(_line(node, "ZipCode", "Region", "City", "Street") for node in homes),
        "documents": _once(_line(node, "Name", "Number", "DateOfIssuance") for node in documents),
    }


def _classification(node: etree._Element | None) -> str | None:
    return value(node, "BorrowerClassification") or own_value(node)


def _negative(node: etree._Element | None) -> str | None:
    """Every negative status, of the client and of contracts, current and past."""
    if node is None:
        return None
    leaves = (leaf for leaf in node.iter() if len(leaf) == 0 and local_name(leaf).startswith("Negative"))
    return _join(_once(own_value(leaf) for leaf in leaves) or (), "; ")


def _summary(root: etree._Element, contracts: list[dict[str, Any]]) -> dict[str, Any]:
    """Their totals, per section and role of the subject or, in the shorter reports, once for all.

    All roles (borrower, guarantor) are taken together: each contract says which role is meant.
    """
    summary = child(root, "SummaryInformation")
    existing, terminated = child(summary, "ExistingContracts"), child(summary, "TerminatedContracts")
    worst = [found["max_days_overdue"] for found in contracts if found["max_days_overdue"] is not None]
    return {
        "existing_contracts": integer(
            _total(existing, "NumberOfContracts") or value(summary, "NumberOfExistingContracts")
        ),
        "terminated_contracts": integer(
            _total(terminated, "NumberOfContracts") or value(summary, "NumberOfTerminatedContracts")
        ),
        "outstanding": money(_total(existing, "TotalOutstandingDebt") or value(summary, "TotalOutstandingDebt")),
        "overdue": money(_total(existing, "TotalDebtOverdue") or value(summary, "TotalDebtOverdue")),
        "max_days_overdue": max(worst, default=None),
    }


def _total(section: etree._Element | None, name: str) -> str | None:
    roles = [value(part, name) for part in children(section, "SubjectRole")] or [value(section, name)]
    sums = [found for text in roles if (found := money(text)) is not None]
    return str(sum(sums, Decimal())) if sums else None


def _queries(node: etree._Element | None) -> dict[str, int | None]:
    return {f"queries_{days}_days": integer(value(node, f"Days{days}")) for days in (30, 90, 120, 180, 360)}


def _contract(node: etree._Element, phase: str) -> dict[str, Any]:
    amount = value(node, "TotalAmount")
    return {
        "code": value(node, "CodeOfContract"),
        "number": value(node, "AgreementNumber"),
        "phase": phase,
        "funding": value(node, "TypeOfFounding"),
        "purpose": value(node, "PurposeOfCredit"),
        "status": value(node, "ContractStatus"),
        "role": _join(_once(map(own_value, children(node, "SubjectRole"))) or (), ", "),
        "institution": value(node, "FinancialInstitution"),
        "collateral": _join(
            _once(_line(part, "TypeOfGuarantee", "ValueOfGuarantee") for part in children(node, "Collateral")) or (),
            "; ",
        ),
        "currency": value(node, "CurrencyCode") or currency(amount),
        "started_on": day(value(node, "DateOfCreditStart")),
        "ends_on": day(value(node, "DateOfCreditEnd")),
        "repaid_on": day(value(node, "DateOfRealRepayment")),
        "updated_on": day(value(node, "LastUpdate")),
        "amount": money(amount),
        "outstanding": money(value(node, "OutstandingAmount")),
        "overdue": money(value(node, "OverdueAmount")),
        # Days overdue, whatever their names say.
        "days_overdue": integer(value(node, "NumberOfOverdueInstalments")),
        "max_days_overdue": integer(value(node, "NumberOfOverdueInstalmentsMax")),
        "fine": money(value(node, "Fine")),
        "penalty": money(value(node, "Penalty")),
        "payments": _payments(child(node, "PaymentsCalendar")) or None,
    }


def _payments(calendar: etree._Element | None) -> list[dict[str, Any]]:
    payments = []
    for year in children(calendar, "Year"):
        number = integer(year.get("title") or year.get("value"))
        for payment in children(year, "Payment"):
            month = integer(payment.get("number"))
            if number is None or month is None or not 1 <= month <= 12:
                raise unreadable("a month without its number in the payments calendar")
            payments.append(
                {
                    "year": number,
                    "month": month,
                    "overdue_days": (payment.get("value") or "").strip() or None,  # a dash says: no data, and is kept
                    "overdue": money(payment.get("overdue")),
                    "fine": money(payment.get("fine")),
                    "penalty": money(payment.get("penalty")),
                }
            )
    return payments


# --- score and debt burden -------------------------------------------------------------------------


def score(answer: bytes) -> Report:
    """ScoreResponse; it does not say whom it is about."""
    result = need(open_answer(answer, namespace=SCORES, element="ScoreResponse"), "return")
    code = integer(needed_value(result, "ErrorCode"))
    if code:
        kind, sentence = SCORE_ERRORS.get(code, (Rejected, _OTHER_ERROR))
        raise kind(sentence, their_code=str(code))
    reference = value(result, "IdQuery")
    data = {
        "reference": reference,
        "score": integer(needed_value(result, "Score")),
        "risk_grade": value(result, "RiskGrade"),
    }
    return _report(data, about=None, reference=reference)


def debt_burden(answer: bytes) -> Report:
    """kdnReqResponse: monthly debt over monthly income."""
    result = need(open_answer(answer, namespace=DEBTS, element="kdnReqResponse"), "return")
    code = integer(value(result, "errorCode"))
    if code:
        raise Rejected(_OTHER_ERROR, their_code=str(code))
    application = need(result, "applicationReport")
    reference = value(result, "Id") or value(application, "RequestId")
    data = {
        "reference": reference,
        "issued_at": moment(value(result, "ReportDate")),
        "debt_burden": ratio(needed_value(application, "kdn_score")),
        "monthly_debt": money(value(application, "debt")),
        "monthly_income": money(value(application, "income")),
    }
    return _report(data, about=needed_value(application, "IIN"), reference=reference)


# --- shared ----------------------------------------------------------------------------------------


def _report(data: dict[str, Any], *, about: str | None, reference: str | None) -> Report:
    checked = vocabulary.Report.model_validate(data)
    return Report(data=checked.model_dump(mode="json", exclude_none=True), about=about, reference=reference)


def _line(node: etree._Element, *names: str) -> str | None:
    """Leaves of a node in one line, or what the node itself says."""
    parts = [found for name in names if (found := value(node, name)) is not None]
    return ", ".join(parts) or own_value(node)


def _once(found: Iterable[str | None]) -> tuple[str, ...] | None:
    """Each value once, in their order; None when there is none."""
    return tuple(dict.fromkeys(item for item in found if item is not None)) or None


def _join(found: Iterable[str], between: str) -> str | None:
    text = between.join(found)
    return (text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…") or None
