"""What the stand-ins of credit bureaus share about uploads: archives opened, contracts looked at, batches worked off.

A batch moves one step each time it is asked about, so that a test decides how long it takes. The ids in DICTIONARIES
are invented: a real bureau's stand in its papers. Contracts are read here apart from what writes them, but for the
schema, which is one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

from lxml import etree

from qaqpa.model.identifiers import check_iin
from qaqpa.testing.sandbox import Arrival
from qaqpa_adapters.records_check import faults, unpacked
from qaqpa_adapters.soap_sandbox import BureauSandbox, BureauService, Question, RefusedError, Service

DICTIONARIES: Mapping[str, Any] = {
    "language": "ru-RU",
    "operation": "SB-put",
    "subject_role": "SB-borrower",
    "subject_classification": "SB-person",
    "collateral_value_type": "SB-own",
    "gender": {"male": "SB-m", "female": "SB-f"},
    "residency": {"resident": "SB-1", "non_resident": "SB-2"},
    "citizenship": {"KZ": "SB-KZ", "RU": "SB-RU"},
    "document": {"passport": "SB-passport"},
    "communication": {"mobile": "SB-mobile"},
    "kato": "as_is",
    "currency": "as_is",
    "funding_type": {"microcredit": "SB-mc"},
    "credit_purpose": {"consumer": "SB-consumer"},
    "credit_object": {"other": "SB-other"},
    "contract_phase": {"open": "SB-open"},
    "contract_status": {"performing": "SB-ok", "in_arrears": "SB-late"},
    "classification": {"standard": "SB-std", "doubtful": "SB-dbt"},
    "collateral": {"none": "SB-none", "car": "SB-car", "gold": "SB-gold"},
    "payment_method": {"transfer": "SB-transfer"},
    "payment_period": {"each_month": "SB-month"},
    "message_type": {"1": "error", "2": "warning"},
}
"""The stand-ins' dictionaries, as the setting `dictionaries` takes them."""

ERROR, WARNING = "1", "2"
_NS = {"r": "http://www.datapump.cig.com"}
_ENDED = frozenset({"5", "6", "8"})
_TOO_MANY = 0.5
"""Share of contracts with errors above which nothing of a batch is taken."""
_MOST_CONTRACTS = 20_000
_LOCAL = timedelta(hours=5)


class Verdict(StrEnum):
    """How a batch ends."""

    BAD_XML = "bad_xml"
    TOO_MANY_ERRORS = "too_many_errors"
    WARNINGS = "warnings"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A contract of a batch."""

    position: int
    code: str
    number: str
    iin: str
    phase: str
    ended: str | None


@dataclass(frozen=True, slots=True)
class Said:
    """A remark on a contract."""

    contract: Loaded
    kind: str
    group: str


@dataclass(slots=True)
class Batch:
    """An upload that was taken."""

    id: str
    contracts: tuple[Loaded, ...]
    remarks: tuple[Said, ...]
    verdict: Verdict
    asked: int = 0


@dataclass(slots=True)
class Pump:
    """The uploads of one bureau."""

    patience: int = 3
    """After so many questions a batch is done."""
    refuse: dict[str, str] = field(default_factory=dict)
    """Contracts, by code, that get an error of this group whatever stands in them."""
    batches: dict[str, Batch] = field(default_factory=dict)
    live: dict[str, Loaded] = field(default_factory=dict)
    """What the bureau knows of each contract, by its code."""
    _by_digest: dict[str, str] = field(default_factory=dict)

    def document(self, given: str | None, refused: str) -> bytes:
        """The document in a ZIP in base64. Raises RefusedError with the code `refused` for what is none."""
        try:
            archive = base64.b64decode("".join((given or "").split()), validate=True)
        except binascii.Error:
            raise RefusedError(refused, "not base64") from None
        found = unpacked(archive)
        if found is None:
            raise RefusedError(refused, "not a ZIP with one file of a reasonable size")
        if _digest(found) in self._by_digest:
            raise RefusedError(refused, "this document was uploaded before")
        return found

    def known(self, batch: str | None, refused: str) -> str:
        """The id of a batch. Raises RefusedError."""
        if batch not in self.batches:
            raise RefusedError(refused, "no such batch")
        return batch

    def take(self, document: bytes) -> None:
        """Make a batch of a document."""
        made = _looked_at(f"{7_000_001 + len(self.batches)}", document, self.refuse)
        self.batches[made.id] = made
        self._by_digest[_digest(document)] = made.id

    def made_of(self, given: str) -> Batch:
        """The batch of an archive that was taken."""
        return self.batches[self._by_digest[_digest(unpacked(base64.b64decode(given)) or b"")]]

    def ask(self, batch: str) -> None:
        """Somebody asks: the batch moves on, and when it is done its contracts are live."""
        found = self.batches[batch]
        found.asked += 1
        if self.is_done(found) and found.verdict in {Verdict.WARNINGS, Verdict.ACCEPTED}:
            wrong = {each.contract.position for each in found.remarks if each.kind == ERROR}
            self.live.update({each.code: each for each in found.contracts if each.position not in wrong})

    def is_done(self, batch: Batch) -> bool:
        """Whether it has been asked about often enough."""
        return batch.asked > self.patience


def _digest(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()


class UploadingBureau(BureauSandbox[Service]):
    """A bureau that takes contracts in batches beside the rest. What its service keeps of a call is the archive, or the
    batch's id, perhaps with more behind an `@`.
    """

    uploads: ClassVar[BureauService]
    """The service; its first operation takes a batch."""
    asks: ClassVar[str]
    """The operation by which a batch moves on."""
    refused: ClassVar[str]
    """Its code for an archive that it does not take, or a batch that it does not know."""

    def __init__(self, **options: Any) -> None:
        """As BureauSandbox."""
        super().__init__(**options)
        self.pump = Pump()
        """Contracts uploaded."""

    def examine(self, arrival: Arrival) -> Question:
        """Beside the rest, whether an archive can be opened and a batch is known."""
        found = super().examine(arrival)
        if found.problem is not None or found.path != self.uploads.path:
            return found
        try:
            if found.operation == self.uploads.operation:
                self.pump.document(found.detail, self.refused)
            else:
                self.pump.known(_batch_named(found), self.refused)
        except RefusedError as no:
            return replace(found, problem=f"{no.code}: {no.problem}", code=no.code, text=no.problem)
        return found

    def act(self, examination: Question) -> None:
        """Beside the rest, take a batch or work it off."""
        super().act(examination)
        if examination.path == self.uploads.path:
            if examination.operation == self.uploads.operation:
                self.pump.take(self.pump.document(examination.detail, self.refused))
            elif examination.operation == self.asks:
                self.pump.ask(_batch_named(examination))

    def batch(self, examination: Question) -> Batch:
        """The one that was taken by this call, or that it asks about."""
        if examination.operation == self.uploads.operation:
            return self.pump.made_of(examination.detail)
        return self.pump.batches[_batch_named(examination)]


def _batch_named(examination: Question) -> str:
    return examination.detail.partition("@")[0]


# --- looking at contracts --------------------------------------------------------------------------


def _looked_at(number: str, document: bytes, refuse: Mapping[str, str]) -> Batch:
    if faults(document, most=_MOST_CONTRACTS):
        return Batch(number, (), (), Verdict.BAD_XML)
    contracts: list[Loaded] = []
    remarks: list[Said] = []
    for position, node in enumerate(etree.fromstring(document), start=1):
        contract = _loaded(position, node)
        contracts.append(contract)
        group = refuse.get(contract.code) or _wrong(node, contract)
        if group is not None:
            remarks.append(Said(contract, ERROR, group))
        elif not node.findall(".//r:Address", _NS):
            remarks.append(Said(contract, WARNING, "201"))
    errors = sum(each.kind == ERROR for each in remarks)
    if errors > _TOO_MANY * len(contracts):
        verdict = Verdict.TOO_MANY_ERRORS
    else:
        verdict = Verdict.WARNINGS if remarks else Verdict.ACCEPTED
    return Batch(number, tuple(contracts), tuple(remarks), verdict)


def _loaded(position: int, node: etree._Element) -> Loaded:
    return Loaded(
        position=position,
        code=_text(node, "ContractCode"),
        number=_text(node, "AgreementNumber"),
        iin=_text(node, "Identification[@typeId='14']/r:Number"),
        phase=_id(node, "ContractPhase"),
        ended=node.findtext(".//r:RealPaymentDate", namespaces=_NS),
    )


def _wrong(node: etree._Element, contract: Loaded) -> str | None:
    """The group of the first error in a contract; None when it is in order."""
    today = (datetime.now(UTC) + _LOCAL).date()
    try:
        check_iin(contract.iin)
    except ValueError:
        return "101"
    if _text(node, "EndDate") < _text(node, "StartDate"):
        return "102"
    if Decimal(_text(node, "OverdueAmount")) > Decimal(_text(node, "OutstandingAmount")):
        return "103"
    if (contract.phase in _ENDED) != (contract.ended is not None):
        return "104"
    if contract.ended is not None and date.fromisoformat(contract.ended) > today:
        return "104"
    for element, name in (("FundingType", "funding_type"), ("ContractStatus", "contract_status")):
        if _id(node, element) not in DICTIONARIES[name].values():
            return "105"
    if contract.phase not in _ENDED | set(DICTIONARIES["contract_phase"].values()):
        return "105"
    return None


def _text(node: etree._Element, name: str) -> str:
    return node.findtext(f".//r:{name}", default="", namespaces=_NS)


def _id(node: etree._Element, name: str) -> str:
    found = node.find(f".//r:{name}", _NS)
    return "" if found is None else found.get("id", "")
