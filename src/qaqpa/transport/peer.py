"""Who is at the other end: addresses that a recipient may have, and a TLS context that proves the peer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qaqpa.errors import NotConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Letters, digits and hyphens, the last label not numeric: some resolvers read 127.1 or 0x7f.1 as an address.
HOST_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)*(?![0-9.]+$|0x[0-9a-f]*$)[a-z](?:[a-z0-9-]*[a-z0-9])?")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Teredo, 6to4: an IPv4 address in disguise, perhaps a private one. (NAT64 lies outside 2000::/3.) And documentation.
_CARRIES_IPV4 = tuple(ipaddress.IPv6Network(text) for text in ("2001::/32", "2002::/16", "3fff::/20"))


def is_address(host: str) -> bool:
    """Whether `host` is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class AddressForbidden(OSError):
    """A name points to an address that the recipient may not have. An OSError, so that the client hands it on."""


class PinMismatch(ssl.SSLError):
    """The peer's public key is none of those pinned."""


def allowed(address: Address, networks: Iterable[Network]) -> bool:
    """Whether the recipient may be at `address`: a public one, or in a network that its configuration names."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in networks):
        return True
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST or any(address in network for network in _CARRIES_IPV4)
    ):
        return False
    return address.is_global and not address.is_multicast


class CheckedResolver(AbstractResolver):
    """Resolves names and refuses every answer of which one address is not allowed (a name may be rebound)."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of `host`. Raises AddressForbidden."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for each_family, _, proto, _, sockaddr in found:
            address = str(sockaddr[0])
            self.check(address)
            results.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=each_family, proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )  # fmt: skip
        return results

    def check(self, address: str) -> None:
        """Raises AddressForbidden."""
        if not allowed(ipaddress.ip_address(address.partition("%")[0]), self._networks):
            raise AddressForbidden("the name points to a private, loopback or reserved address")

    async def close(self) -> None:
        """Nothing is held."""


def _pinned(pins: frozenset[bytes]) -> type[ssl.SSLObject]:
    """An SSLObject whose handshake fails unless the peer's public key is pinned: before any request is written."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            certificate = x509.load_der_x509_certificate(self.getpeercert(binary_form=True) or b"")
            key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            digest = hashlib.sha256(key).digest()
            if not any(hmac.compare_digest(digest, pin) for pin in pins):
                raise PinMismatch("the peer's public key is not among the pinned ones")

    return Pinned


def tls_context(ca: str, pins: Iterable[str], client_certificate: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificate and host name checked. Raises NotConfigured for a file that does not serve."""
    # Not ssl.create_default_context: that writes session keys to wherever SSLKEYLOGFILE points.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError):
        raise NotConfigured(f"channel.ca: {ca} is not a readable PEM file of certificates") from None
    if client_certificate is not None:
        try:
            # An empty password, so that an encrypted key fails instead of asking on the terminal.
            context.load_cert_chain(client_certificate, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError):
            raise NotConfigured(
                "channel.client_certificate: not a readable PEM file of certificate and unencrypted key"
            ) from None
    digests = frozenset(base64.b64decode(pin.removeprefix("sha256/")) for pin in pins)
    if digests:
        context.sslobject_class = _pinned(digests)
    return context
