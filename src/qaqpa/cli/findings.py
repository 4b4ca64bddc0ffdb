"""What `qaqpa doctor` looks at outside the ledger: configuration, files, references, certificates, space."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path

from qaqpa.cli.serve import certificates as service_certificates
from qaqpa.config.recipients import RecipientFile
from qaqpa.errors import KeyringError, NotConfigured, QaqpaError
from qaqpa.gateway import Setup
from qaqpa.gateway.lasting import Standing, agreement_standing, certificates, certificates_of, seal_key
from qaqpa.gateway.setup import equip
from qaqpa.keys import Keyring
from qaqpa.service.listening import address

_MIB = 2**20
_FULL, _TIGHT = 256 * _MIB, 2_048 * _MIB
"""Free bytes under which nothing is safe any more, and under which it is time to make room."""
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class State(StrEnum):
    """Of one thing that was looked at."""

    OK = "ok"
    LOOK = "look"
    """It works, and somebody should see to it."""
    WRONG = "wrong"
    """Something does not work, or not safely."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    state: State
    about: str
    message: str
    """What was found; where it is not well, what to do next."""


def ok(about: str, message: str) -> Finding:
    """It is well."""
    return Finding(State.OK, about, message)


def look(about: str, message: str) -> Finding:
    """See to it."""
    return Finding(State.LOOK, about, message)


def wrong(about: str, message: str) -> Finding:
    """Mend it."""
    return Finding(State.WRONG, about, message)


# --- the home folder -------------------------------------------------------------------------------


def of_home(home: Path) -> Iterator[Finding]:
    """The folder of database and keys, and how much room is left on its disk."""
    about = "home"
    if not home.is_dir():
        yield wrong(about, f"there is no folder {home}: give --home, or make one with `qaqpa keys init`")
        return
    status = home.stat()
    if status.st_mode & 0o077:
        yield wrong(about, f"others may look into {home}: chmod 700 {home}")
    elif status.st_uid != os.geteuid():
        yield look(about, f"{home} belongs to another user than the one who asks: run this as the service's user")
    else:
        yield ok(about, f"{home} belongs to its owner alone")
    yield _space(home)


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    said = f"{free // _MIB} MiB are free where {folder} lies"
    if free < _FULL:
        return wrong("disk", f"{said}: make room now; when it is full nothing can be sent")
    return (
        look("disk", f"{said}: make room, or move old months away (`qaqpa ledger archive`)")
        if (free < _TIGHT)
        else ok("disk", said)
    )


def of_files(made: Setup) -> Iterator[Finding]:
    """Whoever may read the keyring or the database must be the owner alone."""
    names = {made.keyring_path, *made.home.glob("*.db"), *made.home.glob("*.db-wal"), *made.home.glob("*.db-shm")}
    shared = sorted(path for path in names if path.exists() and path.stat().st_mode & 0o077)
    yield from (wrong("files", f"others may read {path}: chmod 600 {path}") for path in shared)
    mine = sorted(path for path in names if path.exists())
    yield from (
        wrong("files", f"{path} cannot be written by this user: chown it to the service's user")
        for path in mine
        if not os.access(path, os.R_OK | os.W_OK)
    )
    if not shared and mine:
        yield ok("files", f"{len(mine)} files of keys and data belong to their owner alone")


def keyring(made: Setup) -> tuple[Keyring | None, Finding]:
    """The keyring, where it opens."""
    about = "keyring"
    try:
        found = Keyring.looked_at(made.keyring_path, made.unlock)
        found.blind_request("doctor", "doctor")
    except (KeyringError, NotConfigured) as error:
        more = "" if made.keyring_path.exists() else " (`qaqpa keys init` makes one, once)"
        return None, wrong(about, f"{error}{more}")
    return found, ok(about, f"opens; epoch {found.epoch}")


# --- recipients ------------------------------------------------------------------------------------


def of_recipients(made: Setup, now: datetime) -> Iterator[Finding]:
    """What each recipient lacks, and what of theirs expires."""
    unset: dict[str, list[str]] = {}
    for name, what in made.unset():
        unset.setdefault(name, []).append(what)
    today = now.astimezone(made.config.gateway.operator.time_zone).date()
    for recipient in made.config.recipients.values():
        if lacks := unset.get(recipient.id):
            yield look(recipient.id, f"nothing can be sent to it yet: {'; '.join(lacks)}")
        else:
            yield from _equipped(made, recipient, now)
        yield _agreement(recipient, today)


def _equipped(made: Setup, recipient: RecipientFile, now: datetime) -> Iterator[Finding]:
    try:
        equip(made, recipient, lambda: now)
    except QaqpaError as error:
        yield wrong(recipient.id, f"nothing can be sent to it: {error}")
    else:
        yield ok(recipient.id, "everything that sending takes is set")
        yield from of_key(made, recipient, now)
    for name, value, whole in certificates_of(recipient):
        yield from of_certificates(made, f"{recipient.id}: {name}", value, now, whole=whole)


def of_key(made: Setup, recipient: RecipientFile, now: datetime) -> Iterator[Finding]:
    """Whether the key that extracts are encrypted to serves, and how long; nothing where it has no end."""
    about, key = f"{recipient.id}: seal.key", seal_key(made, recipient, now)
    if key is None:
        return
    standing = key.standing(now)
    if key.problem is not None:
        yield wrong(about, key.problem)
    elif key.end is not None and standing is Standing.SOON:
        yield look(about, f"{key.named} ends on {key.end:%Y-%m-%d}: get the recipient's new one in time")
    elif key.end is not None:
        yield ok(about, f"in force until {key.end:%Y-%m-%d}")


def _agreement(recipient: RecipientFile, today: date) -> Finding:
    agreement, about = recipient.agreement, f"{recipient.id}: agreement"
    if agreement is None:
        return look(about, "there is none, so nothing is sent to it (2.3(4))")
    number, end = agreement.number, agreement.expires_on
    found = {
        Standing.NOT_YET: look(about, f"{number} begins on {agreement.signed_on}; nothing is sent before"),
        Standing.ENDLESS: ok(about, f"{number}, without end"),
        Standing.OVER: wrong(about, f"{number} ended on {end}: nothing is sent; sign a new one"),
        Standing.SOON: look(about, f"{number} ends on {end}: prolong it, and enter the new date"),
        Standing.FINE: ok(about, f"{number} until {end}"),
    }
    return found[agreement_standing(agreement, today)]


def of_certificates(made: Setup, about: str, value: str, now: datetime, *, whole: bool) -> Iterator[Finding]:
    """Certificates in a PEM file. Where not `whole` (authorities), one that is in force is enough."""
    found = certificates(made, about, value, whole=whole)
    standing, ends = found.standing(now), found.ends
    if found.problem is not None or found.end is None:
        yield wrong(about, found.problem or "holds no certificate")
    elif standing is Standing.OVER:
        yield wrong(about, f"expired on {found.end:%Y-%m-%d}: put a new one into {found.path}")
    elif standing is Standing.PARTLY:
        yield look(about, f"one of {len(ends)} certificates expired on {ends[0]:%Y-%m-%d}: ask for the new authorities")
    elif standing is Standing.SOON:
        yield look(about, f"expires on {ends[0]:%Y-%m-%d}: get a new one, and put it into {found.path}")
    else:
        yield ok(about, f"in force until {ends[0]:%Y-%m-%d}")


# --- the service and the draft ---------------------------------------------------------------------


def of_service(made: Setup, now: datetime) -> Iterator[Finding]:
    """Where it listens, and its TLS."""
    service, about = made.config.gateway.service, "service"
    try:
        host, port = address(service.listen)
        certificate, key = service_certificates(made)
        if certificate is not None and key is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except NotConfigured as error:
        yield wrong(about, str(error))
        return
    except (OSError, ValueError):  # SSLError is an OSError
        yield wrong(about, "service.certificate and service.key cannot be read, or are not of one pair")
        return
    if certificate is None or service.certificate is None:
        if host in _LOOPBACK:
            yield ok(about, f"plain HTTP on {host}:{port}, which only this machine reaches")
        else:
            yield wrong(about, f"plain HTTP on {host}:{port}: give service.certificate and service.key")
        return
    yield ok(about, f"HTTPS on {host}:{port}")
    yield from of_certificates(made, "service.certificate", service.certificate, now, whole=True)
    if service.client_ca is not None:
        yield from of_certificates(made, "service.client_ca", service.client_ca, now, whole=False)
    if key is not None and key.stat().st_mode & 0o077:
        yield wrong("service.key", f"others may read {key}: chmod 600 {key}")


def of_draft(made: Setup) -> Iterator[Finding]:
    """A draft that has problems is not evaluated."""
    if made.draft is None:
        return
    if made.draft.problems:
        count = len(made.draft.problems)
        problems = "problem" if count == 1 else "problems"
        yield look("draft policy", f"{count} {problems}, so it is not evaluated; `qaqpa check` lists them")
    else:
        yield ok("draft policy", "is evaluated beside the policy in force")
