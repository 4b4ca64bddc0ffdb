"""A stand-in of the debt-collection agency: takes sealed files of debtors and recalls, opens them, gives receipts."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from qaqpa_adapters.sealed_sandbox import Claim, Contact, Debtor, Name, Part, RecalledPart, SealedSandbox


class _Contract(Claim):
    signed_on: date | None = None


class _File(Part):
    agency_code: Name
    debtor: Debtor
    contact: Contact | None = None
    contract: _Contract


class _Recall(Part):
    agency_code: Name
    recall: RecalledPart


class DemoCollectorSandbox(SealedSandbox):
    """The agency."""

    files: ClassVar = {"/handover": ("handover", _File), "/recall": ("recall", _Recall)}
    paths = tuple(files)
    prefix = "COLLECTOR"
    receipts = "DC"
