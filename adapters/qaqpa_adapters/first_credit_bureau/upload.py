"""First Credit Bureau's data pump: contracts uploaded as a batch, and what became of them.

Its service stands in a namespace of its own, with https and without a slash. Shapes seen in public clients; only how a
remark names its contract is assumed: by the contract's code in `Values` (see `batches.row_named_in`). It never opens a
connection.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from lxml import etree

from qaqpa.adapter import BatchRows
from qaqpa.errors import Rejected, WrongExchange
from qaqpa.model.batch import BatchState, BatchStatus, Remark
from qaqpa_adapters.batches import plain_code, row_named_in, split_by_kind
from qaqpa_adapters.dictionaries import Dictionaries
from qaqpa_adapters.first_credit_bureau.report import refused
from qaqpa_adapters.first_credit_bureau.wire import BUREAU, envelope_of
from qaqpa_adapters.soap import children, leaf, to_bytes

NAMESPACE = "https://ws.creditinfo.com"
UPLOAD, STATUS = "UploadZippedData2", "GetBatchStatus3"
PUMP = replace(BUREAU, unsettled="find out from the bureau what became of the batch before it is uploaded again")

_STATES: Mapping[str, BatchState] = MappingProxyType(
    {
        "519": BatchState.PENDING,  # waits for import
        "520": BatchState.PENDING,  # imported into the mirror
        "524": BatchState.PENDING,  # imported into the live database
        "525": BatchState.REJECTED,  # too many errors
        "527": BatchState.REJECTED,  # not of the schema
        "532": BatchState.ACCEPTED_WITH_WARNINGS,
        "533": BatchState.ACCEPTED,
    }
)
"""`Batch@StatusId`. Any other is unreadable: nobody knows whether anything was taken."""


def upload(header: Mapping[str, str], *, archive: bytes, schema: int) -> bytes:
    """UploadZippedData2(zippedXML, schemaId)."""
    root, request = envelope_of(NAMESPACE, header, UPLOAD)
    leaf(request, f"{{{NAMESPACE}}}zippedXML", base64.b64encode(archive).decode("ascii"))
    leaf(request, f"{{{NAMESPACE}}}schemaId", str(schema))
    return to_bytes(root)


def ask(header: Mapping[str, str], *, batch: str) -> bytes:
    """GetBatchStatus3(batchId)."""
    root, request = envelope_of(NAMESPACE, header, STATUS)
    leaf(request, f"{{{NAMESPACE}}}batchId", batch)
    return to_bytes(root)


def uploaded(answer: bytes) -> str:
    """The id of the batch that they made of it."""
    batch = _batch(answer, UPLOAD)
    found = (batch.get("Id") or "").strip()
    if not found.isascii() or not found.isdigit() or len(found) > 20:
        raise PUMP.unreadable("no id of the batch")
    return found


def status(answer: bytes, *, asked: str, rows: BatchRows, dictionaries: Dictionaries | None) -> BatchStatus:
    """What became of the batch."""
    batch = _batch(answer, STATUS)
    if (batch.get("Id") or "").strip() != asked:
        raise WrongExchange(f"{PUMP.name}'s answer is about another batch; nothing of it is believed: ask again")
    code = (batch.get("StatusId") or "").strip()
    if code not in _STATES:
        raise PUMP.unreadable("a state of the batch that is not in our table")
    state = _STATES[code]
    remarks = [
        (
            each.get("TypeId"),
            Remark(_row(each, rows), plain_code(each.get("TypeId"), each.get("GroupId"))),
        )
        for each in children(batch, "Message")
    ]
    rejections, warnings = split_by_kind(remarks, dictionaries)
    if state is BatchState.ACCEPTED and (rejections or warnings):
        state = BatchState.ACCEPTED_WITH_WARNINGS
    return BatchStatus(state, code, rejections, warnings)


def _batch(answer: bytes, operation: str) -> etree._Element:
    held = PUMP.open_answer(answer, namespace=NAMESPACE, element=f"{operation}Response")
    result = PUMP.need(held, f"{operation}Result")
    error = PUMP.child(result, "CigResultError")
    if error is not None:
        raise _refused(PUMP.need(error, "Errmessage"))
    return PUMP.need(result, "CigResult", "Result", "Batch")


def _refused(message: etree._Element) -> Rejected:
    error = refused(message)
    if error.their_code == "1107":  # what it says of reports' documents does not fit a batch
        return type(error)(
            f"{PUMP.name} refuses the batch: look at its schema id and dictionaries in the settings",
            their_code="1107",
        )
    return error


def _row(message: etree._Element, rows: BatchRows) -> int | None:
    for name in ("Values", "Description"):
        row = row_named_in(PUMP.value(message, name), rows)
        if row is not None:
            return row
    return None
