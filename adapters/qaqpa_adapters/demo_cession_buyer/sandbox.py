"""A stand-in of the buyer of claims: takes sealed claims and recalls, opens them, gives receipts."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from qaqpa_adapters.sealed_sandbox import Claim, Contact, Debtor, Name, Part, RecalledPart, SealedSandbox, Sum


class _Contract(Claim):
    signed_on: date
    rate: Sum | None = None
    effective_rate: Sum | None = None
    balance_on: date | None = None
    last_paid_on: date | None = None
    collateral: Name | None = None
    price: Sum | None = None
    court_status: Name | None = None


class _File(Part):
    seller_code: Name
    debtor: Debtor
    contact: Contact | None = None
    contract: _Contract


class _Recall(Part):
    seller_code: Name
    recall: RecalledPart


class DemoCessionBuyerSandbox(SealedSandbox):
    """The buyer."""

    files: ClassVar = {"/assignment": ("assignment", _File), "/recall": ("recall", _Recall)}
    paths = tuple(files)
    prefix = "BUYER"
    receipts = "CB"
