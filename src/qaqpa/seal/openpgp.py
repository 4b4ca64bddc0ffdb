"""OpenPGP (RFC 9580) to the encryption keys of a pinned certificate: Sequoia for single messages and for every key.

Sequoia's Python binding has no stream: its call for files keeps the interpreter's lock, so nothing could feed it. A
package therefore begins with what Sequoia makes for its recipient (the packets with the encrypted session key), and the
content follows under that session key, written by `openpgp_stream`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from pysequoia import Cert, encrypt
from pysequoia.packet import Packet, PacketPile, SignatureType, Tag

from qaqpa.config.seals import OpenPgpSeal
from qaqpa.errors import NotConfigured
from qaqpa.model.words import SealKind
from qaqpa.seal.keys import Sealing, Sink, read_key
from qaqpa.seal.openpgp_stream import OpenPgpStream, session_key

_PRIVATE = (Tag.SecretKey, Tag.SecretSubkey)
_KEYS = (Tag.PublicKey, Tag.PublicSubkey)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OpenPgpKey:
    """A `PackageKey` from an OpenPGP certificate."""

    kid: str
    """The primary key's fingerprint, in capitals."""
    certificate: Cert = field(repr=False)
    expires_at: datetime | None
    kind: ClassVar[SealKind] = SealKind.OPENPGP
    media_type: ClassVar[str] = "application/octet-stream"

    def encrypt(self, content: bytes, content_type: str) -> bytes:
        """As `RecipientKey`; binary."""
        return _encrypted(content, self.certificate, [])

    def into(self, file: Sink) -> Sealing:
        """As `PackageKey`."""
        # Sequoia tells nobody the session key. Encrypted to a password too, it stands in a packet that we can open,
        # and that goes no further; the password is random and forgotten here.
        password = secrets.token_urlsafe(32)
        packets = list(PacketPile.from_bytes(_encrypted(b"", self.certificate, [password])))
        (wrapped,) = (each for each in packets if each.tag == Tag.SKESK)
        (sealed,) = (each for each in packets if each.tag == Tag.SEIP)
        key = session_key(wrapped.body, password.encode())
        for each in packets:
            if each.tag == Tag.PKESK:
                file.write(bytes(each))
        return OpenPgpStream(file, key, version=sealed.body[0])


def load_openpgp(config: OpenPgpSeal, path: str, now: datetime) -> OpenPgpKey:
    """The certificate in the file at `path`, if it is the pinned one and in force at `now`. Raises NotConfigured."""
    certificate = _certificate(path)
    found, pinned = certificate.fingerprint.upper(), config.fingerprint.upper()
    if found != pinned:
        raise NotConfigured(
            f"seal.key: {path} is {found}, but seal.fingerprint is {pinned}: ask the recipient, by "
            "another way, which is theirs"
        )
    parts = list(PacketPile.from_bytes(bytes(certificate)))
    begins = parts[0].key_created
    if begins is not None and begins > now:
        raise NotConfigured(f"seal.key: {path} ({found}) begins on {begins:%Y-%m-%d} only: look at the clocks")
    try:
        revoked, ends = certificate.is_revoked, certificate.expiration
        # Tried once now; Sequoia chooses the keys for it and refuses weak, revoked and expired ones.
        message = b"" if revoked or _over(ends, now) else _encrypted(b"", certificate, [])
    except (NotConfigured, RuntimeError):  # of Sequoia, where its policy takes none of the certificate
        raise NotConfigured(
            f"seal.key: {path} ({found}) has no key to encrypt to that is in force and strong (RSA from 2048 bits)"
        ) from None
    if revoked:
        raise NotConfigured(f"seal.key: {path} ({found}) was revoked: get the recipient's new certificate")
    if ends is not None and _over(ends, now):
        raise NotConfigured(
            f"seal.key: {path} ({found}) expired on {ends:%Y-%m-%d}: get it prolonged, or the recipient's new one"
        )
    end = min((each for each in (ends, _end(parts, message)) if each is not None), default=None)
    return OpenPgpKey(found, certificate, end)


def _certificate(path: str) -> Cert:
    """The one in the file, whatever its state. Raises NotConfigured."""
    content = read_key(path)
    try:
        private = any(each.tag in _PRIVATE for each in PacketPile.from_bytes(content))
        certificates = [] if private else Cert.split_bytes(content)
    except Exception:  # noqa: BLE001 - the binding has no errors of its own
        private, certificates = False, []
    if private:
        raise NotConfigured(f"seal.key: {path} holds a private key; ask the recipient for `gpg --export` of it")
    if len(certificates) != 1:
        raise NotConfigured(f"seal.key: {path} is not one OpenPGP certificate (public key)")
    return certificates[0]


def _over(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now


def _encrypted(content: bytes, certificate: Cert, passwords: list[str]) -> bytes:
    """Raises NotConfigured where no key of the certificate serves any more."""
    try:
        return encrypt(content, [certificate], passwords=passwords, armor=False)
    except Exception:  # noqa: BLE001 - the binding has no errors of its own, and its texts hold traces
        raise NotConfigured(
            f"the recipient's certificate {certificate.fingerprint.upper()} serves no more: get its new one"
        ) from None


def _end(parts: list[Packet], message: bytes) -> datetime | None:
    """When the last of the subkeys ends that `message` was encrypted to, in UTC; None where one has no end."""
    used = [each.body[:40] for each in PacketPile.from_bytes(message) if each.tag == Tag.PKESK]
    ends: list[datetime | None] = []
    for at, part in enumerate(parts):
        # A version 3 packet names the key by its id, version 6 by the fingerprint, of which the id is a part.
        name = bytes.fromhex(part.key_id) if part.tag in _KEYS and part.key_id else b""
        if not name or not any(name in each for each in used):
            continue
        end = next((i for i in range(at + 1, len(parts)) if parts[i].tag in _KEYS), len(parts))
        bindings = [each for each in parts[at + 1 : end] if each.signature_type == SignatureType.SubkeyBinding]
        newest = max(bindings, key=lambda each: each.signature_created or _NEVER, default=None)
        period, made = newest.key_validity_period if newest is not None else None, part.key_created
        ends.append(made + period if made is not None and period is not None else None)
    known = [each for each in ends if each is not None]
    return max(known) if known and len(known) == len(ends) else None
