"""The bureau's sandbox: what it answers, and each reason for which it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from lxml import etree
from sandbox_calls import BURDEN, IIN, REPORT, SCORE, SOAP, ask, client_of, local, text_of

from qaqpa.testing.sandbox import Fault, another_iin
from qaqpa_adapters.first_credit_bureau.sandbox import FirstCreditBureauSandbox
from qaqpa_adapters.soap_sandbox import Person


@pytest.fixture
async def bureau() -> AsyncIterator[FirstCreditBureauSandbox]:
    async with FirstCreditBureauSandbox(unknown_share=0, no_report_share=0) as sandbox:
        yield sandbox


@pytest.fixture
async def client(bureau: FirstCreditBureauSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(bureau) as client:
        yield client


@pytest.mark.parametrize("service", [REPORT, SCORE, BURDEN], ids=lambda service: service[1])
async def test_each_service_answers_about_the_person_asked(bureau, client, service):
    response = await ask(client, bureau, service)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/xml; charset=utf-8"
    assert bureau.calls[0].accepted
    if service is SCORE:
        assert 300 <= float(text_of(response, "Score")) <= 850
        assert (text_of(response, "ErrorCode"), len(text_of(response, "RiskGrade"))) == ("0", 1)
    elif service is BURDEN:
        assert (text_of(response, "IIN"), text_of(response, "errorCode")) == (IIN, "0")
    else:
        assert local(response, "IIN").get("value") == IIN


SECTIONS = [
    "Header",
    "SubjectDetails",
    "SubjectsAddress",
    "IdentificationDocuments",
    "ClassificationOfBorrower",
    "NegativeData",
    "SummaryInformation",
    "ExistingContracts",
    "TerminatedContracts",
    "InterconnectedSubjects",
    "NumberOfQueries",
    "PublicSources",
    "Footer",
]


async def test_a_report_has_every_section_and_says_what_the_iin_says(bureau, client):
    response = await ask(client, bureau)
    root = local(response, "Root")
    assert [section.tag for section in root] == SECTIONS
    assert root.find("Header/DateOfBirth").get("value") == "01.01.1990"
    assert root.find("Header/Gender").get("value") == "Мужской"
    assert set(root.find("Header/Surname").attrib) == {"id", "title", "value"}
    found = local(response, "CigResult")
    assert found.get("Version")
    assert [part.tag for part in found] == [
        "DateTime",
        "ReferenceId",
        "ServiceName",
        "ResultCode",
        "UsageIdentity",
        "Result",
    ]


async def test_a_contract_has_its_payment_calendar(bureau, client):
    iin, contract = IIN, None
    while contract is None:
        iin = another_iin(iin)
        contract = local(await ask(client, bureau, iin=iin), "Contract")
    payments = contract.findall("PaymentsCalendar/Year/Payment")
    assert len(payments) % 12 == 0 < len(payments)
    assert set(payments[0].attrib) == {"number", "value", "overdue", "fine", "penalty"}


async def test_the_number_of_queries_grows_with_each_and_nothing_else_changes(bureau, client):
    first = local(await ask(client, bureau), "Root")
    second = local(await ask(client, bureau), "Root")
    for days in (30, 90, 120, 180, 360):
        path = f"NumberOfQueries/Days{days}"
        assert int(second.find(path).get("value")) == int(first.find(path).get("value")) + 1
    for root in (first, second):
        root.remove(root.find("NumberOfQueries"))
    assert etree.tostring(first) == etree.tostring(second)


@pytest.mark.parametrize(
    ("service", "change", "code"),
    [
        (REPORT, ("<s:UserName>", "<s:UserName>not-"), "1104"),
        (REPORT, ("<s:Password>", "<s:Password>not-"), "1104"),
        (REPORT, ("<s:Culture>ru-RU</s:Culture>", ""), "1104"),
        (REPORT, ("<s:Version/>", "<s:Version/><s:Version/>"), "1104"),
        (REPORT, ("<s:Version/>", "<s:Extra/>"), "1104"),
        (REPORT, ("s:CigWsHeader>", "CigWsHeader>"), "1104"),
        (REPORT, ("ru-RU", "fr-FR"), "1103"),
        (REPORT, ("<keyValue>", '<keyValue xmlns="http://ws.creditinfo.com/">'), "1101"),
        (REPORT, ("<reportImportCode>4<", "<reportImportCode>5<"), "1105"),
        (REPORT, ("<idNumberType>14<", "<idNumberType>7<"), "1107"),
        (REPORT, (IIN, IIN[:-1] + "8"), "1107"),
        (REPORT, (IIN, ""), "1107"),
        (REPORT, ("<ConsentConfirmed>1<", "<ConsentConfirmed>0<"), "1106"),
        (REPORT, ("<ConsentConfirmed>1</ConsentConfirmed>", ""), "1106"),
        (SCORE, ("<s:Password>", "<s:Password>not-"), "-1000"),
        (SCORE, ("<s:Culture>ru-RU</s:Culture>", ""), "-1000"),
        (SCORE, ("ConsentConfirmed</s:name><s:value>1<", "ConsentConfirmed</s:name><s:value>0<"), "-1017"),
        (SCORE, (IIN, IIN[:-1] + "8"), "-1"),
        (SCORE, ("<s:ScoreCard>Card</s:ScoreCard>", ""), "-1"),
        (BURDEN, ("<s:Password>", "<s:Password>not-"), "-1000"),
        (BURDEN, ("<s:consentConfirmed>1<", "<s:consentConfirmed>0<"), "-1017"),
        (BURDEN, (IIN, "1" * 12), "-1"),
        (BURDEN, ("Ахметов", ""), "-1"),
        (BURDEN, ("1990-01-01", "01.01.1990"), "-1"),
        (BURDEN, (">RU<", ">ru-RU<"), "-1"),
    ],
)
async def test_the_bureau_refuses_with_its_code_and_bills_nothing(bureau, client, service, change, code):
    response = await ask(client, bureau, service, change=change)
    assert response.status_code == 200
    found = local(response, "Errmessage")
    said = text_of(response, "ErrorCode") or text_of(response, "errorCode") if found is None else found.get("code")
    assert said == code
    assert not bureau.calls[0].accepted
    assert bureau.calls[0].problem.startswith(f"{code}: ")
    assert (bureau.billed, bureau.queries.total()) == (0, 0)


@pytest.mark.parametrize("left_out", ["<s:SecurityToken/>", "<s:UserId>0</s:UserId>", "<s:Version/>"])
async def test_half_of_the_header_may_be_left_out_as_clients_do(bureau, client, left_out):
    assert local(await ask(client, bureau, change=(left_out, "")), "CigResult") is not None


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        (None, {"Content-Type": "application/soap+xml"}, 415),
        (None, {"SOAPAction": '"GetReport"'}, 500),
        (None, {"SOAPAction": ""}, 500),
        ((SOAP, "http://www.w3.org/2003/05/soap-envelope"), {}, 500),
        (("http://ws.creditinfo.com/", "http://ws.creditinfo.com"), {}, 500),
        (("<s:reportId>4<", "<s:reportId>x<"), {}, 500),
        (("</e:Envelope>", ""), {}, 400),
        (("<e:Envelope", "<!DOCTYPE x [<!ENTITY y 'z'>]><e:Envelope"), {}, 400),
        (("<e:Envelope", '<?xml version="1.0" encoding="nonsense"?><e:Envelope'), {}, 400),
    ],
)
async def test_what_is_not_the_bureaus_soap_is_refused_by_http_or_soap(bureau, client, change, headers, status):
    response = await ask(client, bureau, change=change, headers=headers)
    assert response.status_code == status
    assert (status == 500) is (response.headers["content-type"].startswith("text/xml"))
    assert not bureau.calls[0].accepted


async def test_some_people_are_unknown_and_some_have_no_report():
    async with FirstCreditBureauSandbox(unknown_share=1) as bureau, client_of(bureau) as client:
        assert local(await ask(client, bureau), "Errmessage").get("code") == "1102"
        assert (bureau.calls[0].accepted, bureau.billed, bureau.queries[IIN]) == (True, 0, 1)
        bureau.fault = Fault.WRONG_SUBJECT
        assert local(await ask(client, bureau), "IIN").get("value") == another_iin(IIN)
    async with FirstCreditBureauSandbox(unknown_share=0, no_report_share=1) as bureau, client_of(bureau) as client:
        assert local(await ask(client, bureau), "Errmessage").get("code") == "1108"


def test_an_invented_person_has_the_sex_and_birth_date_of_the_iin():
    woman = Person.of(another_iin("010229600000"))
    assert (woman.sex, woman.surname[-1], woman.born.isoformat()) == ("female", "а", "1980-01-01")
