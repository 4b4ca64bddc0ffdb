"""The pension payment centre (ГЦВП) over SmartBridge: a person's pension contributions, by the synchronous channel, or
by the asynchronous one, where a request is taken now and its answer is asked for later.

Both the inner data and the envelope's body are signed, by a signer that is handed in; the answer's signatures are
checked before it is read. This is a codec: it never opens a connection, logs nothing and keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from lxml import etree
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from qaqpa.adapter import Heard, Operation, SignedPart, Signer, Step, operation
from qaqpa.errors import InvalidRequest, NoReport, Rejected
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa_adapters.pension_center import async_wire, wire
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
    channel: Literal["sync", "async"] = "sync"
    """SmartBridge's channel that the operator was connected to."""


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
    later_endpoint="async",
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
        data = {
            "requestNumber": exchange.id,
            "requestIin": wire.CENTER.needed(extract, "identity.iin"),
            "requestType": settings.request_type,
            "requestDate": wire.date_time(exchange.at),
            **({} if extract.kdp is None else wire.kdp(extract.kdp)),
        }
        info = {"messageId": exchange.id, "correlationId": exchange.id, "serviceId": settings.service_id}
        at = {"messageDate": wire.date_time(exchange.at)}
        if settings.channel == "async":
            return self._message(async_wire.request(info | {"messageType": "REQUEST"} | at, self._sender, data))
        return self._message(
            wire.send_message(info | at | {"routeId": settings.route_id}, self._sender, settings.properties, data)
        )

    @property
    def _sender(self) -> dict[str, str]:
        settings = self._settings
        return {
            "senderId": settings.sender_id.get_secret_value(), "password": settings.password.get_secret_value(),
        }  # fmt: skip

    def _message(self, body: bytes) -> Message:
        return Message(
            body=body,
            content_type=CONTENT_TYPE,
            endpoint=self._settings.channel,
            headers=MappingProxyType({"SOAPAction": '""'}),
        )

    async def sign(self, _operation: str, message: Message, signer: Signer) -> Message:
        """First the inner data, as a document of its own; then the body that it stands in. Raises SigningFailed.

        A question for an answer has no data: its body alone is signed.
        """
        body = message.body
        if self._settings.channel == "sync":
            body = wire.with_inner(body, await signer.enveloped(wire.inner(body)))
        elif async_wire.holds_data(body):
            body = async_wire.with_inner(body, await signer.enveloped(async_wire.inner(body)))
        return replace(message, body=await signer.wsse(body))

    async def check(self, operation: str, reply: Reply, signer: Signer, exchange: Exchange) -> None:
        """An answer with data is signed by the centre. Raises what `decode` raises, SignatureRefused, Unsettled."""
        # A fault or another status holds nothing about anybody and is not signed: it is a refusal. That a person has no
        # contributions is said in the data, and is believed only if it is signed.
        with suppress(NoReport):
            self.decode(operation, reply, exchange)
        if self._settings.channel == "sync" and self._settings.body_signed:
            await signer.verify(reply.body, SignedPart.BODY)
        await signer.verify(wire.alone(self._answered(reply, exchange)), SignedPart.ROOT)

    def decode(self, _operation: str, reply: Reply, exchange: Exchange) -> Report:
        """What the centre says. Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        return wire.CENTER.decoded(reply, lambda answer: wire.contributions(self._answered(answer, exchange), exchange))

    def _answered(self, reply: Reply, exchange: Exchange) -> etree._Element:
        if self._settings.channel == "sync":
            return wire.answered(reply.body, exchange)
        return async_wire.answered(reply.body)

    # --- answers that come later -------------------------------------------------------------------

    def later(self, _operation: str) -> bool:
        """By the asynchronous channel."""
        return self._settings.channel == "async"

    def follow_up(self, _operation: str, step: Step, exchange: Exchange, receipt: str = "") -> Message:
        """A question for the answer to this exchange, or that it came; without its signature."""
        service, sender, at = self._settings.service_id, self._sender, wire.date_time(exchange.at)
        match step:
            case Step.FETCH:
                body = async_wire.fetch(exchange.id, service, sender, at)
            case Step.STATUS:
                body = async_wire.status(exchange.id, sender, at)
            case Step.CONFIRM:
                body = async_wire.confirm(receipt, service, sender, at)
            case Step.REQUEST:
                raise InvalidRequest(["step: the request itself is written by encode"])
        return self._message(body)

    def hear(self, _operation: str, step: Step, reply: Reply, exchange: Exchange) -> Heard:
        """What SmartBridge says to a step. Raises Rejected or AnswerUnreadable where the step itself failed."""
        heard: list[Heard] = []

        def read(said: Reply) -> Report:
            match step:
                case Step.REQUEST:
                    heard.append(async_wire.taken(said))
                case Step.FETCH:
                    heard.append(async_wire.fetched(said, exchange.id))
                case Step.STATUS:
                    heard.append(async_wire.became(said))
                case Step.CONFIRM:
                    heard.append(async_wire.confirmed(said))
            return Report({})

        try:
            wire.CENTER.decoded(reply, read)
        except Rejected as refused:
            if step is not Step.REQUEST:
                raise
            return Heard(refused=refused)
        return heard[0]

    async def check_heard(self, _operation: str, reply: Reply, signer: Signer) -> None:
        """SmartBridge signs the body that messages stand in. Raises SignatureRefused, Unsettled."""
        if self._settings.body_signed:
            await signer.verify(reply.body, SignedPart.BODY)
