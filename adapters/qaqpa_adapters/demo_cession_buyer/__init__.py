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
from qaqpa.errors import InvalidRequest
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa_adapters import claim_json
from qaqpa_adapters.demo_cession_buyer import wire

PREVIEW, ASSIGNMENT, RECALL = "portfolio_preview", "assignment", "recall"


class DemoCessionBuyerSettings(BaseModel):
    """What the buyer's papers say of us."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seller_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """The number under which the buyer knows the operator."""


class DemoCessionBuyer:
    """One claim in, one receipt out; a portfolio goes in a package only."""

    name: ClassVar[str] = "demo_cession_buyer"
    Settings: ClassVar[type[BaseModel]] = DemoCessionBuyerSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType(
        {
            PREVIEW: operation(
                PREVIEW, endpoint=PREVIEW, needs=wire.PREVIEW_NEEDED, uses=wire.PREVIEW_FIELDS, deidentified=True
            ),
            ASSIGNMENT: operation(
                ASSIGNMENT,
                endpoint=ASSIGNMENT,
                needs=wire.NEEDED,
                uses=wire.FIELDS,
                returns=("report.receipt",),
                idempotent=True,  # the buyer drops a message whose Idempotency-Key it has seen
                package=True,
            ),
            RECALL: operation(
                RECALL,
                endpoint=RECALL,
                needs=("contract.number",),
                returns=("report.receipt",),
                idempotent=True,
                package=True,
                recalls=True,
            ),
        }
    )

    def __init__(self, settings: DemoCessionBuyerSettings) -> None:
        self._settings = settings

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        """The claim, or what is recalled, as JSON. Raises InvalidRequest for a portfolio, or without a field needed."""
        declared = self._declared(operation)
        if declared.package_only:
            raise InvalidRequest([f"operation: {operation} goes in a handover only, never for one person"])
        missing = sorted(path for path in declared.needs if extract.get(path) is None)
        if missing:
            raise InvalidRequest([f"{path}: the buyer needs it" for path in missing])
        head = {"seller_code": self._settings.seller_code}
        if declared.recalls:
            body = claim_json.write_recall(extract, exchange, head)
        else:
            body = claim_json.write(extract, wire.FIELDS, head)
        return Message(body, claim_json.CONTENT_TYPE, declared.endpoint)

    def decode(self, operation: str, reply: Reply, _exchange: Exchange) -> Report:
        """The receipt, which does not say what it is for. Raises Rejected (or a kind of it) or AnswerUnreadable."""
        self._declared(operation)
        return claim_json.read(reply)

    def _declared(self, name: str) -> Operation:
        found = self.operations.get(name)
        if found is None:
            raise InvalidRequest([f"operation: {self.name} offers {', '.join(sorted(self.operations))} only"])
        return found
