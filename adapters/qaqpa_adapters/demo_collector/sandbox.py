"""A stand-in of the debt-collection agency: takes sealed files of debtors and recalls, opens them, gives receipts."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from qaqpa_adapters.sealed_sandbox import Contact, Days, Debtor, Name, Part, RecalledPart, SealedSandbox, Sum


class _Contract(Part):
    number: Name
    signed_on: date | None = None
    matures_on: date | None = None
    amount: Sum | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    principal: Sum | None = None
    overdue_principal: Sum | None = None
    interest: Sum | None = None
    overdue_interest: Sum | None = None
    penalty: Sum | None = None
    expenses: Sum | None = None
    total_due: Sum
    days_overdue: Days


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
