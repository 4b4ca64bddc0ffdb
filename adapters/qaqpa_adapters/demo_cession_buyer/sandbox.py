"""A stand-in of the buyer of claims: takes sealed claims and recalls, opens them, gives receipts."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from qaqpa_adapters.sealed_sandbox import Contact, Days, Debtor, Name, Part, RecalledPart, SealedSandbox, Sum


class _Contract(Part):
    number: Name
    signed_on: date
    matures_on: date | None = None
    amount: Sum | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    principal: Sum | None = None
    overdue_principal: Sum | None = None
    interest: Sum | None = None
    overdue_interest: Sum | None = None
    penalty: Sum | None = None
    expenses: Sum | None = None
    rate: Sum | None = None
    effective_rate: Sum | None = None
    balance_on: date | None = None
    last_paid_on: date | None = None
    collateral: Name | None = None
    price: Sum | None = None
    court_status: Name | None = None
    total_due: Sum
    days_overdue: Days


class _Claim(Part):
    seller_code: Name
    debtor: Debtor
    contact: Contact | None = None
    contract: _Contract


class _Recall(Part):
    seller_code: Name
    recall: RecalledPart


class DemoCessionBuyerSandbox(SealedSandbox):
    """The buyer."""

    files: ClassVar = {"/assignment": ("assignment", _Claim), "/recall": ("recall", _Recall)}
    paths = tuple(files)
    prefix = "BUYER"
    receipts = "CB"
