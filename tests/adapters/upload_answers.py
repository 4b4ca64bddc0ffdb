"""Contracts to upload, and sample answers of both bureaus about batches."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

from bureau_answers import SETTINGS as FCB_SETTINGS
from bureau_answers import soap
from state_bureau_answers import SETTINGS as SCB_SETTINGS

from qaqpa.config.recipients import FieldRule
from qaqpa.minimise import Context, minimise
from qaqpa.model.batch import BatchState, BatchStatus, Remark
from qaqpa.model.disclosure import Extract, Reply
from qaqpa.testing.people import Person, people
from qaqpa_adapters.batches import UPLOAD
from qaqpa_adapters.dictionaries import Dictionaries
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau
from qaqpa_adapters.state_credit_bureau import StateCreditBureau
from qaqpa_adapters.upload_sandbox import DICTIONARIES

TODAY = date(2026, 1, 15)
"""The day of the contract suite's exchange."""
PEOPLE = people(6, today=TODAY)
XML = "text/xml; charset=utf-8"

FCB = FirstCreditBureau(
    FCB_SETTINGS.model_copy(update={"dictionaries": Dictionaries.model_validate(DICTIONARIES), "schema_id": 3})
)
STATES = {"Файл получен": "pending", "Файл обработан": "accepted", "Ошибка обработки": "rejected"}
SCB = StateCreditBureau(
    SCB_SETTINGS.model_copy(
        update={
            "dictionaries": Dictionaries.model_validate(
                {**DICTIONARIES, "message_type": {"201": "warning"}, "batch_status": STATES}
            ),
            "file_type": 1,
        }
    )
)


def told(person: Person, **contract: Any) -> Extract:
    """A row: what an upload may carry of the person, with some of the contract changed."""
    data = copy.deepcopy(person.data)
    data["contract"] = {key: value for key, value in (data["contract"] | contract).items() if value is not None}
    return minimise(
        data,
        {path: FieldRule(path=path) for path in UPLOAD.uses},
        consent_confirmed=False,
        context=Context(TODAY),
    )


ROWS = [told(person) for person in PEOPLE[:5]] + [told(PEOPLE[5], phase="open", real_payment_date=None)]
CODES = [row.get("contract.code") for row in ROWS]
NUMBERS = [row.get("contract.number") for row in ROWS]


# --- the first bureau ---


def message(kind: str, group: str, values: str) -> str:
    return (
        f'<Message GroupId="{group}" GroupName="Контракт" TypeId="{kind}" TypeName="x">'
        f"<Description>Сумма просрочки</Description><Values>{values}</Values></Message>"
    )


def batch(operation: str, state: str, messages: str = "", number: str = "7000001") -> Reply:
    body = soap(
        f'<{operation}Response xmlns="https://ws.creditinfo.com"><{operation}Result><CigResult xmlns="" Version="1">'
        f"<DateTime>15.01.2026</DateTime><ResultCode/><Result><Batch Id='{number}' Inserted='x' SchemaId='3' "
        f"StatusId='{state}' StatusName='Принят'>{messages}</Batch></Result></CigResult></{operation}Result>"
        f"</{operation}Response>"
    )
    return Reply(200, body, XML)


FCB_TAKEN = (batch("UploadZippedData2", "519"), "7000001")
FCB_SAID = (
    message("1", "103", CODES[1])
    + message("2", "201", f"ContractCode={CODES[2]}; 3")
    + message("9", "77", "a person's name")
    + message("1", "5", f"{CODES[0]} {CODES[3]}")
    + message("1", "900101300017", CODES[3])
    + message("1", "6", f"№ договора: {NUMBERS[4]} ({CODES[4]})")
)
FCB_REMARKS = {
    # A type that stands in no table counts as an error; a remark that names two contracts is about none.
    "rejections": (
        Remark(3, "1.103"),
        Remark(None, "9.77"),
        Remark(None, "1.5"),
        Remark(5, "unnamed"),
        Remark(6, "1.6"),
    ),
    "warnings": (Remark(4, "2.201"),),
}
FCB_TOLD = [
    ("7000001", batch("GetBatchStatus3", "519"), BatchStatus(BatchState.PENDING, "519")),
    ("7000001", batch("GetBatchStatus3", "520"), BatchStatus(BatchState.PENDING, "520")),
    ("7000001", batch("GetBatchStatus3", "524"), BatchStatus(BatchState.PENDING, "524")),
    ("7000001", batch("GetBatchStatus3", "525"), BatchStatus(BatchState.REJECTED, "525")),
    ("7000001", batch("GetBatchStatus3", "527"), BatchStatus(BatchState.REJECTED, "527")),
    ("7000001", batch("GetBatchStatus3", "533"), BatchStatus(BatchState.ACCEPTED, "533")),
    (
        "7000001",
        batch("GetBatchStatus3", "532", FCB_SAID),
        BatchStatus(BatchState.ACCEPTED_WITH_WARNINGS, "532", **FCB_REMARKS),
    ),
    (
        "7000001",
        batch("GetBatchStatus3", "533", message("2", "1", "")),
        BatchStatus(BatchState.ACCEPTED_WITH_WARNINGS, "533", warnings=(Remark(None, "2.1"),)),
    ),
]


# --- the state bureau ---


def package(words: str, *, contracts: int = 6, skipped: int = 0, errors: int = 0, number: str = "51") -> Reply:
    inside = (
        f"<filesImportInfo><batchFileDtoList><fileId>9{number}</fileId><fileName>x.zip</fileName>"
        f"<batchUploadStatus>{words}</batchUploadStatus><numberOfContracts>{contracts}</numberOfContracts>"
        f"<skippedContracts>{skipped}</skippedContracts><numberOfErrors>{errors}</numberOfErrors>"
        f"<batchPackage><packageId>{number}</packageId><employee>x</employee></batchPackage></batchFileDtoList>"
        "<count>1</count></filesImportInfo>"
    )
    return state_reply("getImportInfo", inside)


def records(*found: tuple[str, str, str], total: int) -> Reply:
    inside = "".join(
        f"<batchRecordDtoList><iinBin>900101300017</iinBin><contractCode>{code}</contractCode>"
        f"<resultMessage>{result}</resultMessage><numberOfRow>{position}</numberOfRow></batchRecordDtoList>"
        for code, position, result in found
    )
    return state_reply("getImportDetailInfo", f"<recordsImportInfo>{inside}<count>{total}</count></recordsImportInfo>")


def state_reply(operation: str, inside: str) -> Reply:
    response = f'<d:{operation}Response xmlns:d="http://data.chdb.scb.kz">{inside}</d:{operation}Response>'
    return Reply(200, soap(response), XML)


_EMPTY = state_reply("getImportInfo", "<filesImportInfo><count>0</count></filesImportInfo>")
SCB_TAKEN = (state_reply("uploadFile", "<batchPackageId>51</batchPackageId>"), "51")
SCB_TOLD = [
    ("51", package("Файл получен"), BatchStatus(BatchState.PENDING, "pending")),
    ("51", package("Файл обработан"), BatchStatus(BatchState.ACCEPTED, "accepted")),
    ("51", _EMPTY, BatchStatus(BatchState.PENDING, "no-file")),
    (
        "51",
        package("Файл обработан", skipped=1, errors=2),
        BatchStatus(BatchState.ACCEPTED_WITH_WARNINGS, "accepted", more="51/951@0"),
    ),
    ("51", package("Файл обработан", skipped=6), BatchStatus(BatchState.REJECTED, "accepted", more="51/951@0r")),
    ("51", package("Ошибка обработки"), BatchStatus(BatchState.REJECTED, "rejected", more="51/951@0r")),
    (
        "51/951@0",
        records((CODES[0], "6", "103"), ("?", "2", "201"), ("?", "77", "Ф.И.О. неверно"), total=4),
        BatchStatus(
            BatchState.ACCEPTED_WITH_WARNINGS,
            "records",
            # The code comes before the position; what is no code is not repeated.
            (Remark(2, "103"), Remark(None, "unnamed")),
            (Remark(3, "201"),),
            more="51/951@3",
        ),
    ),
    (
        "51/951@3r",
        records((CODES[5], "1", "104"), total=4),
        BatchStatus(BatchState.REJECTED, "records", (Remark(7, "104"),)),
    ),
]
