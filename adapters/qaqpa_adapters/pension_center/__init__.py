"""The pension payment centre (ГЦВП) over SmartBridge's synchronous channel: a person's pension contributions.

Both the inner data and the envelope's body are signed, by a signer that is handed in; the answer's signatures are
checked before it is read. This is a codec: it never opens a connection, logs nothing and keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from qaqpa.adapter import Operation, SignedPart, Signer, operation
from qaqpa.errors import InvalidRequest, NoReport
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa_adapters.pension_center import wire
from qaqpa_adapters.soap import CONTENT_TYPE

__all__ = ["PensionCenter", "PensionCenterSettings"]


PropertyText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\ufffe\uffff]{1,500}$")]


class PensionCenterSettings(BaseModel):
    """`[settings]` of a recipient that uses this adapter; all of it comes from the papers of the connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender_id: SecretStr
    password: SecretStr
    service_id: str = Field(min_length=1)
    """The service as SmartBridge registers it for this operator."""
    route_id: str = Field(min_length=1)
    request_type: str = Field(default="DEDUCTION_6", min_length=1)
    """Which contributions; their word for the last six months."""
    properties: Annotated[Mapping[PropertyText, PropertyText], Field(max_length=16)] = {}
    """What SmartBridge wants beside (`CONNECTOR_CLIENT`); key and value of each `properties`."""
    body_signed: bool = True
    """The answer's body is signed too; false only where SmartBridge's papers say that it is not."""


_CONTRIBUTIONS = operation(
    "contributions",
    endpoint="sync",
    needs=["identity.iin"],
    returns=[
        "report.reference",
        "report.issued_at",
        "report.contributions.paid_on",
        "report.contributions.amount",
        "report.contributions.employer",
        "report.contributions.employer_bin",
    ],
    # The centre does not say that a repeated messageId counts as one.
    idempotent=False,
    signed=True,
    kdp=True,
    keeps_answer=True,
)


class PensionCenter:
    """The pension payment centre's contributions."""

    name: ClassVar[str] = "pension_center"
    Settings: ClassVar[type[BaseModel]] = PensionCenterSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType({_CONTRIBUTIONS.name: _CONTRIBUTIONS})

    def __init__(self, settings: PensionCenterSettings) -> None:
        self._settings = settings

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        """A SOAP message without its signatures. Raises InvalidRequest for a value that XML cannot carry."""
        if operation not in self.operations:
            raise InvalidRequest(["operation: the pension payment centre has contributions and no other"])
        settings = self._settings
        body = wire.send_message(
            {
                "messageId": exchange.id,
                "correlationId": exchange.id,
                "serviceId": settings.service_id,
                "messageDate": wire.date_time(exchange.at),
                "routeId": settings.route_id,
            },
            {
                "senderId": settings.sender_id.get_secret_value(),
                "password": settings.password.get_secret_value(),
            },
            settings.properties,
            {
                "requestNumber": exchange.id,
                "requestIin": wire.CENTER.needed(extract, "identity.iin"),
                "requestType": settings.request_type,
                "requestDate": wire.date_time(exchange.at),
                **({} if extract.kdp is None else wire.kdp(extract.kdp)),
            },
        )
        return Message(
            body=body,
            content_type=CONTENT_TYPE,
            endpoint=_CONTRIBUTIONS.endpoint,
            headers=MappingProxyType({"SOAPAction": '""'}),
        )

    async def sign(self, _operation: str, message: Message, signer: Signer) -> Message:
        """First the inner data, as a document of its own; then the body that it stands in. Raises SigningFailed."""
        signed = await signer.enveloped(wire.inner(message.body))
        return replace(message, body=await signer.wsse(wire.with_inner(message.body, signed)))

    async def check(self, operation: str, reply: Reply, signer: Signer, exchange: Exchange) -> None:
        """An answer with data is signed by the centre. Raises what `decode` raises, SignatureRefused, Unsettled."""
        # A fault or another status holds nothing about anybody and is not signed: it is a refusal. That a person has no
        # contributions is said in the data, and is believed only if it is signed.
        with suppress(NoReport):
            self.decode(operation, reply, exchange)
        if self._settings.body_signed:
            await signer.verify(reply.body, SignedPart.BODY)
        await signer.verify(wire.alone(wire.answered(reply.body, exchange)), SignedPart.ROOT)

    def decode(self, _operation: str, reply: Reply, exchange: Exchange) -> Report:
        """What the centre says. Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        return wire.CENTER.decoded(reply, lambda answer: wire.contributions(answer.body, exchange))
