"""Adapter for a buyer of claims: a portfolio without names, then the claims themselves, and what is recalled of them.

Buyers publish no format, so this one is ours, to copy and change. A preview has no place for names: of the person it
takes a birth date, an address and a contract's number, which a route passes transformed. An assignment holds what a
claim needs (policy 1.1(16)) and has no place for relatives, employers, bank accounts or bureau reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, StringConstraints

from qaqpa.adapter import Operation, operation
from qaqpa_adapters import claim_json
from qaqpa_adapters.demo_cession_buyer import wire

PREVIEW, ASSIGNMENT, RECALL = "portfolio_preview", "assignment", "recall"


class DemoCessionBuyerSettings(BaseModel):
    """What the buyer's papers say of us."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seller_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """The number under which the buyer knows the operator."""


class DemoCessionBuyer(claim_json.Claims):
    """One claim in, one receipt out; a portfolio goes in a package only."""

    name: ClassVar[str] = "demo_cession_buyer"
    Settings: ClassVar[type[BaseModel]] = DemoCessionBuyerSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType(
        {
            PREVIEW: operation(
                PREVIEW, endpoint=PREVIEW, needs=wire.PREVIEW_NEEDED, uses=wire.PREVIEW_FIELDS, deidentified=True
            ),
            ASSIGNMENT: claim_json.claim(ASSIGNMENT, needs=wire.NEEDED, uses=wire.FIELDS),
            RECALL: claim_json.recall(RECALL),
        }
    )
    fields: ClassVar[tuple[str, ...]] = wire.FIELDS
    recipient: ClassVar[str] = "the buyer"

    def __init__(self, settings: DemoCessionBuyerSettings) -> None:
        self._head = {"seller_code": settings.seller_code}
