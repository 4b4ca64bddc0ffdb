"""How the tests of sandboxes speak to them: plain text and httpx, nothing of the product's own encoders."""

from __future__ import annotations

import ssl

import httpx
from lxml import etree

from qaqpa.testing.sandbox import Sandbox
from qaqpa_adapters.first_credit_bureau.sandbox import FirstCreditBureauSandbox

IIN = "900101300017"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
REPORT = (
    "http://ws.creditinfo.com/",
    "GetReport",
    "ru-RU",
    (
        "<s:reportId>4</s:reportId><s:doc><keyValue><reportImportCode>4</reportImportCode><idNumber>@IIN@</idNumber>"
        "<idNumberType>14</idNumberType><ConsentConfirmed>1</ConsentConfirmed></keyValue></s:doc>"
    ),
)
SCORE = (
    "http://score.ws.creditinfo.com/",
    "Score",
    "ru-RU",
    (
        "<s:ScoreCard>Card</s:ScoreCard>"
        "<s:attributes><s:name>ConsentConfirmed</s:name><s:value>1</s:value></s:attributes>"
        "<s:attributes><s:name>IIN</s:name><s:value>@IIN@</s:value></s:attributes>"
    ),
)
BURDEN = (
    "http://kdn2.ws.creditinfo.com/",
    "StorekdnReqV2",
    "RU",
    (
        "<s:applicationReq><s:IIN>@IIN@</s:IIN><s:Lastname>Ахметов</s:Lastname><s:Firstname>Ерлан</s:Firstname>"
        "<s:Middlename/><s:Birthdate>1990-01-01</s:Birthdate><s:consentConfirmed>1</s:consentConfirmed></s:applicationReq>"
    ),
)
URLS = {REPORT: "QAQPA_FCB_REPORT_URL", SCORE: "QAQPA_FCB_SCORE_URL", BURDEN: "QAQPA_FCB_DEBT_BURDEN_URL"}


def client_of(sandbox: Sandbox, **options: object) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    return httpx.AsyncClient(verify=context, trust_env=False, timeout=options.pop("timeout", 5.0), **options)


def envelope(sandbox: FirstCreditBureauSandbox, service: tuple[str, ...], iin: str = IIN) -> str:
    namespace, operation, culture, inner = service
    return (
        f'<e:Envelope xmlns:e="{SOAP}" xmlns:s="{namespace}"><e:Header><s:CigWsHeader>'
        f"<s:Culture>{culture}</s:Culture><s:Password>{sandbox.password}</s:Password><s:SecurityToken/>"
        f"<s:UserId>0</s:UserId><s:UserName>{sandbox.user}</s:UserName><s:Version/></s:CigWsHeader></e:Header>"
        f"<e:Body><s:{operation}>{inner.replace('@IIN@', iin)}</s:{operation}></e:Body></e:Envelope>"
    )


async def ask(
    client: httpx.AsyncClient,
    bureau: FirstCreditBureauSandbox,
    service: tuple[str, ...] = REPORT,
    *,
    iin: str = IIN,
    change: tuple[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    text = envelope(bureau, service, iin)
    if change is not None:
        assert change[0] in text
        text = text.replace(*change)
    sent = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{service[0]}{service[1]}"', **(headers or {})}
    return await client.post(bureau.environment[URLS[service]], content=text.encode(), headers=sent)


def local(response: httpx.Response, name: str) -> etree._Element | None:
    found = etree.fromstring(response.content).xpath(f"//*[local-name()='{name}']")
    return found[0] if found else None


def text_of(response: httpx.Response, name: str) -> str | None:
    found = local(response, name)
    return None if found is None else found.text
