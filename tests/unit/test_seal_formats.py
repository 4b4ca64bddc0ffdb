"""age, CMS and OpenPGP: what their own tools read, and which keys are refused."""

from __future__ import annotations

import datetime as dt
import itertools
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from pydantic import ValidationError
from pysequoia import Cert, Tsk
from pysequoia.packet import PacketPile

from qaqpa.errors import NotConfigured
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.disclosure import Intent, Message
from qaqpa.model.identifiers import CallerId, DisclosureId, RecipientId, SubjectId
from qaqpa.model.words import SealKind, Words
from qaqpa.seal import require_valid, seal
from qaqpa.testing.opening import CannotOpen, Pair, make_pair
from recipients import SHAPE, every_recipient, gpg, gpg_key, load, recipient, run, tool

MESSAGE = Message("<иин>900101300017</иин>".encode(), "text/xml", "report", {"SOAPAction": "GetReport"})
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def intent(message: Message = MESSAGE) -> Intent:
    permitted = GuardResult("g", "1.1", Words(ru="р", kk="к", en="e"), Result.PERMIT)
    asked = Asked(CallerId("c"), RecipientId("r"), "o", "p")
    return Intent(DisclosureId("d-1"), 0, SubjectId("s"), Decision(asked, NOW, (permitted,)), message)


# --- one message -----------------------------------------------------------------------------------


@every_recipient
def test_the_recipients_own_tool_opens_a_message(name: str, tmp_path: Path) -> None:
    to = recipient(name)
    key = to.key(tmp_path)
    first, second = (seal(intent(), key, idempotent=True) for _ in range(2))
    assert to.open(first.body) == MESSAGE.body
    assert (first.kind, first.content_type) == (key.kind, key.media_type)
    assert (first.kind, first.headers, first.idempotent) == (to.seal["kind"], MESSAGE.headers, True)
    assert b"900101300017" not in first.body
    assert first.body[-16:] != second.body[-16:] or first.body[-40:-6] != second.body[-40:-6]


@every_recipient
@pytest.mark.parametrize("body", [b"", secrets.token_bytes(100_000)], ids=["nothing", "100,000 bytes"])
def test_a_message_may_have_any_length(name: str, body: bytes, tmp_path: Path) -> None:
    to = recipient(name)
    sealed = seal(intent(Message(body, "text/plain", "report")), to.key(tmp_path), idempotent=False)
    assert to.open(sealed.body) == body


def test_cms_is_what_it_says_and_nothing_weaker(tmp_path: Path) -> None:
    openssl = tool("openssl", "openssl")
    for alg, words in (("RSA-OAEP-256", b"rsaesOaep"), ("ECDH-ES", b"dhSinglePass-stdDH-sha256kdf-scheme")):
        pair = make_pair(SealKind.CMS, alg)
        key = load(tmp_path, pair.seal, pair.public)
        assert key is not None
        (tmp_path / "sealed").write_bytes(key.encrypt(b"x", ""))
        printed = run(openssl, "cms", "-cmsout", "-print", "-inform", "DER", "-in", str(tmp_path / "sealed"))
        assert words in printed
        assert b"id-smime-ct-authEnvelopedData" in printed
        assert b"aes-256-gcm" in printed
        assert b"rsaEncryption" not in printed  # PKCS#1 v1.5
        assert (b"id-aes256-wrap" in printed) == (alg == "ECDH-ES")
        assert printed.count(b"sha256") == (2 if alg == "RSA-OAEP-256" else 1)  # of digest and mask; of the derivation


# --- the recipient's side, for stand-ins -----------------------------------------------------------

PAIRS: dict[str, Callable[[], Pair]] = {
    "jwe": lambda: make_pair(SealKind.JWE),
    "age": lambda: make_pair(SealKind.AGE),
    "cms, RSA": lambda: make_pair(SealKind.CMS, "RSA-OAEP-256"),
    "cms, ECDH": lambda: make_pair(SealKind.CMS),
    "openpgp": lambda: make_pair(SealKind.OPENPGP),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS.keys())
def test_a_stand_in_opens_what_was_sealed_to_it_and_nothing_else(make: Callable[[], Pair], tmp_path: Path) -> None:
    ours, other = make(), make()
    key = load(tmp_path, ours.seal, ours.public)
    sealed = bytearray(seal(intent(), key, idempotent=False).body)
    assert ours.open(bytes(sealed)) == MESSAGE.body
    assert ours.kind == ours.seal["kind"]
    with pytest.raises(CannotOpen):
        other.open(bytes(sealed))
    with pytest.raises(CannotOpen):
        ours.open(bytes(sealed[:-1]))
    sealed[-10] ^= 1
    with pytest.raises(CannotOpen):
        ours.open(bytes(sealed))


# --- keys that are refused -------------------------------------------------------------------------

AGE, OTHER_AGE = make_pair(SealKind.AGE), make_pair(SealKind.AGE)
RSA, EC = make_pair(SealKind.CMS, "RSA-OAEP-256"), make_pair(SealKind.CMS)
PGP, OTHER_PGP = make_pair(SealKind.OPENPGP), make_pair(SealKind.OPENPGP)
TO_RSA, TO_EC = {"kind": SealKind.CMS, "alg": "RSA-OAEP-256"}, {"kind": SealKind.CMS, "alg": "ECDH-ES"}


def refused(folder: Path, seal: object, content: bytes, words: str, now: dt.datetime | None = None) -> None:
    assert isinstance(seal, dict)
    with pytest.raises(NotConfigured, match=r"^seal\.key: ") as error:
        load(folder, seal, content, now)
    said = str(error.value)
    assert words in said
    assert str(folder / "recipient.key") in said
    assert len(said) < 400
    assert "Stack" not in said
    for secret in (line.decode() for pair in (AGE, RSA, EC) for line in pair.private.splitlines()[:2][-1:]):
        assert secret not in said


REFUSED_AGE: dict[str, tuple[bytes, str]] = {
    "a private key": (AGE.private, "holds a private key"),
    "a key file of age-keygen": (b"# public key: " + AGE.public + AGE.private, "holds a private key"),
    "a plug-in's": (
        b"age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
        "not one age recipient",
    ),
    "two recipients": (AGE.public + OTHER_AGE.public, "not one age recipient"),
    "a typing error": (AGE.public[:10] + (b"p" if AGE.public[10:11] == b"q" else b"q") + AGE.public[11:], "typing"),
    "a key of SSH": (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPMqfVnnRQJzGEIwYjsXLoHqKRBn2Oo", "not one age recipient"),
    "nothing": (b"", "not one age recipient"),
    "comments only": (b"# age1\n", "not one age recipient"),
    "noise": (bytes(range(256)), "not one age recipient"),
    "a certificate": (EC.public, "not one age recipient"),
    "a file too long": (b"#" * 2**21, "too long"),
    "a point of small order": (b"age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z", "typing error"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED_AGE.values(), ids=REFUSED_AGE.keys())
def test_an_age_key_that_does_not_serve_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    refused(tmp_path, dict(AGE.seal), content, words)


def test_an_age_recipient_may_have_comments_beside_it(tmp_path: Path) -> None:
    key = load(tmp_path, AGE.seal, b"# the agency, 2026\n\n" + AGE.public)
    assert key is not None and key.kid == AGE.public.decode().strip()


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, begin: dt.timedelta = -DAY, usage: str | None = None
) -> bytes:
    """A certificate of 20 days."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Алушы")])
    signer = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), NOW + begin, NOW + 20 * DAY
    )
    if usage is not None:
        names = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )  # fmt: skip
        made = made.add_extension(x509.KeyUsage(**{each: each == usage for each in names}), critical=True)
    return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


REFUSED_CMS: dict[str, tuple[dict[str, str], Callable[[], bytes], str]] = {
    "a private key": (TO_EC, lambda: EC.private, "holds a private key"),
    "certificate and key": (TO_EC, lambda: EC.public + EC.private, "holds a private key"),
    "an RSA key for ECDH": (TO_EC, lambda: RSA.public, "not on P-256"),
    "an EC key for RSA": (TO_RSA, lambda: EC.public, "not RSA"),
    "P-384": (TO_EC, lambda: certificate(ec_key(ec.SECP384R1())), "not on P-256"),
    "RSA of 1024 bits": (TO_RSA, lambda: certificate(rsa_key(1024)), "less than 2048 bits"),
    "not begun": (TO_EC, lambda: certificate(ec_key(), begin=DAY), "begins on"),
    "RSA for signatures": (TO_RSA, lambda: certificate(rsa_key(), usage="digital_signature"), "keyUsage"),
    "EC for signatures": (TO_EC, lambda: certificate(ec_key(), usage="digital_signature"), "keyUsage"),
    "EC for transport": (TO_EC, lambda: certificate(ec_key(), usage="key_encipherment"), "keyUsage"),
    "two certificates": (TO_EC, lambda: EC.public + EC.public, "not one certificate"),
    "DER": (TO_EC, lambda: b"0\x82\x01\x00" + bytes(256), "not one certificate"),
    "nothing": (TO_EC, lambda: b"", "not one certificate"),
    "noise": (TO_EC, lambda: bytes(range(256)), "not one certificate"),
    "broken": (TO_EC, lambda: EC.public[:90] + b"AAAA" + EC.public[94:], "not one certificate"),
}


@pytest.mark.parametrize(("to", "content", "words"), REFUSED_CMS.values(), ids=REFUSED_CMS.keys())
def test_a_certificate_that_does_not_serve_is_refused(
    to: dict[str, str], content: Callable[[], bytes], words: str, tmp_path: Path
) -> None:
    refused(tmp_path, to, content(), words)


def test_an_rsa_key_that_only_signs_by_its_kind_is_refused(tmp_path: Path) -> None:
    openssl = tool("openssl", "openssl")
    given = ("-subj", "/CN=pss", "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c"))
    run(openssl, "req", "-x509", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-nodes", *given)
    refused(tmp_path, TO_RSA, (tmp_path / "c").read_bytes(), "not RSA")


def test_a_certificate_serves_to_its_end_and_for_its_use(tmp_path: Path) -> None:
    for to, key, usage in ((TO_RSA, rsa_key(), "key_encipherment"), (TO_EC, ec_key(), "key_agreement")):
        content = certificate(key, usage=usage)
        found = load(tmp_path, to, content, NOW)
        end = (NOW + 20 * DAY).replace(microsecond=0)
        assert found is not None and found.expires_at == end
        require_valid(found, end - dt.timedelta(seconds=1))
        with pytest.raises(NotConfigured, match="ended on"):
            require_valid(found, end)
        refused(tmp_path, to, content, "expired on", end)
    require_valid(None, NOW)


def revoked(pair: Pair) -> bytes:
    key = Tsk.from_bytes(pair.private)
    whole = key.extract_certificate()
    first, *others = PacketPile.from_bytes(bytes(whole))
    return bytes(Cert.from_packets([first, *PacketPile.from_bytes(bytes(whole.revoke(key.certifier()))), *others]))


def without_subkeys(pair: Pair) -> bytes:
    packets = itertools.takewhile(lambda each: "Subkey" not in str(each.tag), PacketPile.from_bytes(pair.public))
    return b"".join(bytes(each) for each in packets)


REFUSED_PGP: dict[str, tuple[bytes, str]] = {
    "a private key": (PGP.private, "holds a private key"),
    "another's certificate": (OTHER_PGP.public, "but seal.fingerprint is"),
    "revoked": (revoked(PGP), "was revoked"),
    "no key to encrypt to": (without_subkeys(PGP), "has no key to encrypt to"),
    "two certificates": (PGP.public + OTHER_PGP.public, "not one OpenPGP certificate"),
    "nothing": (b"", "not one OpenPGP certificate"),
    "noise": (bytes(range(256)), "not one OpenPGP certificate"),
    "a certificate of X.509": (EC.public, "not one OpenPGP certificate"),
    "cut off": (PGP.public[:60], "not one OpenPGP certificate"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED_PGP.values(), ids=REFUSED_PGP.keys())
def test_an_openpgp_certificate_that_does_not_serve_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    refused(tmp_path, dict(PGP.seal), content, words)


def test_an_openpgp_certificate_that_ends_is_refused_from_then_on(tmp_path: Path) -> None:
    found = load(tmp_path, PGP.seal, PGP.public)
    assert found is not None and found.expires_at is not None
    assert abs(found.expires_at - NOW - 365 * DAY) < DAY
    refused(tmp_path, dict(PGP.seal), PGP.public, "expired on", found.expires_at)


PAST = ("--faked-system-time", "20200101T000000!")
AHEAD = ("--faked-system-time", f"{(NOW + 90 * DAY):%Y%m%d}T000000!")


def ended_subkey() -> str:
    fingerprint = gpg_key("ended@recipient.example", "ed25519", "sign,cert", life="0")
    gpg(*PAST, "--ignore-time-conflict", "--quick-add-key", fingerprint, "cv25519", "encr", "1y")
    return fingerprint


GNUPG_REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "RSA of 1024 bits": (
        lambda: gpg_key("weak@recipient.example", "rsa1024", "sign,cert,encr"),
        "no key to encrypt to",
    ),
    "for signatures only": (lambda: gpg_key("signs@recipient.example", "ed25519", "sign,cert"), "no key to encrypt to"),
    "its subkey has ended": (ended_subkey, "no key to encrypt to"),
    "not begun": (lambda: gpg_key("ahead@recipient.example", "rsa2048", "sign,cert,encr", *AHEAD), "begins on"),
    "ended": (lambda: gpg_key("past@recipient.example", "rsa2048", "sign,cert,encr", *PAST), "expired on"),
}


@pytest.mark.parametrize(("make", "words"), GNUPG_REFUSED.values(), ids=GNUPG_REFUSED.keys())
def test_a_key_of_gnupgs_that_does_not_serve_is_refused(make: Callable[[], str], words: str, tmp_path: Path) -> None:
    fingerprint = make()
    refused(tmp_path, {"kind": SealKind.OPENPGP, "fingerprint": fingerprint}, gpg("--export", fingerprint), words)


def test_the_end_of_an_openpgp_key_is_that_of_the_subkey_that_is_used(tmp_path: Path) -> None:
    fingerprint = gpg_key("prolonged@recipient.example", "ed25519", "sign,cert", life="2y")
    gpg("--quick-add-key", fingerprint, "cv25519", "encr", "40d")
    found = load(tmp_path, {"kind": SealKind.OPENPGP, "fingerprint": fingerprint.lower()}, gpg("--export", fingerprint))
    assert found is not None and found.expires_at is not None
    assert found.kid == fingerprint
    assert abs(found.expires_at - NOW - 40 * DAY) < DAY


@pytest.mark.parametrize("fingerprint", ["", "ABCD", "A" * 39, "A" * 41, "G" * 40, f"{'A' * 20} {'A' * 20}"])
def test_a_fingerprint_is_whole(fingerprint: str) -> None:
    with pytest.raises(ValidationError):
        SHAPE.validate_python({"kind": "openpgp", "fingerprint": fingerprint, "key": "k"})
