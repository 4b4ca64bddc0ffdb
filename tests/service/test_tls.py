"""The service's own TLS and its callers' certificates, over real sockets: who cannot prove itself gets no answer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from desk import PERSON, free_port, served
from harness import House, request_document

pytestmark = pytest.mark.timeout(180)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass
class Authorities:
    """One signs the service's certificate, one those of callers, one is a stranger's."""

    ours: trustme.CA
    callers: trustme.CA
    stranger: trustme.CA

    def trusting(self, shown: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a caller connects with: it trusts our authority, and shows a certificate of its own if it has one."""
        context = ssl.create_default_context()
        self.ours.configure_trust(context)
        if shown is not None:
            shown.configure_cert(context)
        return context


@pytest.fixture
def authorities() -> Authorities:
    return Authorities(trustme.CA(), trustme.CA(), trustme.CA())


def with_tls(house: House, authorities: Authorities, *, client_ca: bool = True) -> None:
    """Let the service have a certificate, and ask its callers for theirs."""
    own = authorities.ours.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(str(house.home / "service.key"))
    for blob in own.cert_chain_pems:
        blob.write_to_path(str(house.home / "service.pem"), append=True)
    authorities.callers.cert_pem.write_to_path(str(house.home / "callers.pem"))
    lines = 'certificate = "service.pem"\nkey = "service.key"\n' + ('client_ca = "callers.pem"\n' if client_ca else "")
    house.edit("gateway.toml", ("[ledger]", f"[service]\n{lines}\n[ledger]"))


def for_servers_only(authority: trustme.CA, folder: Path) -> trustme.LeafCert:
    """Of the right authority, and made for servers: a stolen one lets nobody in as a caller."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(YESTERDAY)
        .not_valid_after(YESTERDAY + timedelta(days=3))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return trustme.LeafCert(pem, made.public_bytes(serialization.Encoding.PEM), [])


@contextmanager
def no_answer() -> Iterator[None]:
    """The connection ends without any answer, for a reason of TLS (with 1.3 it is told after the first request)."""
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        yield


async def test_only_callers_with_a_good_certificate_and_a_token_are_answered(
    house: House, tokens: dict[str, str], authorities: Authorities, tmp_path: Path
) -> None:
    with_tls(house, authorities)
    good = authorities.callers.issue_cert("scoring.mfo.example")
    shown: dict[str, trustme.LeafCert | None] = {
        "none": None,
        "of another authority": authorities.stranger.issue_cert("scoring.mfo.example"),
        "of the authority that made the service's own": authorities.ours.issue_cert("scoring.mfo.example"),
        "expired": authorities.callers.issue_cert("scoring.mfo.example", not_after=YESTERDAY),
        "not valid yet": authorities.callers.issue_cert(
            "scoring.mfo.example", not_before=YESTERDAY + timedelta(days=2), not_after=YESTERDAY + timedelta(days=9)
        ),
        "for servers only": for_servers_only(authorities.callers, tmp_path),
        "of a false authority of the right name": _namesake(authorities.callers).issue_cert("scoring.mfo.example"),
    }
    async with served(house, tokens, tls=authorities.trusting(good)) as server:
        await server.consent()
        before = len(house.fcb.calls)
        for what, certificate in shown.items():
            async with httpx.AsyncClient(
                base_url=server.client.base_url, verify=authorities.trusting(certificate), trust_env=False
            ) as stranger:
                token = {"authorization": f"Bearer {tokens['loan-scoring']}", "idempotency-key": "k"}
                for method, path in (("GET", "/healthz"), ("GET", "/metrics"), ("POST", "/v1/disclosures")):
                    with no_answer():
                        answer = await stranger.request(
                            method, path, headers=token, json=request_document(PERSON) if method == "POST" else None
                        )
                        pytest.fail(f"{what}: {path} answered {answer.status_code}")
        assert len(house.fcb.calls) == before
        async with httpx.AsyncClient(
            base_url=str(server.client.base_url).replace("https", "http"), trust_env=False
        ) as plain:
            with no_answer():
                await plain.get("/healthz")
        # A good certificate alone says nobody's name.
        assert (await server.ask("POST", "/v1/decisions", None, json=request_document(PERSON))).status_code == 401
        # Whoever has both is served, after all the others; an intermediate authority that it shows is followed.
        assert (await server.disclose(request_document(PERSON))).status_code == 200
        department = authorities.callers.create_child_ca().issue_cert("scoring.mfo.example")
        async with httpx.AsyncClient(
            base_url=server.client.base_url, verify=authorities.trusting(department), trust_env=False
        ) as other:
            assert (await other.get("/readyz")).status_code == 200
        said = [line["event"] for line in server.lines]
        assert said == ["serving", "caller refused", "disclosed"], "strangers at the door fill no log"


def _namesake(authority: trustme.CA) -> trustme.CA:
    """Another key under the same name."""
    name = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
    value = {part.oid: str(part.value) for part in name}
    return trustme.CA(
        organization_name=value.get(NameOID.ORGANIZATION_NAME),
        organization_unit_name=value.get(NameOID.ORGANIZATIONAL_UNIT_NAME),
    )


async def test_with_tls_alone_callers_see_who_serves_and_old_versions_are_refused(
    house: House, tokens: dict[str, str], authorities: Authorities
) -> None:
    with_tls(house, authorities, client_ca=False)
    async with served(house, tokens, tls=authorities.trusting()) as server:
        assert (await server.client.get("/readyz")).status_code == 200
        assert (await server.ask("POST", "/v1/decisions", None, json=request_document(PERSON))).status_code == 401
        old = authorities.trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        distrusting = ssl.create_default_context()
        for context in (old, distrusting):
            async with httpx.AsyncClient(base_url=server.client.base_url, verify=context, trust_env=False) as client:
                with no_answer():
                    await client.get("/healthz")


WRONG_FILES = {
    "a key of another certificate": ("service.key", "stranger"),
    "no key at all": ("service.key", "text"),
    "a certificate that is none": ("service.pem", "text"),
    "authorities that are none": ("callers.pem", "text"),
    "no authorities in the file": ("callers.pem", ""),
}


@pytest.mark.parametrize("what", WRONG_FILES)
async def test_files_that_cannot_serve_are_named_before_anything_listens(
    house: House, authorities: Authorities, what: str
) -> None:
    with_tls(house, authorities)
    name, content = WRONG_FILES[what]
    other = authorities.stranger.issue_cert("127.0.0.1").private_key_pem.bytes()
    (house.home / name).write_bytes(other if content == "stranger" else content.encode())
    ran = await house.cli("serve", "--listen", f"127.0.0.1:{free_port()}")
    assert ran.code == 2, ran
    assert "not_configured" in ran.err and "service." in ran.err
    assert "serving" not in ran.out
