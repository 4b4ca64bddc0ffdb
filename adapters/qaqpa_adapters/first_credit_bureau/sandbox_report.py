"""Invented credit histories for the bureau's sandbox: everything follows from the IIN, nobody in it exists.

Names of elements are the bureau's; values are made up. It holds no rule of the service itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from lxml import etree

from qaqpa_adapters.soap_sandbox import CUT_OFF, LONG_OVERDUE, Credit, Person, credits_of, node, seeded, two_places

_CITIES = ("Алматы", "Астана", "Шымкент", "Қарағанды", "Өскемен", "Ақтөбе")
_STREETS = ("Абай даңғылы", "ул. Сатпаева", "Достық көшесі", "ул. Гоголя")
_PURPOSES = ("Потребительские цели", "Приобретение товара", "На неотложные нужды")
_MARITAL = ("Холост/не замужем", "Женат/замужем", "Разведён(а)")
SEED = "fcb"


def score(iin: str) -> tuple[int, str]:
    """Score and risk grade."""
    points = _random(iin, "score").randint(300, 850)
    return points, "ABCDE"[min(4, (850 - points) // 110)]


def debt_burden(iin: str) -> tuple[Decimal, Decimal, Decimal]:
    """Ratio, monthly debt, monthly income; sums in tenge."""
    made = _random(iin, "burden")
    income = Decimal(made.randrange(120_000, 900_000, 500)).quantize(Decimal("0.01"))
    debt = Decimal(made.randrange(0, int(income * 6 // 10), 100)).quantize(Decimal("0.01"))
    return (debt / income).quantize(Decimal("0.0001")), debt, income


def root(iin: str, *, queries: int, report_code: str) -> etree._Element:
    """A whole `Root` about `iin`; `queries` is how often this sandbox was asked about them."""
    person = Person.of(iin)
    contracts = tuple(credits_of(SEED, iin, prefix="SB", purposes=_PURPOSES))
    existing = [contract for contract in contracts if not contract.repaid]
    terminated = [contract for contract in contracts if contract.repaid]
    return node(
        "Root",
        _header(person),
        _details(person),
        _addresses(person),
        _documents(person),
        node(
            "ClassificationOfBorrower",
            _leaf("BorrowerClassification", "Классификация заёмщика", "Физическое лицо", "1"),
            _leaf("Resident", "Резидентство", "Резидент", "1"),
            _leaf("Citizenship", "Гражданство", "Казахстан", "110"),
        ),
        node("NegativeData", *_negative(existing)),
        node(
            "SummaryInformation", _summary("ExistingContracts", existing), _summary("TerminatedContracts", terminated)
        ),
        node("ExistingContracts", *(_contract(contract) for contract in existing)),
        node("TerminatedContracts", *(_contract(contract) for contract in terminated)),
        node("InterconnectedSubjects"),
        _queries(iin, queries),
        node(
            "PublicSources",
            _leaf("WantedPersons", "Розыск", "не найден"),
            _leaf("Bankruptcy", "Банкротство", "не найден"),
        ),
        node(
            "Footer",
            _leaf("ReportCode", "Вид отчёта", report_code),
            _leaf("DateOfIssue", "Данные на", _day(CUT_OFF)),
        ),
    )


def _contract(credit: Credit) -> etree._Element:
    """As the bureau writes it. NumberOfOverdueInstalments holds days, whatever its name says."""
    return node(
        "Contract",
        _leaf("CodeOfContract", "Код контракта", credit.code),
        _leaf("AgreementNumber", "Номер договора", credit.number),
        _leaf("TypeOfFounding", "Вид финансирования", credit.kind, "1"),
        _leaf("PurposeOfCredit", "Цель кредита", credit.purpose, "3"),
        _leaf("ContractStatus", "Статус договора", credit.status, "5" if credit.repaid else "1"),
        _leaf("CurrencyCode", "Код валюты", "KZT", "398"),
        _leaf("DateOfCreditStart", "Дата начала", _day(credit.started)),
        _leaf("DateOfCreditEnd", "Дата окончания", _day(credit.ends)),
        _leaf("DateOfRealRepayment", "Фактическая дата погашения", _day(credit.repaid)),
        _leaf("LastUpdate", "Последнее обновление", _day(CUT_OFF)),
        node(
            "Collateral",
            _leaf("TypeOfGuarantee", "Вид обеспечения", "Без залога", "0"),
            _leaf("ValueOfGuarantee", "Стоимость обеспечения", ""),
        ),
        _leaf("TotalAmount", "Общая сумма кредита", two_places(credit.amount)),
        _leaf("OutstandingAmount", "Непогашенная сумма", two_places(credit.outstanding)),
        _leaf("OverdueAmount", "Сумма просроченных взносов", two_places(credit.overdue)),
        _leaf("NumberOfOverdueInstalments", "Количество дней просрочки", str(credit.days_overdue)),
        _leaf("NumberOfOverdueInstalmentsMax", "Максимальное количество дней просрочки", str(credit.worst)),
        _leaf("Fine", "Штраф", "0.00"),
        _leaf("Penalty", "Пеня", two_places(credit.overdue / 100)),
        _leaf("FinancialInstitution", "Кредитор", credit.lender),
        _leaf("SubjectRole", "Роль субъекта", "Заёмщик", "1"),
        node("PaymentsCalendar", *_years(credit)),
    )


def _years(credit: Credit) -> Iterator[etree._Element]:
    last = min(credit.repaid or CUT_OFF, CUT_OFF)
    for year in range(credit.started.year, last.year + 1):
        payments = []
        for month in range(1, 13):
            told = (credit.started.year, credit.started.month) <= (year, month) <= (last.year, last.month)
            now = told and credit.repaid is None and (year, month) == (last.year, last.month)
            payments.append(
                node(
                    "Payment",
                    number=str(month),
                    value=(str(credit.days_overdue) if now else "0") if told else "-",
                    overdue=(two_places(credit.overdue) if now else "0.00") if told else "-",
                    fine="0.00" if told else "-",
                    penalty="0.00" if told else "-",
                )
            )
        yield node("Year", *payments, title=str(year))


def _header(person: Person) -> etree._Element:
    sex = ("Мужской", "M") if person.sex == "male" else ("Женский", "F")
    return node(
        "Header",
        _leaf("FIUniqueNumberID", "Уникальный номер", f"{_random(person.iin, 'fi').randrange(10**7, 10**8)}"),
        _leaf("IIN", "ИИН", person.iin),
        _leaf("DateOfBirth", "Дата рождения", _day(person.born)),
        _leaf("Gender", "Пол", *sex),
        _leaf("Surname", "Фамилия", person.surname),
        _leaf("Name", "Имя", person.name),
        _leaf("FathersName", "Отчество", person.fathers_name),
        _leaf("MatrialStatus", "Семейное положение", _random(person.iin, "family").choice(_MARITAL), "1"),
    )


def _details(person: Person) -> etree._Element:
    made = _random(person.iin, "phones")
    return node(
        "SubjectDetails",
        _leaf("HomePhone", "Домашний телефон", f"+7727{made.randrange(2 * 10**6, 4 * 10**6)}"),
        _leaf("CellularPhone", "Сотовый телефон", f"+7700{made.randrange(10**6, 10**7)}"),
        _leaf("OfficePhone", "Рабочий телефон", ""),
        _leaf("Email", "E-mail", ""),
    )


def _addresses(person: Person) -> etree._Element:
    made = _random(person.iin, "addresses")
    return node(
        "SubjectsAddress",
        *(
            node(
                "Address",
                _leaf("Street", "Улица", f"{made.choice(_STREETS)}, {made.randint(1, 200)}"),
                _leaf("City", "Город", made.choice(_CITIES)),
                _leaf("AddressInserted", "Дата записи", _day(CUT_OFF - timedelta(days=made.randint(1, 700)))),
                title=title,
            )
            for title in ("Адрес проживания", "Адрес прописки")
        ),
    )


def _documents(person: Person) -> etree._Element:
    made = _random(person.iin, "documents")
    issued = CUT_OFF - timedelta(days=made.randint(30, 3000))
    return node(
        "IdentificationDocuments",
        node(
            "Document",
            _leaf("Name", "Вид документа", "Удостоверение личности", "7"),
            _leaf("Number", "Номер", f"{made.randrange(10**8, 10**9)}"),
            _leaf("DateOfIssuance", "Дата выдачи", _day(issued)),
            _leaf("IssuanceLocation", "Кем выдан", "МВД РК"),
            _leaf("DateOfExpiration", "Действителен до", _day(issued + timedelta(days=3652))),
            rank="1",
        ),
    )


def _negative(existing: list[Credit]) -> Iterator[etree._Element]:
    if any(contract.days_overdue > LONG_OVERDUE for contract in existing):
        yield node(
            "NegativeStatus",
            node(
                "NegativeStatusOfContract",
                _leaf("NegativeStatusOfContract", "Негативный статус договора", "Длительная просрочка", "3"),
                _leaf("RegistrationDate", "Дата записи", _day(CUT_OFF)),
            ),
            typeTitle="Текущие",
        )


def _summary(name: str, contracts: list[Credit]) -> etree._Element:
    role = node(
        "SubjectRole",
        _leaf("NumberOfContracts", "Количество договоров", str(len(contracts))),
        _leaf("TotalOutstandingDebt", "Общая непогашенная сумма", _sum(c.outstanding for c in contracts)),
        _leaf("TotalDebtOverdue", "Общая просроченная сумма", _sum(c.overdue for c in contracts)),
        id="1",
        title="Роль субъекта",
        value="Заёмщик",
    )
    return node(name, role)


def _queries(iin: str, asked_here: int) -> etree._Element:
    made, count = _random(iin, "queries"), asked_here
    leaves = []
    for days in (30, 90, 120, 180, 360):
        count += made.randint(0, 3)
        leaves.append(_leaf(f"Days{days}", f"За {days} дней", str(count)))
    return node("NumberOfQueries", *leaves)


def _leaf(name: str, title: str, value: str, code: str = "0") -> etree._Element:
    return node(name, id=code, title=title, value=value)


def _random(iin: str, part: str) -> random.Random:
    return seeded(SEED, part, iin)


def _day(day: date | None) -> str:
    return "" if day is None else day.strftime("%d.%m.%Y")


def _sum(values: Iterator[Decimal]) -> str:
    return two_places(sum(values, Decimal(0)))
