"""Adapter for a debt-collection agency that takes debtors as JSON, one at a time or in a package.

Agencies publish no format, so this one is ours, to copy and change. It holds what a register of debtors needs to
recover a debt (policy 1.1(15)) and has no place for relatives, employers, bank accounts or bureau reports.
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
from qaqpa_adapters.demo_collector import wire

HANDOVER, RECALL = "handover", "recall"


class DemoCollectorSettings(BaseModel):
    """What the agency's papers say of us."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agency_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """The number under which the agency knows the operator."""


class DemoCollector:
    """One debtor in, one receipt out."""

    name: ClassVar[str] = "demo_collector"
    Settings: ClassVar[type[BaseModel]] = DemoCollectorSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType(
        {
            HANDOVER: operation(
                HANDOVER,
                endpoint=HANDOVER,
                needs=wire.NEEDED,
                uses=wire.FIELDS,
                returns=("report.receipt",),
                idempotent=True,  # the agency drops a message whose Idempotency-Key it has seen
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

    def __init__(self, settings: DemoCollectorSettings) -> None:
        self._settings = settings

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        """The debtor, or what is recalled, as JSON. Raises InvalidRequest when a field is missing that is needed."""
        declared = self._declared(operation)
        missing = sorted(path for path in declared.needs if extract.get(path) is None)
        if missing:
            raise InvalidRequest([f"{path}: the agency needs it" for path in missing])
        head = {"agency_code": self._settings.agency_code}
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
