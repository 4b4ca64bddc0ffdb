"""The state bureau's sandbox: what it answers in which form, and each reason for which it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from lxml import etree
from sandbox_calls import IIN, SOAP, client_of

from qaqpa.model.disclosure import Reply
from qaqpa.model.identifiers import check_iin
from qaqpa.testing.contract import EXCHANGE
from qaqpa.testing.sandbox import Fault, another_iin
from qaqpa_adapters.state_credit_bureau.report import contributions, credit_report
from qaqpa_adapters.state_credit_bureau.sandbox import Form, StateCreditBureauSandbox

REPORT = (
    "QAQPA_SCB_REPORT_URL",
    "http://report.chdb.scb.kz",
    (
        "<d:requestXmlCreditReport><reportRequest><generationParams><language>ru</language>"
        "<outputFormats>XML</outputFormats><reportType>extendedReport</reportType></generationParams>"
        '<reportParams x:type="d:personCreditReportParams"><iin>@IIN@</iin><new>true</new>'
        "<consentConfirmed>true</consentConfirmed></reportParams></reportRequest></d:requestXmlCreditReport>"
    ),
)
PENSION = (
    "QAQPA_SCB_PENSION_URL",
    "http://data.gbd.chdb.scb.kz/",
    (
        "<d:getPensionInfo><iin>@IIN@</iin><requestType>DEDUCTION_6</requestType>"
        "<requestNumber>0198c5a0-0000-7000-8000-000000000001</requestNumber></d:getPensionInfo>"
    ),
)
SERVICES = pytest.mark.parametrize("service", [REPORT, PENSION], ids=["report", "pension"])
READERS = {REPORT: credit_report, PENSION: contributions}


@pytest.fixture
async def bureau() -> AsyncIterator[StateCreditBureauSandbox]:
    async with StateCreditBureauSandbox(unknown_share=0, no_report_share=0) as sandbox:
        yield sandbox


@pytest.fixture
async def client(bureau: StateCreditBureauSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(bureau) as client:
        yield client


async def ask(client, bureau, service=REPORT, *, iin=IIN, change=None, headers=None, **options):
    variable, namespace, inner = service
    text = (
        f'<e:Envelope xmlns:e="{SOAP}" xmlns:d="{namespace}" xmlns:x="http://www.w3.org/2001/XMLSchema-instance">'
        f"<e:Header><userId>{bureau.user_id}</userId></e:Header>"
        f"<e:Body>{inner.replace('@IIN@', iin)}</e:Body></e:Envelope>"
    )
    if change is not None:
        assert change[0] in text
        text = text.replace(*change)
    return await client.post(
        bureau.environment[variable],
        content=text.encode(),
        headers={"Content-Type": "text/xml; charset=utf-8", **(headers or {})},
        **{"auth": (bureau.user, bureau.password), **options},
    )


def reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.content, response.headers["content-type"])


def code_of(response: httpx.Response) -> str | None:
    return etree.fromstring(response.content).findtext(f".//{{{SOAP}}}Fault/detail/code")


@SERVICES
@pytest.mark.parametrize("form", Form)
async def test_each_service_answers_about_the_person_asked_in_each_form(service, form):
    async with (
        StateCreditBureauSandbox(unknown_share=0, no_report_share=0, form=form) as bureau,
        client_of(bureau) as client,
    ):
        response = await ask(client, bureau, service)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("multipart/related") is (form is Form.XOP)
        report = READERS[service](reply(response), EXCHANGE)
        assert report.about == IIN
        call = bureau.calls[0]
        assert (call.accepted, call.iin, bureau.billed, bureau.queries[IIN]) == (True, IIN, 1, 1)


async def test_an_attached_report_is_a_part_of_its_own_and_the_envelope_points_at_it():
    async with (
        StateCreditBureauSandbox(unknown_share=0, no_report_share=0, form=Form.XOP) as bureau,
        client_of(bureau) as client,
    ):
        response = await ask(client, bureau)
    assert b"<creditReport>" not in response.content.partition(b"</S:Envelope>")[0]
    assert b"cid:report%40scb.kz.invalid" in response.content
    assert b"Content-ID: <report@scb.kz.invalid>" in response.content


async def test_people_get_their_answers_in_different_forms_and_each_always_in_one(bureau, client):
    iin, seen = IIN, set()
    while len(seen) < 3:
        iin = another_iin(iin)
        forms = []
        for _ in range(2):
            response = await ask(client, bureau, iin=iin)
            packed = response.headers["content-type"].startswith("multipart")
            forms.append("xop" if packed else "inline" if b"<creditReport>" in response.content else "base64")
            assert credit_report(reply(response), EXCHANGE).about == iin
        assert forms[0] == forms[1]
        seen.add(forms[0])


async def test_the_number_of_queries_grows_with_each(bureau, client):
    counts = [credit_report(reply(await ask(client, bureau)), EXCHANGE).data["queries_30_days"] for _ in range(3)]
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]


async def test_contributions_are_six_and_their_employer_is_nobody(bureau, client):
    found = contributions(reply(await ask(client, bureau, PENSION)), EXCHANGE).data["contributions"]
    assert len(found) == 6
    with pytest.raises(ValueError):
        check_iin(found[0]["employer_bin"])


@SERVICES
async def test_a_wrong_login_is_refused_by_http(bureau, client, service):
    for login in ((bureau.user, "x"), ("x", bureau.password), None):
        assert (await ask(client, bureau, service, auth=login)).status_code == 401
    assert [(call.accepted, call.problem) for call in bureau.calls] == [(False, "login refused")] * 3
    assert (bureau.billed, bureau.queries.total()) == (0, 0)


@pytest.mark.parametrize(
    ("service", "change", "code"),
    [
        (REPORT, ("<userId>", "<userId>0"), "USER_NOT_FOUND"),
        (REPORT, ("<userId>", "<userId/><userId>"), "USER_NOT_FOUND"),
        (PENSION, ("userId>", "d:userId>"), "USER_NOT_FOUND"),
        (REPORT, ('x:type="d:personCreditReportParams"', ""), "INVALID_PARAMS"),
        (REPORT, ("d:personCreditReportParams", "personCreditReportParams"), "INVALID_PARAMS"),
        (REPORT, ("d:personCreditReportParams", "d:organizationCreditReportParams"), "INVALID_PARAMS"),
        (REPORT, (">XML<", ">PDF<"), "INVALID_PARAMS"),
        (REPORT, (">extendedReport<", "><"), "INVALID_PARAMS"),
        (REPORT, ("<new>true</new>", "<new>1</new>"), "INVALID_PARAMS"),
        (REPORT, ("reportParams", "reportParam"), "INVALID_PARAMS"),
        (REPORT, (IIN, IIN[:-1] + "8"), "INVALID_PARAMS"),
        (REPORT, (">true</consent", ">false</consent"), "CONSENT_REQUIRED"),
        (REPORT, ("<consentConfirmed>true</consentConfirmed>", ""), "CONSENT_REQUIRED"),
        (PENSION, (IIN, ""), "INVALID_PARAMS"),
        (PENSION, ("DEDUCTION_6", "DEDUCTION_12"), "INVALID_PARAMS"),
        (PENSION, ("0198c5a0-", ""), "INVALID_PARAMS"),
    ],
)
async def test_the_bureau_refuses_with_its_code_and_bills_nothing(bureau, client, service, change, code):
    response = await ask(client, bureau, service, change=change)
    assert (response.status_code, code_of(response)) == (500, code)
    assert not bureau.calls[0].accepted
    assert bureau.calls[0].problem.startswith(f"{code}: ")
    assert (bureau.billed, bureau.queries.total()) == (0, 0)


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        (None, {"Content-Type": "application/soap+xml"}, 415),
        ((SOAP, "http://www.w3.org/2003/05/soap-envelope"), {}, 500),
        (("http://report.chdb.scb.kz", "http://report.chdb.scb.kz/"), {}, 500),
        (("</e:Envelope>", ""), {}, 400),
        (("<e:Envelope", "<!DOCTYPE x [<!ENTITY y 'z'>]><e:Envelope"), {}, 400),
    ],
)
async def test_what_is_not_the_bureaus_soap_is_refused_by_http_or_soap(bureau, client, change, headers, status):
    response = await ask(client, bureau, change=change, headers=headers)
    assert response.status_code == status
    assert (status == 500) is (response.headers["content-type"].startswith("text/xml"))
    assert not bureau.calls[0].accepted


async def test_some_people_are_unknown_and_some_have_no_report():
    async with StateCreditBureauSandbox(unknown_share=1) as bureau, client_of(bureau) as client:
        assert code_of(await ask(client, bureau)) == "SUBJECT_NOT_FOUND"
        assert (bureau.calls[0].accepted, bureau.billed, bureau.queries[IIN]) == (True, 0, 1)
        assert b"<responseCode>NOT_FOUND<" in (await ask(client, bureau, PENSION)).content
        assert not bureau.knows(IIN)
        bureau.fault = Fault.WRONG_SUBJECT
        assert credit_report(reply(await ask(client, bureau)), EXCHANGE).about == another_iin(IIN)
    async with StateCreditBureauSandbox(unknown_share=0, no_report_share=1) as bureau, client_of(bureau) as client:
        assert code_of(await ask(client, bureau)) == "REPORT_NOT_FOUND"
