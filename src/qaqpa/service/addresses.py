"""From which address a request comes: its connection's, or what a trusted proxy says of whoever stands before it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

FORWARDED = "x-forwarded-for"
UNKNOWN = "unknown"


class Addresses:
    """Knows which proxies are believed (`service.trusted_proxies`)."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = tuple(ip_network(each) for each in trusted)

    def of(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The address of a request: `peer` is its connection's, `forwarded` its X-Forwarded-For headers in order.

        Each proxy adds to the right whom it was asked by. So it is read from the right, as long as trusted proxies
        speak; what stands further left anybody may have written.
        """
        found = _parsed(peer or "")
        if found is None:
            return UNKNOWN
        said = [each for header in forwarded for each in header.split(",")]
        while said and any(found in network for network in self._trusted):
            before = _parsed(said.pop())
            if before is None:
                break  # no address: the proxy itself is all that is known
            found = before
        return str(found)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address, also with a port; as IPv4 where it is one of those."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])  # a zone may be any text
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
