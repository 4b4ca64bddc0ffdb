"""What answers requests: one gateway, who may ask it, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel

from qaqpa.errors import InvalidRequest
from qaqpa.gateway import Gateway
from qaqpa.service.addresses import FORWARDED, Addresses
from qaqpa.service.callers import Callers
from qaqpa.service.exchange import document, language_of
from qaqpa.service.health import Health

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Desk:
    """What answers requests."""

    gateway: Gateway
    callers: Callers
    addresses: Addresses
    health: Health

    async def caller(self, request: Request) -> str:
        """Who asks; kept as `request.state.caller`. Raises NotAuthenticated, TooManyAttempts."""
        peer = None if request.client is None else request.client.host
        address = self.addresses.of(peer, request.headers.getlist(FORWARDED))
        shown = request.headers.getlist("authorization")  # two are as good as none: which one counts cannot be known
        caller = await self.callers.caller(", ".join(shown) if shown else None, address)
        request.state.caller = caller
        return caller

    async def reader(self, request: Request) -> str:
        """Who asks, where that one may read the ledger; said before anything of the address is looked at.

        Raises NotAuthenticated, NotAllowed.
        """
        caller = await self.caller(request)
        self.gateway.compliance.require_reader(caller)
        return caller

    async def body(self, request: Request, model: type[Model]) -> Model:
        """What is asked. Raises InvalidRequest."""
        service = self.gateway.setup.config.gateway.service
        return await document(
            request, model, largest=service.largest_request_bytes, timeout_s=service.request_timeout_s
        )

    def idempotency_key(self, request: Request) -> str:
        """The one key of a request. Raises InvalidRequest."""
        keys = request.headers.getlist("idempotency-key")
        if len(keys) != 1:
            raise InvalidRequest(["Idempotency-Key: give one, and the same one when you ask again after a failure"])
        return keys[0]

    def language(self, request: Request) -> Any:
        """In which sentences are said."""
        return language_of(request, self.gateway.setup.config.gateway.language)


def desk(request: Request) -> Desk:
    """The one of this application."""
    found: Desk = request.app.state.desk
    return found
