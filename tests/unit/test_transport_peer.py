"""Who may be at the other end, and what a failure is called when a real socket fails: the truth, or doubt."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import certifi
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_transport import sealed

from qaqpa.config.base import HttpsChannel
from qaqpa.errors import (
    AddressRefused,
    AnswerTimeout,
    AnswerTooLarge,
    NotConfigured,
    NotSent,
    PeerRefused,
    ThirdPartyError,
    Unsettled,
)
from qaqpa.testing.sandbox import Fault
from qaqpa.transport.https import Addresses, Https, pinned_url
from qaqpa.transport.peer import CheckedResolver, allowed, tls_context
from qaqpa_adapters.first_credit_bureau.sandbox import FirstCreditBureauSandbox

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

# --- addresses -------------------------------------------------------------------------------------

PUBLIC = ["8.8.8.8", "92.46.190.1", "2a00:1450:4001::1", "2606:4700::1111", "::ffff:8.8.8.8"]
REFUSED = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "RFC 1918": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "link-local": ["169.254.169.254", "fe80::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"],
    "unique local": ["fc00::1", "fd12:3456::1"],
    "site-local": ["fec0::1"],
    "unspecified": ["0.0.0.0", "::"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarking and reserved": ["198.18.0.1", "240.0.0.1", "255.255.255.255", "100::1"],
    "NAT64 to an inner address": ["64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::10.0.0.1"],
    "6to4 to an inner address": ["2002:0a00:0001::1", "2002:7f00:0001::1"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert allowed(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", [each for group in REFUSED.values() for each in group])
def test_no_other_address_is_allowed(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address), ())


def test_private_networks_admit_what_they_list_and_no_more() -> None:
    lease = (ipaddress.ip_network("10.20.0.0/24"), ipaddress.ip_network("fd00:1::/64"))
    inside = ["10.20.0.7", "::ffff:10.20.0.7", "fd00:1::7"]
    outside = ["10.20.1.7", "192.168.1.1", "127.0.0.1", "fd00:2::7", "169.254.169.254"]
    assert all(allowed(ipaddress.ip_address(each), lease) for each in inside)
    assert not any(allowed(ipaddress.ip_address(each), lease) for each in outside)


GOOD_URLS = ["https://bureau.kz/x?y=1", "https://bureau.kz:8443", "https://8.8.8.8/x", "HTTPS://bureau.kz/"]
BAD_URLS = [
    "http://bureau.kz/", "ftp://bureau.kz/", "bureau.kz", "", "https://", "https:///x", "https:bureau.kz",
    "https://user@bureau.kz/", "https://user:pw@bureau.kz/", "https://:pw@bureau.kz/", "https://bureau.kz/#part",
    "https://bureau.kz:x/", "https://bureau.kz:99999/", "https://bureau.kz:-1/", "https://bureau.kz:0/",
    "https://bu reau.kz/", "https://bureau.kz\n/", "https://bureau.kz/\x00", "https://bureau.kz\\@evil.kz/",
    "https://[::1", "https://[v1.x]/", "https://①②⑦.0.0.1/", f"https://bureau.kz/{'a' * 70_000}",
    "https://127.0.0.1/", "https://10.0.0.1:8443/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[fe80::1%25eth0]/", "https://169.254.169.254/latest", "https://0.0.0.0/",
    "https://2130706433/", "https://127.1/", "https://010.0.0.1/", "https://127.0.0.1./", "https://0x7f.1/",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_URLS)
def test_an_address_that_is_plain_https_is_pinned(text: str) -> None:
    assert str(pinned_url("report", text, CheckedResolver(()))).casefold() in {text.casefold(), f"{text}/".casefold()}


@pytest.mark.parametrize("text", BAD_URLS, ids=lambda text: repr(text[:30]))
def test_any_other_address_is_not_configured(text: str) -> None:
    with pytest.raises(NotConfigured, match=r"channel\.endpoints\.report") as refused:
        pinned_url("report", text, CheckedResolver(()))
    assert "pw" not in str(refused.value)


def test_an_inner_address_is_pinned_where_the_configuration_lists_it() -> None:
    assert pinned_url("report", "https://127.0.0.1:8443/", CheckedResolver(LOOPBACK)).port == 8443


# --- TLS -------------------------------------------------------------------------------------------


@asynccontextmanager
async def reaching(url: str, ca: Path | str, *, networks: Any = LOOPBACK, **config: Any) -> AsyncIterator[Https]:
    waits = {"connect_timeout_s": 0.4, "answer_timeout_s": 0.4}
    channel = HttpsChannel(kind="https", endpoints={"report": url}, ca=str(ca), **(waits | config))
    made = Https(channel, Addresses({"report": url}, networks, str(ca), None))
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def fcb(tmp_path: Path) -> AsyncIterator[FirstCreditBureauSandbox]:
    async with FirstCreditBureauSandbox(directory=tmp_path / "fcb") as running:
        yield running


async def pin_of(fcb: FirstCreditBureauSandbox) -> str:
    port = int(fcb.url.rpartition(":")[2])
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port))
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256/{base64.b64encode(hashlib.sha256(info).digest()).decode()}"


async def test_the_pinned_key_is_let_through_beside_another(fcb: FirstCreditBureauSandbox) -> None:
    pins = (f"sha256/{base64.b64encode(bytes(32)).decode()}", await pin_of(fcb))
    async with reaching(f"{fcb.url}/x", fcb.ca_file, key_pins=pins) as channel:
        assert (await channel.send(sealed())).status == 404
    assert len(fcb.calls) == 1


async def test_another_key_than_the_pinned_is_refused(fcb: FirstCreditBureauSandbox) -> None:
    pins = (f"sha256/{base64.b64encode(bytes(32)).decode()}",)
    async with reaching(f"{fcb.url}/x", fcb.ca_file, key_pins=pins) as channel:
        with pytest.raises(PeerRefused):
            await channel.send(sealed())
    assert fcb.calls == []


@pytest.mark.parametrize("fault", [Fault.EXPIRED_CERTIFICATE, Fault.WRONG_HOST_CERTIFICATE])
async def test_a_bad_certificate_is_refused(fcb: FirstCreditBureauSandbox, fault: Fault) -> None:
    fcb.fault = fault
    async with reaching(f"{fcb.url}/x", fcb.ca_file) as channel:
        with pytest.raises(PeerRefused):
            await channel.send(sealed())
    assert fcb.calls == []


async def test_an_unknown_authority_is_refused(fcb: FirstCreditBureauSandbox, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for ca in (other, certifi.where()):
        async with reaching(f"{fcb.url}/x", ca) as channel:
            with pytest.raises(PeerRefused):
                await channel.send(sealed())
    assert fcb.calls == []


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "127.0.0.1."])
async def test_no_spelling_of_an_address_that_is_not_listed_is_connected_to(
    fcb: FirstCreditBureauSandbox, host: str
) -> None:
    with pytest.raises(AddressRefused if host == "localhost" else (NotConfigured, NotSent)):
        async with reaching(fcb.url.replace("localhost", host), fcb.ca_file, networks=()) as channel:
            await channel.send(sealed())
    assert fcb.connections == 0


async def test_an_answer_without_end_is_cut_off(fcb: FirstCreditBureauSandbox) -> None:
    fcb.fault = Fault.HUGE
    path = next(iter(fcb.paths))
    async with reaching(f"{fcb.url}{path}", fcb.ca_file, max_answer_bytes=1000) as channel:
        with pytest.raises((AnswerTooLarge, AnswerTimeout)):
            await channel.send(sealed())


def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    context = tls_context(certifi.where(), (), None)
    assert context.keylog_filename is None, "whoever sets a variable could read every message"
    assert (context.minimum_version, context.check_hostname) == (ssl.TLSVersion.TLSv1_2, True)
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_files_that_do_not_serve_are_not_configured(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for path in (str(rubbish), str(tmp_path / "nowhere.pem")):
        with pytest.raises(NotConfigured, match=r"channel\.ca"):
            tls_context(path, (), None)
        with pytest.raises(NotConfigured, match=r"channel\.client_certificate"):
            tls_context(certifi.where(), (), path)


# --- a server that breaks off ----------------------------------------------------------------------

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BODY = b"the message"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """What one server saw of the request, and what it does about it."""

    def __init__(self, act: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.act, self.seen = act, b""
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            with suppress(OSError):
                await self.act(self, reader, writer)
        finally:
            writer.transport.abort()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # aborted transports close their sockets in the loop's next rounds

    async def read(self, reader: asyncio.StreamReader) -> None:
        while BODY not in self.seen.rpartition(ANSWER)[2]:
            chunk = await reader.read(1000)
            if not chunk:
                raise ConnectionResetError
            self.seen += chunk


async def at_once(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


async def after_reading(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read(reader)


async def never(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read(reader)
    await asyncio.sleep(5)


async def silent(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


def saying(answer: bytes) -> Any:
    async def act(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(answer)
        await writer.drain()

    return act


async def plain_text(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


# what the server does, whether it speaks TLS, what that must be called
BREAKING: dict[str, tuple[Any, bool, type[ThirdPartyError]]] = {
    "closes before TLS": (at_once, False, NotSent),
    "speaks no TLS": (plain_text, False, NotSent),
    "never answers the handshake": (silent, False, NotSent),
    "closes after the handshake": (at_once, True, ThirdPartyError),
    "closes after reading the request": (after_reading, True, Unsettled),
    "never answers": (never, True, AnswerTimeout),
    "answers half a head": (saying(b"HTTP/1.1 200 OK\r\ncont"), True, Unsettled),
    "answers half a body": (saying(ANSWER[:-1]), True, Unsettled),
    "answers rubbish": (saying(b"\x00\x01 rubbish\r\n\r\n"), True, Unsettled),
    "answers a head without end": (saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), True, Unsettled),
}


@asynccontextmanager
async def serving(server: Server, context: ssl.SSLContext | None) -> AsyncIterator[str]:
    listener = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{listener.sockets[0].getsockname()[1]}/"
    finally:
        listener.close()
        await server.stop()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, tmp_path / "ca.pem"


@pytest.mark.parametrize(("act", "speaks_tls", "called"), BREAKING.values(), ids=BREAKING.keys())
async def test_not_sent_is_said_only_where_the_server_saw_nothing(
    tls: tuple[ssl.SSLContext, Path], act: Any, speaks_tls: bool, called: type[ThirdPartyError]
) -> None:
    server = Server(act)
    async with serving(server, tls[0] if speaks_tls else None) as url, reaching(url, tls[1]) as channel:
        with pytest.raises(called) as said:
            await channel.send(sealed(body=BODY))
    if isinstance(said.value, NotSent):
        assert server.seen == b""
    assert server.seen == b"" or isinstance(said.value, Unsettled)


async def test_nobody_listening_is_not_sent(tls: tuple[ssl.SSLContext, Path]) -> None:
    async with serving(Server(at_once), None) as url:
        pass
    async with reaching(url, tls[1]) as channel:
        with pytest.raises(NotSent):
            await channel.send(sealed())


async def test_a_kept_connection_that_breaks_leaves_doubt(tls: tuple[ssl.SSLContext, Path]) -> None:
    async def answers_once(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(ANSWER)(server, reader, writer)
        server.seen += ANSWER
        await server.read(reader)

    server = Server(answers_once)
    async with serving(server, tls[0]) as url, reaching(url, tls[1]) as channel:
        assert (await channel.send(sealed(body=BODY))).body == b"ok"
        with pytest.raises(Unsettled):
            await channel.send(sealed(body=BODY))
    assert server.seen.count(BODY) == 2, "it was sent a second time, once"


async def test_old_tls_is_refused(tls: tuple[ssl.SSLContext, Path]) -> None:
    context, ca = tls
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = Server(after_reading)
    async with serving(server, context) as url, reaching(url, ca) as channel:
        with pytest.raises(NotSent):
            await channel.send(sealed())
    assert server.seen == b""
