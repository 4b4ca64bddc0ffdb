"""Invented credit reports and pension contributions for the state bureau's sandbox: all follows from the IIN.

Elements of pension data are the pension centre's; those of the credit report are assumed (see `report`). Values are
made up, employers too: their numbers have a wrong check digit on purpose, so that they are nobody's. It holds no rule
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from lxml import etree

from qaqpa.model.identifiers import check_digit
from qaqpa_adapters.soap_sandbox import Person, node, seeded

_CUT_OFF = date(2026, 10, 1)
"""The bureau's knowledge ends here, so that a history is the same on every day."""

_LENDERS = ("ТОО «МФО Пример»", "АО «Банк Образец»", "ЖШС «Үлгі несие»")
_KINDS = ("Займ", "Кредитная карта", "Микрокредит")
_PURPOSES = ("Потребительские цели", "На неотложные нужды")
_EMPLOYERS = ("ТОО «Пример Труд»", "ЖШС «Үлгі еңбек»", "АО «Образец Сервис»")
_LONG_OVERDUE = 90
_CONTRIBUTION = Decimal("0.10")
"""Of the salary, as the law on pensions has it."""


def chance(iin: str) -> float:
    """A number from 0 to 1 that is always the same for one IIN: decides whom the bureau does not know."""
    return _random(iin, "known").random()


def credit_report(iin: str, *, queries: int, number: int) -> etree._Element:
    """The whole report about `iin`; `queries` is how often this sandbox was asked about them."""
    person = Person.of(iin)
    contracts = tuple(_contracts(iin))
    active = [contract for contract in contracts if contract.repaid is None]
    negative = "Длительная просрочка" if any(contract.days > _LONG_OVERDUE for contract in active) else ""
    return node(
        "creditReport",
        _leaf("reportId", str(number)),
        _leaf("reportDate", f"{_CUT_OFF.isoformat()}T09:00:00+05:00"),
        node(
            "subject",
            _leaf("iin", iin),
            _leaf("lastName", person.surname),
            _leaf("firstName", person.name),
            _leaf("middleName", person.fathers_name),
            _leaf("birthDate", person.born.isoformat()),
            _leaf("classification", "Физическое лицо"),
            _leaf("negativeStatus", negative),
        ),
        node(
            "summary",
            _leaf("activeContracts", str(len(active))),
            _leaf("closedContracts", str(len(contracts) - len(active))),
            _leaf("outstandingAmount", _money(sum((each.outstanding for each in active), Decimal()))),
            _leaf("overdueAmount", _money(sum((each.overdue for each in active), Decimal()))),
            _leaf("maxOverdueDays", str(max((each.worst for each in contracts), default=0))),
        ),
        node("contracts", *(contract.element() for contract in contracts)),
        node("requests", *_queries(iin, queries)),
    )


def pension_data(iin: str, *, request: str, number: int) -> etree._Element:
    """The pension centre's `data`: six months of contributions."""
    made = _random(iin, "pension")
    employer, employer_bin = made.choice(_EMPLOYERS), _nobodys_bin(made)
    salary = Decimal(made.randrange(120_000, 900_000, 500))
    return node(
        "data",
        _leaf("responseCode", "FOUND"),
        _leaf("requestNumber", request),
        _leaf("requestIin", iin),
        _leaf("responseDate", f"{_CUT_OFF.isoformat()}T09:00:00+05:00"),
        _leaf("responseNumber", f"P-{number}"),
        *(
            node(
                "deductionsDetailed",
                _leaf("bin", employer_bin),
                _leaf("date", (_CUT_OFF - timedelta(days=30 * month + made.randrange(5))).isoformat()),
                _leaf("name", employer),
                _leaf("amount", _money(salary * _CONTRIBUTION)),
            )
            for month in range(6)
        ),
    )


def no_pension_data(iin: str, *, request: str) -> etree._Element:
    """The pension centre's `data` about somebody for whom nobody paid."""
    found = _leaf("responseCode", "NOT_FOUND"), _leaf("requestNumber", request), _leaf("requestIin", iin)
    return node("data", *found)


@dataclass(frozen=True, slots=True)
class _Contract:
    code: str
    number: str
    kind: str
    purpose: str
    lender: str
    started: date
    ends: date
    repaid: date | None
    amount: Decimal
    outstanding: Decimal
    overdue: Decimal
    days: int
    worst: int

    def element(self) -> etree._Element:
        status = "Завершён" if self.repaid else ("Просрочка" if self.days else "Действующий")
        parts = {
            "contractCode": self.code,
            "agreementNumber": self.number,
            "phase": "terminated" if self.repaid else "existing",
            "fundingType": self.kind,
            "creditPurpose": self.purpose,
            "contractStatus": status,
            "subjectRole": "Заёмщик",
            "creditor": self.lender,
            "currency": "KZT",
            "startDate": self.started.isoformat(),
            "endDate": self.ends.isoformat(),
            "realPaymentDate": self.repaid.isoformat() if self.repaid else "",
            "lastUpdate": _CUT_OFF.isoformat(),
            "totalAmount": _money(self.amount),
            "outstandingAmount": _money(self.outstanding),
            "overdueAmount": _money(self.overdue),
            "overdueDays": str(self.days),
            "maxOverdueDays": str(self.worst),
            "fine": "0.00",
            "penalty": _money(self.overdue / 100),
        }
        return node("contract", *(_leaf(name, text) for name, text in parts.items()))


def _contracts(iin: str) -> Iterator[_Contract]:
    made = _random(iin, "contracts")
    for index in range(made.randint(0, 4)):
        started = _CUT_OFF - timedelta(days=made.randint(40, 900))
        ends = started + timedelta(days=30 * made.choice((1, 6, 12, 24)))
        amount = Decimal(made.randrange(30_000, 2_000_000, 5_000))
        is_repaid = made.random() < 0.5
        days = 0 if is_repaid or made.random() < 0.7 else made.randint(1, 120)
        outstanding = Decimal(0) if is_repaid else amount * made.randint(5, 95) / 100
        yield _Contract(
            code=f"{made.randrange(10**9, 10**10)}",
            number=f"SS-{made.randrange(10**5, 10**6)}/{index + 1}",
            kind=made.choice(_KINDS),
            purpose=made.choice(_PURPOSES),
            lender=made.choice(_LENDERS),
            started=started,
            ends=ends,
            repaid=min(ends, _CUT_OFF) if is_repaid else None,
            amount=amount,
            outstanding=outstanding,
            overdue=outstanding * made.randint(5, 50) / 100 if days else Decimal(0),
            days=days,
            worst=max(days, made.choice((0, 0, 3, 17))),
        )


def _queries(iin: str, asked_here: int) -> Iterator[etree._Element]:
    made, count = _random(iin, "queries"), asked_here
    for days in (30, 90, 180, 360):
        count += made.randint(0, 3)
        yield _leaf(f"days{days}", str(count))


def _nobodys_bin(made: random.Random) -> str:
    while True:
        eleven = f"{made.randrange(5, 26):02d}{made.randrange(1, 13):02d}40{made.randrange(10**5):05d}"
        digit = check_digit(eleven)
        if digit is not None:
            return f"{eleven}{(digit + 1) % 10}"


def _random(iin: str, part: str) -> random.Random:
    return seeded("scb", part, iin)


def _leaf(name: str, text: str) -> etree._Element:
    return node(name, text=text)


def _money(value: Decimal) -> str:
    return f"{value:.2f}"
