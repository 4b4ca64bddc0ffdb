"""Invented credit reports and pension contributions for the state bureau's sandbox: all follows from the IIN.

Elements of pension data are the pension centre's; those of the credit report are assumed (see `report`). Values are
made up, employers too: their numbers have a wrong check digit on purpose, so that they are nobody's. It holds no rule
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from lxml import etree

from qaqpa.model.identifiers import check_digit
from qaqpa_adapters.soap_sandbox import CUT_OFF, LONG_OVERDUE, Credit, Person, credits_of, node, seeded, two_places

SEED = "scb"
_PURPOSES = ("Потребительские цели", "На неотложные нужды")
_EMPLOYERS = ("ТОО «Пример Труд»", "ЖШС «Үлгі еңбек»", "АО «Образец Сервис»")
_CONTRIBUTION = Decimal("0.10")
"""Of the salary, as the law on pensions has it."""


def credit_report(iin: str, *, queries: int, number: int) -> etree._Element:
    """The whole report about `iin`; `queries` is how often this sandbox was asked about them."""
    person = Person.of(iin)
    contracts = tuple(credits_of(SEED, iin, prefix="SS", purposes=_PURPOSES))
    active = [contract for contract in contracts if contract.repaid is None]
    negative = "Длительная просрочка" if any(contract.days_overdue > LONG_OVERDUE for contract in active) else ""
    return node(
        "creditReport",
        _leaf("reportId", str(number)),
        _leaf("reportDate", f"{CUT_OFF.isoformat()}T09:00:00+05:00"),
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
            _leaf("outstandingAmount", two_places(sum((each.outstanding for each in active), Decimal()))),
            _leaf("overdueAmount", two_places(sum((each.overdue for each in active), Decimal()))),
            _leaf("maxOverdueDays", str(max((each.worst for each in contracts), default=0))),
        ),
        node("contracts", *(_contract(contract) for contract in contracts)),
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
        _leaf("responseDate", f"{CUT_OFF.isoformat()}T09:00:00+05:00"),
        _leaf("responseNumber", f"P-{number}"),
        *(
            node(
                "deductionsDetailed",
                _leaf("bin", employer_bin),
                _leaf("date", (CUT_OFF - timedelta(days=30 * month + made.randrange(5))).isoformat()),
                _leaf("name", employer),
                _leaf("amount", two_places(salary * _CONTRIBUTION)),
            )
            for month in range(6)
        ),
    )


def no_pension_data(iin: str, *, request: str) -> etree._Element:
    """The pension centre's `data` about somebody for whom nobody paid."""
    found = _leaf("responseCode", "NOT_FOUND"), _leaf("requestNumber", request), _leaf("requestIin", iin)
    return node("data", *found)


def _contract(credit: Credit) -> etree._Element:
    parts = {
        "contractCode": credit.code,
        "agreementNumber": credit.number,
        "phase": "terminated" if credit.repaid else "existing",
        "fundingType": credit.kind,
        "creditPurpose": credit.purpose,
        "contractStatus": credit.status,
        "subjectRole": "Заёмщик",
        "creditor": credit.lender,
        "currency": "KZT",
        "startDate": credit.started.isoformat(),
        "endDate": credit.ends.isoformat(),
        "realPaymentDate": credit.repaid.isoformat() if credit.repaid else "",
        "lastUpdate": CUT_OFF.isoformat(),
        "totalAmount": two_places(credit.amount),
        "outstandingAmount": two_places(credit.outstanding),
        "overdueAmount": two_places(credit.overdue),
        "overdueDays": str(credit.days_overdue),
        "maxOverdueDays": str(credit.worst),
        "fine": "0.00",
        "penalty": two_places(credit.overdue / 100),
    }
    return node("contract", *(_leaf(name, text) for name, text in parts.items()))


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
    return seeded(SEED, part, iin)


def _leaf(name: str, text: str) -> etree._Element:
    return node(name, text=text)
