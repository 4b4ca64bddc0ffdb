# long: one vocabulary, read as one list; a field's mark stands beside its type
"""The vocabulary: every field of personal data that the gate knows (policy 2.1), with its clause.

One home for types, clauses, sensitivity and W3C DPV terms: a group is a pydantic model whose leaves carry a
`Personal` mark, and `VOCABULARY` is read off the models. A field is a dotted path (`identity.iin`);
items of a list share one path (`related.mobile`). A field not here cannot be asked for, sent or returned.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NewType

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Bounds

from qaqpa import log
from qaqpa.model.identifiers import Bin, Iban, Iin, Phone
from qaqpa.model.words import Day, Moment

FieldPath = NewType("FieldPath", str)


class Sensitivity(StrEnum):
    """How much harm a field does in wrong hands; for review and reports, never a reason to pass it."""

    IDENTIFIER = "identifier"
    """Names one person among all."""
    CONTACT = "contact"
    FINANCIAL = "financial"
    PERSONAL = "personal"
    TECHNICAL = "technical"


@dataclass(frozen=True, slots=True)
class Personal:
    """What a field is: the clause that allows collecting it, its sensitivity, its W3C DPV term."""

    clause: str
    sensitivity: Sensitivity
    dpv: str


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of the vocabulary."""

    path: FieldPath
    clause: str
    sensitivity: Sensitivity
    dpv: str
    type: type
    """`str`, `int`, `Decimal`, `date` or `datetime`, or an enumeration of text."""


class Group(BaseModel):
    """A group of fields. All are optional: what a route needs is the route's to say."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


# Length limits are generous; control characters never belong to a person's data and break other formats.
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f\ufffe\uffff]+$")]
Email = Annotated[
    str,
    StringConstraints(pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s.\x00-\x1f\x7f]+$", max_length=254),
]
Money = Annotated[Decimal, Bounds(max_digits=18, decimal_places=2, allow_inf_nan=False)]
"""Decimal tenge unless a currency stands beside it."""
Rate = Annotated[Decimal, Bounds(max_digits=12, decimal_places=6, allow_inf_nan=False)]
"""Per cent a year."""
Count = Annotated[int, Bounds(ge=0, le=10**9, strict=True)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
Kato = Annotated[str, StringConstraints(pattern=r"^[0-9]{9}$")]
"""A place in the state's classifier of administrative units (КАТО)."""
Whole = Annotated[int, Bounds(strict=True)]
"""Of either sign; neither true nor "7"."""

_ID, _CONTACT = Sensitivity.IDENTIFIER, Sensitivity.CONTACT
_FIN, _PERS, _TECH = Sensitivity.FINANCIAL, Sensitivity.PERSONAL, Sensitivity.TECHNICAL


def _mark(clause: str, sensitivity: Sensitivity, dpv: str) -> Personal:
    return Personal(clause=clause, sensitivity=sensitivity, dpv=dpv)


_NAME = _mark("2.1(1)", _ID, "pd:Name")
_DOC = _mark("2.1(1)", _ID, "pd:OfficialID")
_ADDRESS = _mark("2.1(1)", _CONTACT, "pd:PhysicalAddress")
_PHONE = _mark("2.1(1)", _CONTACT, "pd:TelephoneNumber")
_DEBT = _mark("2.1(1)", _FIN, "pd:Credit")
_HISTORY = _mark("2.1(1)", _FIN, "pd:CreditRecord")
_CONTRACT = _mark("2.1(4)", _FIN, "pd:Loan")
_HISTORY_OURS = _mark("2.1(4)", _FIN, "pd:CreditRecord")
_INCOME = _mark("2.1(1)", _FIN, "pd:Income")
_JOB = _mark("2.1(1)", _PERS, "pd:CurrentEmployment")
_BROWSER = _mark("2.1(2)", _TECH, "pd:BrowserFingerprint")


class Document(Group):
    """An identity document."""

    kind: Annotated[Text | None, _DOC] = None
    number: Annotated[Text | None, _DOC] = None
    issued_by: Annotated[Text | None, _DOC] = None
    issued_on: Annotated[Day | None, _DOC] = None
    expires_on: Annotated[Day | None, _DOC] = None


class Sex(StrEnum):
    """As identity documents state it."""

    FEMALE = "female"
    MALE = "male"


class Residency(StrEnum):
    """Where the person counts as resident."""

    RESIDENT = "resident"
    NON_RESIDENT = "non_resident"


class Identity(Group):
    """Who the person is."""

    iin: Annotated[Iin | None, _mark("2.1(1)", _ID, "pd:NationalIdentificationNumber")] = None
    last_name: Annotated[Text | None, _NAME] = None
    first_name: Annotated[Text | None, _NAME] = None
    middle_name: Annotated[Text | None, _NAME] = None
    birth_date: Annotated[Day | None, _mark("2.1(1)", _PERS, "pd:BirthDate")] = None
    sex: Annotated[Sex | None, _mark("2.1(1)", _PERS, "pd:Gender")] = None
    citizenship: Annotated[Country | None, _mark("2.1(4)", _PERS, "pd:Nationality")] = None
    residency: Annotated[Residency | None, _mark("2.1(4)", _PERS, "pd:Location")] = None
    document: Document | None = None


class Contact(Group):
    """How to reach the person; phones in E.164."""

    email: Annotated[Email | None, _mark("2.1(1)", _CONTACT, "pd:EmailAddress")] = None
    mobile: Annotated[Phone | None, _PHONE] = None
    home_phone: Annotated[Phone | None, _PHONE] = None
    work_phone: Annotated[Phone | None, _PHONE] = None
    registered_address: Annotated[Text | None, _ADDRESS] = None
    registered_kato: Annotated[Kato | None, _ADDRESS] = None
    residence_address: Annotated[Text | None, _ADDRESS] = None
    residence_kato: Annotated[Kato | None, _ADDRESS] = None


class Bank(Group):
    """Where the person is paid."""

    account: Annotated[Iban | None, _mark("2.1(1)", _FIN, "pd:BankAccount")] = None
    bank_name: Annotated[Text | None, _mark("2.1(1)", _FIN, "pd:BankAccount")] = None


class Employment(Group):
    """Where the person works and what they earn."""

    employer: Annotated[Text | None, _JOB] = None
    employer_bin: Annotated[Bin | None, _JOB] = None
    salary: Annotated[Money | None, _mark("2.1(1)", _FIN, "pd:Salary")] = None
    salary_date: Annotated[Day | None, _mark("2.1(1)", _FIN, "pd:Salary")] = None


class Family(Group):
    """Family."""

    marital_status: Annotated[Text | None, _mark("2.1(1)", _PERS, "pd:MaritalStatus")] = None


class Property(Group):
    """What the person owns."""

    kind: Annotated[Text | None, _mark("2.1(1)", _FIN, "pd:OwnershipOfProperty")] = None


class Solvency(Group):
    """Solvency and obligations as the person states them."""

    monthly_income: Annotated[Money | None, _INCOME] = None
    monthly_obligations: Annotated[Money | None, _DEBT] = None
    total_debt: Annotated[Money | None, _DEBT] = None
    overdue_debt: Annotated[Money | None, _DEBT] = None
    active_loans: Annotated[Count | None, _DEBT] = None
    dependants: Annotated[Count | None, _mark("2.1(1)", _PERS, "pd:FamilyStructure")] = None


class Phase(StrEnum):
    """Where a contract stands in its life."""

    OPEN = "open"
    REPAID = "repaid"
    REPAID_EARLY = "repaid_early"
    CREDITOR_CHANGED = "creditor_changed"
    """The claim went to somebody else (cession)."""


class Contract(Group):
    """The microcredit contract. Sums in its currency; `days_overdue` in days.

    From `code` on it holds what credit bureaus are told of a contract; words of the operator's own stand there for what
    each bureau has a dictionary of.
    """

    number: Annotated[Text | None, _CONTRACT] = None
    signed_on: Annotated[Day | None, _CONTRACT] = None
    matures_on: Annotated[Day | None, _CONTRACT] = None
    amount: Annotated[Money | None, _CONTRACT] = None
    currency: Annotated[Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None, _CONTRACT] = None
    rate: Annotated[Rate | None, _CONTRACT] = None
    effective_rate: Annotated[Rate | None, _CONTRACT] = None
    principal: Annotated[Money | None, _CONTRACT] = None
    overdue_principal: Annotated[Money | None, _CONTRACT] = None
    interest: Annotated[Money | None, _CONTRACT] = None
    overdue_interest: Annotated[Money | None, _CONTRACT] = None
    penalty: Annotated[Money | None, _CONTRACT] = None
    expenses: Annotated[Money | None, _CONTRACT] = None
    total_due: Annotated[Money | None, _CONTRACT] = None
    days_overdue: Annotated[Count | None, _CONTRACT] = None
    last_paid_on: Annotated[Day | None, _CONTRACT] = None
    collateral: Annotated[Text | None, _CONTRACT] = None
    balance_on: Annotated[Day | None, _CONTRACT] = None
    """The cut-off day of the sums."""
    price: Annotated[Money | None, _CONTRACT] = None
    """For which the claim is assigned."""
    court_status: Annotated[Text | None, _CONTRACT] = None
    """Suit, writ of a notary, enforcement: how far it came."""
    collateral_value: Annotated[Money | None, _CONTRACT] = None
    code: Annotated[Text | None, _CONTRACT] = None
    """Under which bureaus know the contract, where that is not its number; it never changes."""
    phase: Annotated[Phase | None, _HISTORY_OURS] = None
    status: Annotated[Text | None, _HISTORY_OURS] = None
    funding_type: Annotated[Text | None, _HISTORY_OURS] = None
    credit_purpose: Annotated[Text | None, _HISTORY_OURS] = None
    credit_object: Annotated[Text | None, _HISTORY_OURS] = None
    classification: Annotated[Text | None, _HISTORY_OURS] = None
    """Of the loan, by how it is served."""
    real_payment_date: Annotated[Day | None, _HISTORY_OURS] = None
    """When it was repaid, or the claim assigned; an open contract has none."""
    payment_method: Annotated[Text | None, _HISTORY_OURS] = None
    payment_period: Annotated[Text | None, _HISTORY_OURS] = None
    instalment_amount: Annotated[Money | None, _HISTORY_OURS] = None
    instalment_count: Annotated[Count | None, _HISTORY_OURS] = None
    accounting_date: Annotated[Day | None, _HISTORY_OURS] = None
    """The day that the figures below are of."""
    outstanding_instalments: Annotated[Count | None, _HISTORY_OURS] = None
    outstanding_amount: Annotated[Money | None, _HISTORY_OURS] = None
    overdue_instalments: Annotated[Count | None, _HISTORY_OURS] = None
    overdue_amount: Annotated[Money | None, _HISTORY_OURS] = None
    fine: Annotated[Money | None, _HISTORY_OURS] = None


class Offer(Group):
    """The offer that the person was sent and accepted (policy 2.1(3))."""

    sent_at: Annotated[Moment | None, _mark("2.1(3)", _PERS, "pd:ServiceConsumptionBehavior")] = None
    accepted_at: Annotated[Moment | None, _mark("2.1(3)", _PERS, "pd:ServiceConsumptionBehavior")] = None
    text_sha256: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None,
        _mark("2.1(3)", _TECH, "pd:ServiceConsumptionBehavior"),
    ] = None


class Device(Group):
    """What the site saw of the browser (policy 2.1(2))."""

    ip: Annotated[Text | None, _mark("2.1(2)", _TECH, "pd:IPAddress")] = None
    cookies: Annotated[Text | None, _BROWSER] = None
    user_agent: Annotated[Text | None, _BROWSER] = None
    accessed_at: Annotated[Moment | None, _BROWSER] = None
    page: Annotated[Text | None, _BROWSER] = None
    provider_domain: Annotated[Text | None, _BROWSER] = None


class RelatedPerson(Group):
    """A contact person or relative: somebody else's data, so no shipped route passes it."""

    role: Annotated[Text | None, _mark("2.1(4)", _PERS, "pd:Relationship")] = None
    last_name: Annotated[Text | None, _mark("2.1(4)", _ID, "pd:Name")] = None
    first_name: Annotated[Text | None, _mark("2.1(4)", _ID, "pd:Name")] = None
    mobile: Annotated[Phone | None, _mark("2.1(4)", _CONTACT, "pd:TelephoneNumber")] = None


class ReportSubject(Group):
    """The person as the third party knows them."""

    iin: Annotated[Text | None, _mark("2.1(1)", _ID, "pd:NationalIdentificationNumber")] = None
    last_name: Annotated[Text | None, _NAME] = None
    first_name: Annotated[Text | None, _NAME] = None
    middle_name: Annotated[Text | None, _NAME] = None
    birth_date: Annotated[Day | None, _mark("2.1(1)", _PERS, "pd:BirthDate")] = None
    sex: Annotated[Text | None, _mark("2.1(1)", _PERS, "pd:Gender")] = None
    marital_status: Annotated[Text | None, _mark("2.1(1)", _PERS, "pd:MaritalStatus")] = None
    citizenship: Annotated[Text | None, _mark("2.1(1)", _PERS, "pd:Nationality")] = None
    phones: Annotated[tuple[Text, ...] | None, _PHONE] = None
    addresses: Annotated[tuple[Text, ...] | None, _ADDRESS] = None
    documents: Annotated[tuple[Text, ...] | None, _DOC] = None


class ReportPayment(Group):
    """One month of a contract's payment calendar."""

    year: Annotated[Whole | None, _HISTORY] = None
    month: Annotated[Whole | None, _HISTORY] = None
    overdue_days: Annotated[Text | None, _HISTORY] = None
    """As the bureau writes it: days, or a mark for a month without data."""
    overdue: Annotated[Money | None, _HISTORY] = None
    fine: Annotated[Money | None, _HISTORY] = None
    penalty: Annotated[Money | None, _HISTORY] = None


class ReportContract(Group):
    """A loan that the bureau knows of. Sums in `currency`, days in days."""

    code: Annotated[Text | None, _HISTORY] = None
    number: Annotated[Text | None, _HISTORY] = None
    phase: Annotated[Text | None, _HISTORY] = None
    """`existing` or `terminated`."""
    funding: Annotated[Text | None, _HISTORY] = None
    purpose: Annotated[Text | None, _HISTORY] = None
    status: Annotated[Text | None, _HISTORY] = None
    role: Annotated[Text | None, _HISTORY] = None
    institution: Annotated[Text | None, _HISTORY] = None
    collateral: Annotated[Text | None, _HISTORY] = None
    currency: Annotated[Text | None, _HISTORY] = None
    started_on: Annotated[Day | None, _HISTORY] = None
    ends_on: Annotated[Day | None, _HISTORY] = None
    repaid_on: Annotated[Day | None, _HISTORY] = None
    updated_on: Annotated[Day | None, _HISTORY] = None
    amount: Annotated[Money | None, _HISTORY] = None
    outstanding: Annotated[Money | None, _HISTORY] = None
    overdue: Annotated[Money | None, _HISTORY] = None
    days_overdue: Annotated[Whole | None, _HISTORY] = None
    max_days_overdue: Annotated[Whole | None, _HISTORY] = None
    fine: Annotated[Money | None, _HISTORY] = None
    penalty: Annotated[Money | None, _HISTORY] = None
    payments: tuple[ReportPayment, ...] | None = None


class Contribution(Group):
    """One pension contribution; bin and name identify the employer."""

    paid_on: Annotated[Day | None, _INCOME] = None
    amount: Annotated[Money | None, _INCOME] = None
    employer: Annotated[Text | None, _JOB] = None
    employer_bin: Annotated[Text | None, _JOB] = None


class Report(Group):
    """What a bureau or the pension centre answered (policy 2.1(1): received from third parties)."""

    reference: Annotated[Text | None, _HISTORY] = None
    """The third party's own number of the answer."""
    issued_at: Annotated[Moment | None, _HISTORY] = None
    score: Annotated[Whole | None, _HISTORY] = None
    risk_grade: Annotated[Text | None, _HISTORY] = None
    debt_burden: Annotated[Rate | None, _HISTORY] = None
    """Monthly debt over monthly income (KDN), a ratio."""
    monthly_debt: Annotated[Money | None, _HISTORY] = None
    monthly_income: Annotated[Money | None, _INCOME] = None
    classification: Annotated[Text | None, _HISTORY] = None
    negative: Annotated[Text | None, _HISTORY] = None
    existing_contracts: Annotated[Whole | None, _HISTORY] = None
    terminated_contracts: Annotated[Whole | None, _HISTORY] = None
    outstanding: Annotated[Money | None, _HISTORY] = None
    overdue: Annotated[Money | None, _HISTORY] = None
    max_days_overdue: Annotated[Whole | None, _HISTORY] = None
    queries_30_days: Annotated[Whole | None, _HISTORY] = None
    queries_90_days: Annotated[Whole | None, _HISTORY] = None
    queries_120_days: Annotated[Whole | None, _HISTORY] = None
    queries_180_days: Annotated[Whole | None, _HISTORY] = None
    queries_360_days: Annotated[Whole | None, _HISTORY] = None
    receipt: Annotated[Text | None, _mark("2.1(4)", _TECH, "pd:ServiceConsumptionBehavior")] = None
    """A recipient's acknowledgement, where it gives one instead of a report."""
    subject: ReportSubject | None = None
    contracts: tuple[ReportContract, ...] | None = None
    contributions: tuple[Contribution, ...] | None = None


class PersonalData(Group):
    """Everything a caller may hand in about one person, and, under `report`, what came back."""

    identity: Identity | None = None
    contact: Contact | None = None
    bank: Bank | None = None
    employment: Employment | None = None
    family: Family | None = None
    property: Property | None = None
    solvency: Solvency | None = None
    contract: Contract | None = None
    offer: Offer | None = None
    device: Device | None = None
    related: tuple[RelatedPerson, ...] | None = None
    report: Report | None = None


def _group_in(annotation: Any) -> type[Group] | None:
    """The group inside `Group | None` or `tuple[Group, ...] | None`; None for a leaf."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type):
        return annotation if issubclass(annotation, Group) else None
    found = (_group_in(part) for part in typing.get_args(annotation) if part is not Ellipsis)
    return next((group for group in found if group is not None), None)


def _leaf_type(annotation: Any) -> type:
    """`str` in `Annotated[str, …] | None` or `tuple[str, ...] | None`."""
    while typing.get_origin(annotation) is not None:
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    return typing.cast("type", annotation)


def _fields(group: type[Group], prefix: str = "") -> Iterator[Field]:
    for name, info in group.model_fields.items():
        path = f"{prefix}{name}"
        inner = _group_in(info.annotation)
        if inner is not None:
            yield from _fields(inner, f"{path}.")
            continue
        mark = next((m for m in info.metadata if isinstance(m, Personal)), None)
        if mark is None:
            raise TypeError(f"{path} carries no Personal mark: give it its clause, sensitivity and DPV term")
        yield Field(FieldPath(path), mark.clause, mark.sensitivity, mark.dpv, _leaf_type(info.annotation))


VOCABULARY: Mapping[FieldPath, Field] = types.MappingProxyType({field.path: field for field in _fields(PersonalData)})
"""Every field by its path."""

log.never(path.rpartition(".")[2] for path in VOCABULARY)

GROUPS: frozenset[str] = frozenset(PersonalData.model_fields)
"""Top-level groups; a consent may name one instead of its paths."""


_BY_NAME: Mapping[str, frozenset[FieldPath]] = {
    **{group: frozenset(path for path in VOCABULARY if path.partition(".")[0] == group) for group in GROUPS},
    **{path: frozenset({path}) for path in VOCABULARY},
}


def expand(names: typing.Iterable[str]) -> frozenset[FieldPath]:
    """Paths named directly or by their top-level group; KeyError names the first that is neither."""
    return frozenset().union(*(_BY_NAME[name] for name in names))
