"""Adapter for a debt-collection agency that takes debtors as JSON, one at a time or in a package.

Agencies publish no format, so this one is ours, to copy and change. It holds what a register of debtors needs to
recover a debt (policy 1.1(15)) and has no place for relatives, employers, bank accounts or bureau reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints

from qaqpa.adapter import Operation
from qaqpa_adapters import claim_json
from qaqpa_adapters.demo_collector import wire

HANDOVER, RECALL = "handover", "recall"


class DemoCollectorSettings(BaseModel):
    """What the agency's papers say of us."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agency_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """The number under which the agency knows the operator."""


class DemoCollector(claim_json.Claims):
    """One debtor in, one receipt out."""

    name: ClassVar[str] = "demo_collector"
    Settings: ClassVar[type[BaseModel]] = DemoCollectorSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType(
        {
            HANDOVER: claim_json.claim(HANDOVER, needs=wire.NEEDED, uses=wire.FIELDS),
            RECALL: claim_json.recall(RECALL),
        }
    )
    fields: ClassVar[tuple[str, ...]] = wire.FIELDS
    recipient: ClassVar[str] = "the agency"

    def __init__(self, settings: DemoCollectorSettings) -> None:
        self._head = {"agency_code": settings.agency_code}
