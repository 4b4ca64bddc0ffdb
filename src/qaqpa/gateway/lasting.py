"""How long what a recipient needs will last: its agreement, its keys, its certificates. Files are read, no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from qaqpa.config.base import HttpsChannel
from qaqpa.config.recipients import Agreement, RecipientFile, RsaSigner
from qaqpa.config.seals import TlsOnlySeal
from qaqpa.errors import NotConfigured
from qaqpa.gateway.setup import Setup, recipient_key
from qaqpa.receipts import load_receipt_key
from qaqpa.seal import RecipientKey, load_key

SOON = timedelta(days=30)
_UNREADABLE = "cannot be read as certificates in PEM: look at the path and the file"


class Standing(StrEnum):
    """How it stands with something that may end."""

    ABSENT = "absent"
    """There is none, or it cannot be read."""
    NOT_YET = "not_yet"
    OVER = "over"
    PARTLY = "partly"
    """Of several, one is over; the others serve."""
    SOON = "soon"
    FINE = "fine"
    ENDLESS = "endless"


@dataclass(frozen=True, slots=True)
class Lasting:
    """A key, or a file of certificates."""

    what: str
    """Where the configuration names it: `seal.key`, `channel.ca`."""
    ends: tuple[datetime, ...] = ()
    """Of each that it holds, the earliest first; none for a key without an end."""
    whole: bool = True
    """All must be in force; of authorities one is enough."""
    named: str | None = None
    """What names the key."""
    path: Path | None = None
    problem: str | None = None
    """Why it does not serve; never a personal value."""

    @property
    def end(self) -> datetime | None:
        """When it serves no more."""
        if not self.ends:
            return None
        return self.ends[0] if self.whole else self.ends[-1]

    def standing(self, now: datetime) -> Standing:
        """How it stands at `now`."""
        if self.problem is not None:
            return Standing.ABSENT
        if self.end is None:
            return Standing.ENDLESS
        if self.end <= now:
            return Standing.OVER
        if self.ends[0] <= now:
            return Standing.PARTLY
        return Standing.SOON if self.ends[0] - now <= SOON else Standing.FINE


def agreement_standing(agreement: Agreement | None, today: date) -> Standing:
    """How it stands with an agreement on a day (2.3(4))."""
    if agreement is None:
        return Standing.ABSENT
    if agreement.signed_on > today:
        return Standing.NOT_YET
    if agreement.expires_on is None:
        return Standing.ENDLESS
    if agreement.expires_on < today:
        return Standing.OVER
    return Standing.SOON if agreement.expires_on - today <= SOON else Standing.FINE


def lasting(setup: Setup, recipient: RecipientFile, now: datetime) -> Iterator[Lasting]:
    """Every key and certificate that sending to the recipient takes."""
    if (key := seal_key(setup, recipient, now)) is not None:
        yield key
    packages = recipient.packages
    if packages is not None:
        yield _package_key(setup, recipient, now)
        if packages.receipts.key is not None:
            yield _receipt_key(setup, packages.receipts.key)
    for what, value, whole in certificates_of(recipient):
        yield certificates(setup, what, value, whole=whole)


def seal_key(setup: Setup, recipient: RecipientFile, now: datetime) -> Lasting | None:
    """The key that extracts are encrypted to; None where TLS alone encrypts."""
    if isinstance(recipient.seal, TlsOnlySeal):
        return None
    what = "seal.key"
    try:
        return _of_key(what, recipient_key(setup, recipient, now))
    except NotConfigured as error:
        return Lasting(what, problem=_without(what, error))


def _package_key(setup: Setup, recipient: RecipientFile, now: datetime) -> Lasting:
    what, packages = "packages.seal.key", recipient.packages
    if packages is None:
        raise TypeError("no packages")
    try:
        return _of_key(what, load_key(packages.seal, str(setup.home / setup.resolve(packages.seal.key, what)), now))
    except NotConfigured as error:
        return Lasting(what, problem=_without(what, error))


def _receipt_key(setup: Setup, value: str) -> Lasting:
    what = "packages.receipts.key"
    try:
        path = setup.home / setup.resolve(value, what)
        load_receipt_key(path)
    except NotConfigured as error:
        return Lasting(what, problem=_without(what, error))
    return Lasting(what, path=path)


def _of_key(what: str, key: RecipientKey | None) -> Lasting:
    if key is None:
        raise TypeError("TLS alone encrypts")
    return Lasting(what, () if key.expires_at is None else (key.expires_at,), named=key.kid)


def _without(what: str, error: NotConfigured) -> str:
    return str(error).removeprefix(f"{what}: ").removeprefix("seal.key: ")


def certificates_of(recipient: RecipientFile) -> Iterator[tuple[str, str, bool]]:
    """Every PEM file of certificates: its key, its value, and whether all of them must be in force."""
    channels, signer = {"channel": recipient.channel}, recipient.signer
    if recipient.packages is not None and isinstance(recipient.packages.channel, HttpsChannel):
        channels["packages.channel"] = recipient.packages.channel
    if isinstance(signer, RsaSigner):
        yield "signer.certificate", signer.certificate, True
    elif signer is not None:
        channels["signer.channel"] = signer.channel
    if signer is not None:
        yield "signer.trusted", signer.trusted, False
    for at, channel in channels.items():
        yield f"{at}.ca", channel.ca, False
        if channel.client_certificate is not None:
            yield f"{at}.client_certificate", channel.client_certificate, True


def certificates(setup: Setup, what: str, value: str, *, whole: bool) -> Lasting:
    """Certificates in a PEM file. Where not `whole` (authorities), one that is in force is enough."""
    from cryptography import x509  # noqa: PLC0415 - takes a while to load

    try:
        path = setup.home / setup.resolve(value, what)
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except NotConfigured as error:
        return Lasting(what, whole=whole, problem=_without(what, error))
    except (OSError, ValueError):
        return Lasting(what, whole=whole, problem=_UNREADABLE)
    return Lasting(what, tuple(sorted(each.not_valid_after_utc for each in found)), whole, path=path)
