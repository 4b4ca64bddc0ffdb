"""Opens the console on a gateway."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from qaqpa.console.app import Console
from qaqpa.console.openid import OpenId
from qaqpa.console.visit import ROOT
from qaqpa.gateway import Gateway
from qaqpa.gateway.addresses import make_line


class Later:
    """Stands in the service's routes from the beginning; serves once its gateway is open."""

    def __init__(self) -> None:
        self.serve: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.serve or PlainTextResponse("the gateway is not open", 503)
        await answer(scope, receive, send)


def open_console(gateway: Gateway, clock: Callable[[], datetime]) -> Console:
    """The console of a gateway. Raises NotConfigured."""
    setup = gateway.setup
    config = setup.config.gateway.console
    openid = None
    if (provider := config.openid) is not None:
        openid = OpenId(
            provider,
            make_line(setup, provider.channel),
            setup.resolve(provider.authorization_url, "console.openid.authorization_url"),
            setup.resolve(provider.client_secret, "console.openid.client_secret"),
            f"{config.url}{ROOT}/signin/openid/back",
        )
    return Console(gateway, clock, openid)
