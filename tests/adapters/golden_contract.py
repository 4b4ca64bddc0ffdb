"""A contract as a caller hands it in, and as a bureau gets it."""

from __future__ import annotations

import copy
from typing import Any

from qaqpa.model.disclosure import Extract
from qaqpa_adapters.dictionaries import Dictionaries
from qaqpa_adapters.upload_sandbox import DICTIONARIES

KNOWN = Dictionaries.model_validate(DICTIONARIES)
DATA = {
    "identity": {
        "iin": "900101300017",
        "last_name": "Құдайбергенов",
        "first_name": "Дәурен <&>",
        "middle_name": "Жәнібекұлы",
        "birth_date": "1990-01-01",
        "sex": "male",
        "citizenship": "KZ",
        "residency": "resident",
        "document": {
            "kind": "identity_card",
            "number": "045678912",
            "issued_on": "2020-02-01",
            "expires_on": "2030-01-31",
        },
    },
    "contact": {
        "mobile": "+77010000001",
        "registered_address": "г. Астана, пр. Тұран, д. 1",
        "registered_kato": "710000000",
        "residence_address": "г. Алматы, ул. Абая, д. 2",
        "residence_kato": "750000000",
    },
    "contract": {
        "number": "МК-2501-000001",
        "code": "CC-1",
        "signed_on": "2025-01-10",
        "matures_on": "2026-01-10",
        "amount": "300000.00",
        "currency": "KZT",
        "phase": "creditor_changed",
        "real_payment_date": "2026-01-12",
        "status": "in_arrears",
        "funding_type": "microcredit",
        "credit_purpose": "consumer",
        "credit_object": "other",
        "classification": "doubtful",
        "collateral": "none",
        "collateral_value": "0.00",
        "payment_method": "transfer",
        "payment_period": "each_month",
        "instalment_amount": "25000.00",
        "instalment_count": 12,
        "accounting_date": "2026-01-14",
        "outstanding_instalments": 4,
        "outstanding_amount": "100000.00",
        "overdue_instalments": 3,
        "overdue_amount": "75000.5",
        "fine": "10.00",
        "penalty": "0.50",
    },
}
GOLDEN = """<?xml version="1.0" encoding="UTF-8"?>
<Records xmlns="http://www.datapump.cig.com">
 <Contract operation="SB-put">
  <General>
   <ContractCode>CC-1</ContractCode><AgreementNumber>МК-2501-000001</AgreementNumber>
   <FundingType id="SB-mc"/><CreditPurpose2 id="SB-consumer"/><CreditObject id="SB-other"/>
   <ContractPhase id="8"/><ContractStatus id="SB-late"/>
   <StartDate>2025-01-10</StartDate><EndDate>2026-01-10</EndDate><RealPaymentDate>2026-01-12</RealPaymentDate>
   <Classification id="SB-dbt"/>
   <Collaterals><Collateral typeId="SB-none"><Value currency="KZT" typeId="SB-own">0.00</Value></Collateral></Collaterals>
   <Subjects><Subject roleId="SB-borrower"><Entity><Individual>
    <FirstName><Text language="ru-RU">Дәурен &lt;&amp;&gt;</Text></FirstName>
    <Surname><Text language="ru-RU">Құдайбергенов</Text></Surname>
    <FathersName><Text language="ru-RU">Жәнібекұлы</Text></FathersName>
    <Gender>SB-m</Gender><Classification id="SB-person"/><Residency id="SB-1"/>
    <DateOfBirth>1990-01-01</DateOfBirth><Citizenship id="SB-KZ"/>
    <Identifications>
     <Identification typeId="14" rank="1"><Number>900101300017</Number><RegistrationDate>2025-01-10</RegistrationDate>
     </Identification>
     <Identification typeId="7" rank="1"><Number>045678912</Number><RegistrationDate>2025-01-10</RegistrationDate>
      <IssueDate>2020-02-01</IssueDate><ExpirationDate>2030-01-31</ExpirationDate></Identification>
    </Identifications>
    <Addresses>
     <Address typeId="1" katoId="750000000"><StreetName><Text language="ru-RU">г. Алматы, ул. Абая, д. 2</Text></StreetName>
     </Address>
     <Address typeId="6" katoId="710000000"><StreetName><Text language="ru-RU">г. Астана, пр. Тұран, д. 1</Text></StreetName>
     </Address>
    </Addresses>
    <Communications><Communication typeId="SB-mobile">+77010000001</Communication></Communications>
   </Individual></Entity></Subject></Subjects>
  </General>
  <Type><Instalment paymentMethodId="SB-transfer" paymentPeriodId="SB-month">
   <TotalAmount currency="KZT">300000.00</TotalAmount><InstalmentAmount currency="KZT">25000.00</InstalmentAmount>
   <InstalmentCount>12</InstalmentCount>
   <Records><Record accountingDate="2026-01-14">
    <OutstandingInstalmentCount>4</OutstandingInstalmentCount><OutstandingAmount currency="KZT">100000.00</OutstandingAmount>
    <OverdueInstalmentCount>3</OverdueInstalmentCount><OverdueAmount currency="KZT">75000.5</OverdueAmount>
    <Fine currency="KZT">10.00</Fine><Penalty currency="KZT">0.50</Penalty>
   </Record></Records>
  </Instalment></Type>
 </Contract>
</Records>
"""  # noqa: E501 - a document is easier to compare in its own lines


def extract(*changes: tuple[str, Any]) -> Extract:
    """The golden contract with values at dotted paths changed; None takes one out."""
    data = copy.deepcopy(DATA)
    for path, value in changes:
        *groups, name = path.split(".")
        node: Any = data
        for group in groups:
            node = node[group]
        if value is None:
            node.pop(name, None)
        else:
            node[name] = value
    return Extract(data, (), withheld=(), consent_confirmed=False)
