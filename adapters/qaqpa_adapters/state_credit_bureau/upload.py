"""State credit bureau's data service: contracts uploaded as a batch, and what became of them.

Three calls: `uploadFile` gives the id of a package, `getImportInfo` its files with their state and counts, and
`getImportDetailInfo` what is said of each record of a file, page by page. Shapes seen in public clients. The states
are words in the language asked for, and what they mean stands in the settings. It never opens a connection.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace

from lxml import etree

from qaqpa.adapter import BatchRows
from qaqpa.errors import Rejected, RequestRefused, WrongExchange
from qaqpa.model.batch import BatchState, BatchStatus, Remark
from qaqpa_adapters.batches import plain_code, row_named_in, split_by_kind
from qaqpa_adapters.dictionaries import Dictionaries
from qaqpa_adapters.soap import children, leaf, to_bytes
from qaqpa_adapters.state_credit_bureau import report
from qaqpa_adapters.state_credit_bureau.wire import BUREAU, envelope_of

DATA = "http://data.chdb.scb.kz"
UPLOAD, STATUS, DETAIL = "uploadFile", "getImportInfo", "getImportDetailInfo"
PUMP = replace(BUREAU, unsettled="find out from the bureau what became of the batch before it is uploaded again")
PAGE = 500
"""Records asked for at once."""

_ID = re.compile(r"[0-9]{1,19}")
_NAMED = re.compile(r"([0-9]{1,19})(?:/([0-9]{1,19})@([0-9]{1,9})(r?))?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a status is asked of: a package, or records of one of its files from one on. As text it is a batch's id."""

    package: str
    file: str | None = None
    first: int = 0
    rejected: bool = False
    """The package was: what is said of its records changes nothing about that."""

    @classmethod
    def read(cls, batch: str) -> Asked:
        """What `text` wrote. Raises AnswerUnreadable for anything else."""
        found = _NAMED.fullmatch(batch)
        if found is None:
            raise PUMP.unreadable("an id of a batch that is none")
        return cls(found[1], found[2], int(found[3] or 0), bool(found[4]))

    @property
    def text(self) -> str:
        """`package`, or `package/file@first`, with an r behind it when the package was rejected."""
        if self.file is None:
            return self.package
        return f"{self.package}/{self.file}@{self.first}{'r' if self.rejected else ''}"


def upload(*, user_id: str, archive: bytes, name: str, kind: int) -> bytes:
    """uploadFile(file, fileName, fileType)."""
    root, body = envelope_of({"data": DATA}, user_id)
    request = etree.SubElement(body, f"{{{DATA}}}{UPLOAD}")
    leaf(request, "file", base64.b64encode(archive).decode("ascii"))
    leaf(request, "fileName", name)
    leaf(request, "fileType", str(kind))
    return to_bytes(root)


def ask(*, user_id: str, batch: str, language: str) -> bytes:
    """getImportInfo of a package, or getImportDetailInfo of a page of a file's records."""
    asked = Asked.read(batch)
    root, body = envelope_of({"data": DATA}, user_id)
    request = etree.SubElement(body, f"{{{DATA}}}{STATUS if asked.file is None else DETAIL}")
    parameters = etree.SubElement(request, "params")
    if asked.file is None:
        leaf(parameters, "packageId", asked.package)
    else:
        page = etree.SubElement(parameters, "paginationSupportDto")
        leaf(page, "firstResult", str(asked.first))
        leaf(page, "maxResults", str(PAGE))
        leaf(parameters, "fileId", asked.file)
    leaf(parameters, "language", language)
    return to_bytes(root)


def uploaded(answer: bytes) -> str:
    """The id of the package that they made of it."""
    found = PUMP.needed_value(_opened(answer, UPLOAD), "batchPackageId")
    if not _ID.fullmatch(found):
        raise PUMP.unreadable("no id of the package")
    return found


def status(answer: bytes, *, batch: str, rows: BatchRows, dictionaries: Dictionaries | None) -> BatchStatus:
    """What became of the package, or what is said of records of its file."""
    asked = Asked.read(batch)
    if asked.file is None:
        return _of_package(answer, asked, dictionaries)
    return _of_records(answer, asked, rows, dictionaries)


def _of_package(answer: bytes, asked: Asked, dictionaries: Dictionaries | None) -> BatchStatus:
    files = list(children(PUMP.need(_opened(answer, STATUS), "filesImportInfo"), "batchFileDtoList"))
    if not files:
        return BatchStatus(BatchState.PENDING, "no-file")  # they have not opened the archive yet
    (file,) = files  # one archive holds one document
    if PUMP.needed_value(file, "batchPackage", "packageId") != asked.package:
        raise WrongExchange(f"{PUMP.name}'s answer is about another package; nothing of it is believed: ask again")
    words = PUMP.needed_value(file, "batchUploadStatus")
    meaning = None if dictionaries is None else dictionaries.batch_status.get(words)
    if meaning is None:
        raise PUMP.unreadable("a state of the batch that settings.dictionaries.batch_status does not explain")
    if meaning == "pending":
        return BatchStatus(BatchState.PENDING, meaning)
    errors, skipped, contracts = (
        PUMP.integer(PUMP.value(file, name)) or 0
        for name in ("numberOfErrors", "skippedContracts", "numberOfContracts")
    )
    is_rejected = meaning == "rejected" or 0 < contracts <= skipped
    if not is_rejected and not errors and not skipped:
        return BatchStatus(BatchState.ACCEPTED, meaning)
    state = BatchState.REJECTED if is_rejected else BatchState.ACCEPTED_WITH_WARNINGS
    more = Asked(asked.package, PUMP.needed_value(file, "fileId"), rejected=is_rejected)
    return BatchStatus(state, meaning, more=more.text)


def _of_records(answer: bytes, asked: Asked, rows: BatchRows, dictionaries: Dictionaries | None) -> BatchStatus:
    opened = _opened(answer, DETAIL)
    # Their name of the element around the records is assumed; there is only one.
    held = opened[0] if len(opened) == 1 else opened
    found = list(children(held, "batchRecordDtoList"))
    remarks = [
        (code, Remark(_row(each, rows), plain_code(code)))
        for each in found
        if (code := PUMP.value(each, "resultMessage")) is not None
    ]
    rejections, warnings = split_by_kind(remarks, dictionaries)
    total, seen = PUMP.integer(PUMP.needed_value(held, "count")) or 0, asked.first + len(found)
    more = replace(asked, first=seen).text if found and seen < total else None
    state = BatchState.REJECTED if asked.rejected else BatchState.ACCEPTED_WITH_WARNINGS
    return BatchStatus(state, "records", rejections, warnings, more)


def _row(record: etree._Element, rows: BatchRows) -> int | None:
    """By the contract's code, else by the record's number in the file."""
    row = row_named_in(PUMP.value(record, "contractCode"), rows)
    position = PUMP.integer(PUMP.value(record, "numberOfRow"))
    return rows.at(position) if row is None and position is not None else row


def _opened(answer: bytes, operation: str) -> etree._Element:
    return PUMP.open_answer(answer, namespace=DATA, element=f"{operation}Response", fault=_fault)


def _fault(found: etree._Element) -> Rejected:
    error = report.fault(found)
    if error.their_code == "INVALID_PARAMS":  # what it says of reports does not fit a batch
        return RequestRefused(
            f"{PUMP.name} refuses the batch: look at its file type and dictionaries in the settings",
            their_code=error.their_code,
        )
    return error
