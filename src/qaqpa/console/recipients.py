"""Recipients: agreement, keys, limits, how it goes with each; and stopping one (5.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.config.recipients import RecipientFile
from qaqpa.console.page import READERS, Page
from qaqpa.console.policy import anchor, today
from qaqpa.console.visit import Visit
from qaqpa.errors import NotFound
from qaqpa.gateway import Gateway
from qaqpa.gateway.lasting import Lasting, Standing, agreement_standing, lasting
from qaqpa.policy.matrix import in_order

_ADMINISTRATORS = (ConsoleRole.ADMINISTRATOR,)
_LATELY = 20
_WORST_FIRST = (Standing.ABSENT, Standing.OVER, Standing.NOT_YET, Standing.PARTLY, Standing.SOON, Standing.FINE)


async def list_recipients(visit: Visit) -> Response:
    """All of them."""
    gateway = visit.gateway
    now = gateway.ledger.clock()
    rows = [
        {
            "name": name,
            "recipient": recipient,
            "agreement": agreement_standing(recipient.agreement, today(visit)),
            "worst": _worst(await _lasting(gateway, recipient, now), now),
            **_state(gateway, name),
        }
        for name, recipient in sorted(gateway.policy.recipients.items())
    ]
    return visit.page("recipients.html", rows=rows, suspended=await gateway.suspensions())


async def show_recipient(visit: Visit) -> Response:
    """One of them."""
    gateway, name = visit.gateway, visit.in_path("recipient")
    recipient = gateway.policy.recipients.get(name)
    if recipient is None:
        raise NotFound("there is no such recipient in the configuration")
    now = gateway.ledger.clock()
    keys = await _lasting(gateway, recipient, now)
    return visit.page(
        "recipient.html",
        name=name,
        recipient=recipient,
        policy=gateway.policy,
        suspension=(await gateway.suspensions()).get(name),
        agreement=agreement_standing(recipient.agreement, today(visit)),
        keys=[(key, key.standing(now)) for key in keys],
        lacks=[what for of, what in gateway.setup.unset() if of == name],
        routes=[route for asked, route in in_order(gateway.policy) if asked.recipient == name],
        lately=await gateway.compliance.lately(visit.caller, name, _LATELY),
        anchor=anchor,
        today=today(visit),
        **_state(gateway, name),
    )


async def _lasting(gateway: Gateway, recipient: RecipientFile, now: datetime) -> list[Lasting]:
    """Its keys and certificates; files are read in a thread."""
    return await asyncio.to_thread(lambda: list(lasting(gateway.setup, recipient, now)))


def _worst(keys: Sequence[Lasting], now: datetime) -> tuple[Lasting, Standing] | None:
    """Of keys and certificates that end the one to see to first; None where none ends."""
    standing = [(key, key.standing(now)) for key in keys]
    ending = [each for each in standing if each[1] is not Standing.ENDLESS]
    return min(ending, key=lambda each: (_WORST_FIRST.index(each[1]), each[0].ends[:1]), default=None)


def _state(gateway: Gateway, name: str) -> dict[str, Any]:
    """How it goes with it, as this process sees it."""
    return {
        "unready": gateway.unready.get(name),
        "unready_for_packages": gateway.unready_for_packages.get(name),
        "breaker": gateway.transport.breaker_state(name),
        "breaker_for_packages": gateway.packages.breaker_state(name),
    }


async def suspend(visit: Visit) -> Response:
    """Send it nothing from now on (5.5)."""
    name = visit.in_path("recipient")
    await visit.gateway.suspend(visit.caller, name, person=visit.person.entered, reason=visit.posted("reason"))
    return visit.to(f"/recipients/{name}")


async def resume(visit: Visit) -> Response:
    """Send to it again."""
    name = visit.in_path("recipient")
    await visit.gateway.resume(visit.caller, name, person=visit.person.entered, reason=visit.posted("reason"))
    return visit.to(f"/recipients/{name}")


PAGES = (
    Page("GET", "/recipients", list_recipients, READERS),
    Page("GET", "/recipients/{recipient}", show_recipient, READERS),
    Page("POST", "/recipients/{recipient}/suspend", suspend, _ADMINISTRATORS),
    Page("POST", "/recipients/{recipient}/resume", resume, _ADMINISTRATORS),
)
