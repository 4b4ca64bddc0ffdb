"""Where a channel of the configuration leads, its references read."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from qaqpa.config.base import HttpsChannel
from qaqpa.config.references import missing
from qaqpa.errors import NotConfigured
from qaqpa.transport.https import Addresses, Https
from qaqpa.transport.peer import Network

if TYPE_CHECKING:
    from qaqpa.gateway.setup import Setup


def networks_of(setup: Setup, values: Iterable[str], what: str) -> tuple[Network, ...]:
    """Networks beside the public ones that a recipient's addresses may lie in. Raises NotConfigured."""
    networks: list[str] = []
    for value in values:
        # Unset adds no network: the narrow reading.
        if missing(value, home=setup.home, environ=setup.environ) is None:
            networks += setup.resolve(value, what).split(",")
    try:
        return tuple(ipaddress.ip_network(text.strip()) for text in networks)
    except ValueError:
        raise NotConfigured(f"{what}: a network is written as 10.0.0.0/8") from None


def addresses(setup: Setup, channel: HttpsChannel) -> Addresses:
    """Where a channel leads, its references read. Raises NotConfigured."""

    def path(value: str, what: str) -> str:
        return str(setup.home / setup.resolve(value, what))

    return Addresses(
        endpoints={
            name: setup.resolve(value, f"channel.endpoints.{name}") for name, value in channel.endpoints.items()
        },
        networks=networks_of(setup, channel.private_networks, "channel.private_networks"),
        ca=path(channel.ca, "channel.ca"),
        client_certificate=channel.client_certificate
        and path(channel.client_certificate, "channel.client_certificate"),
    )


def make_line(setup: Setup, channel: HttpsChannel) -> Https:
    """The way to who is no recipient: an issuer's keys, the provider at which people sign in. Raises NotConfigured."""
    return Https(channel, addresses(setup, channel))
