"""Sample answers of the First Credit Bureau, and short ways to write and read with its adapter."""

from __future__ import annotations

from datetime import date
from typing import Any

from lxml import etree
from pydantic import SecretStr

from qaqpa.model.disclosure import Extract, Reply, Report
from qaqpa.testing.contract import EXCHANGE
from qaqpa.testing.people import people
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau, FirstCreditBureauSettings

NAMES = {
    "s": "http://schemas.xmlsoap.org/soap/envelope/",
    "r": "http://ws.creditinfo.com/",
    "c": "http://score.ws.creditinfo.com/",
    "k": "http://kdn2.ws.creditinfo.com/",
}
SETTINGS = FirstCreditBureauSettings(user_name=SecretStr("lender"), password=SecretStr('p<&>"w'))
PERSON = people(1, today=date(2026, 11, 23))[0]
IIN = PERSON.iin


def soap(inside: str) -> bytes:
    head = f'<?xml version="1.0" encoding="UTF-8"?><S:Envelope xmlns:S="{NAMES["s"]}">'
    return f"{head}<S:Body>{inside}</S:Body></S:Envelope>".encode()


def report_answer(root: str, head: str = "") -> bytes:
    return soap(
        f'<GetReportResponse xmlns="{NAMES["r"]}"><GetReportResult><CigResult xmlns="" Version="2">{head}'
        f"<Result><Root>{root}</Root></Result></CigResult></GetReportResult></GetReportResponse>"
    )


def leaf(name: str, value: object) -> str:
    return f'<{name} id="1" title="Заголовок" value="{value}"/>'


def contract(number: str, **leaves: object) -> str:
    inside = "".join(leaf(*item) for item in leaves.items())
    return f"<Contract ContractTypeCode='x'>{leaf('AgreementNumber', number)}{inside}</Contract>"


HEADER = (
    leaf("FIUniqueNumberID", "FI-1")
    + f"<IIN>{IIN}</IIN>"
    + leaf("DateOfBirth", "23.07.1989")
    + leaf("Gender", "Мужской")
    + leaf("Surname", "Құдайбергенов")
    + leaf("Name", "Дәурен")
    + leaf("FathersName", "Жәнібекұлы")
    + leaf("MatrialStatus", "Женат")
)
SUMMARY = (
    '<ExistingContracts title="Действующие">'
    '<SubjectRole title="Заёмщик"><NumberOfContracts value="1"/><TotalOutstandingDebt value="150 000,50"/>'
    '<TotalDebtOverdue value="12 000.25 KZT"/></SubjectRole>'
    '<SubjectRole title="Гарант"><NumberOfContracts value="1"/><TotalOutstandingDebt value="1000"/>'
    '<TotalDebtOverdue value="-"/></SubjectRole></ExistingContracts>'
    '<TerminatedContracts><SubjectRole><NumberOfContracts value="3"/></SubjectRole></TerminatedContracts>'
)
CALENDAR = (
    '<PaymentsCalendar><Year title="2026"><Payment number="1" value="35" overdue="12 000,25" fine="10" penalty="0.5"/>'
    '<Payment number="2" value="-" overdue="" fine="" penalty=""/></Year></PaymentsCalendar>'
)
EXISTING = contract(
    "Д-100/26",
    CodeOfContract="CC-1",
    TypeOfFounding="Микрокредит",
    PurposeOfCredit="Потребительские цели",
    ContractStatus="Просрочен",
    SubjectRole="Заёмщик",
    FinancialInstitution="МФО &quot;Тест&quot;",
    CurrencyCode="KZT",
    DateOfCreditStart="05.01.2026",
    DateOfCreditEnd="2026-12-31T00:00:00",
    LastUpdate="20.11.2026 9:05:07",
    TotalAmount="200 000.00",
    OutstandingAmount="150000,50",
    OverdueAmount="12000.25",
    NumberOfOverdueInstalments="35",
    NumberOfOverdueInstalmentsMax="61",
    Fine="10",
    Penalty="0,5",
).replace(
    "</Contract>",
    f'<Collateral><TypeOfGuarantee value="Авто"/><ValueOfGuarantee value="500000"/></Collateral>{CALENDAR}</Contract>',
)
ROOT = (
    f"<Header>{HEADER}</Header><SubjectDetails>{leaf('CellularPhone', '+77010000001')}</SubjectDetails>"
    f"<SubjectsAddress><Address title='Место жительства'>{leaf('City', 'Алматы')}{leaf('Street', 'Абая 1')}"
    f"{leaf('HomePhone', '-')}</Address><Address value='г. Астана, Тұран 2'/></SubjectsAddress>"
    f"<IdentificationDocuments><Document rank='1'>{leaf('Name', 'Удостоверение личности')}"
    f"{leaf('Number', '091963043')}{leaf('DateOfIssuance', '01.02.2020')}</Document></IdentificationDocuments>"
    f"<ClassificationOfBorrower>{leaf('BorrowerClassification', 'Физическое лицо')}{leaf('Citizenship', 'Казахстан')}"
    "</ClassificationOfBorrower><NegativeData><NegativeStatus><NegativeStatusOfClient>"
    f"{leaf('NegativeStatusOfClient', 'Розыск')}</NegativeStatusOfClient><NegativeStatusOfContract>"
    f"{leaf('NegativeStatusOfContract', 'Взыскание')}{leaf('RegistrationDate', '01.01.2026')}"
    f"</NegativeStatusOfContract></NegativeStatus></NegativeData><SummaryInformation>{SUMMARY}</SummaryInformation>"
    f"<ExistingContracts>{EXISTING}</ExistingContracts><TerminatedContracts>"
    f"{contract('Д-7', DateOfRealRepayment='2024-03-01', TotalAmount='90 000 USD', NumberOfOverdueInstalmentsMax=5)}"
    "</TerminatedContracts><InterconnectedSubjects/><NumberOfQueries>"
    + "".join(leaf(f"Days{days}", n) for n, days in enumerate((30, 90, 120, 180, 360), start=1))
    + "</NumberOfQueries><PublicSources/><Footer/>"
)
REPORT_ANSWER = report_answer(
    ROOT, leaf("DateTime", "20.11.2026 09:05:07") + "<ReferenceId>8800553535</ReferenceId><ResultCode>0</ResultCode>"
)
SCORE_ANSWER = soap(
    f'<ScoreResponse xmlns="{NAMES["c"]}"><return><IdQuery>36190001</IdQuery><ErrorCode>0</ErrorCode>'
    "<ErrorString>Выполнено успешно</ErrorString><Score>673.0</Score><RiskGrade>B1</RiskGrade></return></ScoreResponse>"
)
DEBT_ANSWER = soap(
    f'<k:kdnReqResponse xmlns:k="{NAMES["k"]}"><k:return><k:applicationReport><k:RequestId>1001</k:RequestId>'
    f"<k:dateApplication>2026-11-20</k:dateApplication><k:IIN>{IIN}</k:IIN><k:kdn_score>0,4512</k:kdn_score>"
    "<k:debt>112800.004</k:debt><k:income>2.5E5</k:income></k:applicationReport>"
    "<k:ReportDate>2026-11-20T09:05:07+05:00</k:ReportDate><k:Id>70010002</k:Id><k:errorCode>0</k:errorCode></k:return>"
    "</k:kdnReqResponse>"
)
ANSWERS = {"credit_report": REPORT_ANSWER, "score": SCORE_ANSWER, "debt_burden": DEBT_ANSWER}

BUREAU = FirstCreditBureau(SETTINGS)


def extract(*, consent: bool = True, **changed: Any) -> Extract:
    names = ("iin", "last_name", "first_name", "middle_name", "birth_date")
    identity = {name: PERSON.data["identity"][name] for name in names} | changed
    present = {name: value for name, value in identity.items() if value is not None}
    return Extract({"identity": present}, (), withheld=(), consent_confirmed=consent)


def written(operation: str, found: Extract | None = None, settings: FirstCreditBureauSettings = SETTINGS) -> Any:
    return etree.fromstring(FirstCreditBureau(settings).encode(operation, found or extract(), EXCHANGE).body)


def read(operation: str, body: bytes, status: int = 200) -> Report:
    return BUREAU.decode(operation, Reply(status, body, "text/xml"), EXCHANGE)
