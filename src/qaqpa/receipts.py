"""What a recipient acknowledges a package with: read, checked against what was sent, and believed no further.

A receipt is JSON, plain or as a compact JWS (RFC 7515) by the recipient's pinned key, perhaps alone in a .zip:

    {"package": id, "sha256": hex, "result": "accepted" | "rejected" | "partial", "received_at": RFC 3339,
     "rows": [{"row": number from 1, "code": slug, "disclosure": id}], "destruction_due": date}

`rows` are those that the recipient rejects. Other members are not read: of what a recipient writes only codes are kept,
never free text, which could hold anything about anybody. Pure: bytes come in, a value goes out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey

from qaqpa.errors import (
    NotConfigured,
    ReceiptDigestWrong,
    ReceiptMalformed,
    ReceiptOfAnother,
    ReceiptRowTwice,
    ReceiptRowUnknown,
    ReceiptSignerUnknown,
    ReceiptTooLarge,
    ReceiptUnsigned,
)
from qaqpa.model.identifiers import HandoverId, is_our_id

LARGEST = 32 * 2**20
"""Bytes of a receipt, as it comes and when it is unpacked: a million rows take about so much."""
_LARGEST_RATIO = 100
_FREE_OF_RATIO = 2**20
"""Bytes to which a small receipt may grow however well it was packed."""
_LARGEST_DIRECTORY = 46 + 3 * 65535
_PACKED = b"PK\x03\x04"
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NUMBER = re.compile(r"[0-9]{5}")
"""No code needs it, and a number of a person or contract could hide in one."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_IMPORT: dict[str, Callable[[Any], ECKey | OKPKey]] = {"EC": ECKey.import_key, "OKP": OKPKey.import_key}
_ASK = "ask the recipient for a receipt as agreed; the package stays as it was"


class ReceiptResult(StrEnum):
    """What the recipient says of the package."""

    ACCEPTED = "accepted"
    """All of it."""
    PARTIAL = "partial"
    """All but the rows it names."""
    REJECTED = "rejected"
    """None of it."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that the recipient did not take."""

    row: int
    """Its number in the package, from 1."""
    code: str
    """The recipient's reason: a slug, never text."""
    disclosure: str | None = None
    """Id that the recipient found in that row, if it says so. Compare it with the row's own."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that is about the package that was sent, and by whom it should be."""

    package: HandoverId
    sha256: str
    """Of the sealed package, in hexadecimal; as sent."""
    result: ReceiptResult
    received_at: datetime
    """By the recipient's clock, with its offset."""
    rows: tuple[RejectedRow, ...]
    """In ascending order."""
    destruction_due: date | None
    """When the recipient says that it will have destroyed the data."""
    is_signed: bool
    digest: str
    """SHA-256 of the file as it came, in hexadecimal: what is kept as evidence."""


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """The public key that the recipient signs receipts with; its kind pins the algorithms."""

    key: ECKey | OKPKey = field(repr=False)
    algorithms: tuple[str, ...]


def load_receipt_key(path: Path) -> ReceiptKey:
    """The public key in the JWK file at `path`: Ed25519 (EdDSA) or P-256 (ES256). Raises NotConfigured."""
    try:
        jwk = orjson.loads(path.read_bytes())
        key = _IMPORT[jwk["kty"]](jwk)
    except OSError as error:
        raise NotConfigured(f"packages.receipts.key: {path} cannot be read: {error.strerror}") from None
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise NotConfigured(f"packages.receipts.key: {path} is not a public key as JWK (RFC 7517)") from None
    if key.is_private:
        raise NotConfigured(f"packages.receipts.key: {path} holds a private key; ask the recipient for the public one")
    # RFC 9864 calls EdDSA with this curve Ed25519; both names stand for one algorithm.
    algorithms = {"Ed25519": ("Ed25519", "EdDSA"), "P-256": ("ES256",)}.get(key.curve_name)
    if algorithms is None:
        raise NotConfigured(f"packages.receipts.key: {path} must be an Ed25519 or P-256 key")
    return ReceiptKey(key, algorithms)


def read_receipt(data: bytes, key: ReceiptKey | None, *, package: HandoverId, sha256: str, rows: int) -> Receipt:
    """The receipt for a package of so many rows that was sent with this digest.

    Without `key` (the configuration says why) an unsigned one is believed. Raises a kind of ReceiptRefused.
    """
    document, is_signed = _verified(_unpacked(data), key)
    said = _object(document)
    if said.get("package") != package:
        raise ReceiptOfAnother(f"it is for another package; {_ASK}")
    if said.get("sha256") != sha256:
        raise ReceiptDigestWrong(
            "it is for another file than was sent under this id: ask the recipient what it has; the package stays as "
            "it was"
        )
    try:
        result = ReceiptResult(said["result"])
        received_at = datetime.fromisoformat(said["received_at"])
        due = None if said.get("destruction_due") is None else date.fromisoformat(said["destruction_due"])
    except (KeyError, ValueError, TypeError):
        raise ReceiptMalformed(f"result, received_at or destruction_due is not as agreed; {_ASK}") from None
    rejected = _rows(said.get("rows", []), rows)
    fits = {ReceiptResult.ACCEPTED: not rejected, ReceiptResult.PARTIAL: bool(rejected), ReceiptResult.REJECTED: True}
    if received_at.tzinfo is None or not fits[result]:
        raise ReceiptMalformed(f"received_at has no offset, or result does not fit rows; {_ASK}")
    return Receipt(package, sha256, result, received_at, rejected, due, is_signed, hashlib.sha256(data).hexdigest())


def claimed_package(data: bytes) -> HandoverId:
    """The package that a receipt says it is about, unproved: to find what to check it against.

    Raises a kind of ReceiptRefused.
    """
    plain = _unpacked(data)
    named = _object(_payload(plain) if _is_compact(plain) else plain).get("package")
    if not isinstance(named, str) or not is_our_id(named):
        raise ReceiptMalformed(f"it names no package; {_ASK}")
    return HandoverId(named)


class RecallAnswer(StrEnum):
    """What the recipient says of a recall."""

    ACCEPTED = "accepted"
    """It has the notice, and no more than that."""
    DESTROYED = "destroyed"
    """It has stopped and destroyed everything that the notice names."""
    PARTIAL = "partial"
    """All but the rows that it names."""
    REJECTED = "rejected"
    """It will not."""


@dataclass(frozen=True, slots=True)
class RecallReceipt:
    """A receipt that is about the notice of recall that was sent, and by whom it should be."""

    result: RecallAnswer
    received_at: datetime
    """By the recipient's clock, with its offset."""
    kept: tuple[RejectedRow, ...]
    """What it keeps all the same, in ascending order: rows of the notice."""
    is_signed: bool
    digest: str
    """SHA-256 of the file as it came, in hexadecimal."""


def read_recall_receipt(
    data: bytes, key: ReceiptKey | None, *, notice: str, sha256: str | None, rows: int
) -> RecallReceipt:
    """The receipt for a notice of recall; of the same form as that of a package, `result` being a `RecallAnswer`.

    `sha256` is of the notice, where that went as a package. Without `key` (the configuration says why) an unsigned one
    is believed. Raises a kind of ReceiptRefused.
    """
    document, is_signed = _verified(_unpacked(data), key)
    said = _object(document)
    if said.get("package") != notice:
        raise ReceiptOfAnother(f"it is for another notice; {_ASK}")
    if sha256 is not None and said.get("sha256") != sha256:
        raise ReceiptDigestWrong("it is for another file than was sent under this id: ask the recipient what it has")
    try:
        result = RecallAnswer(said["result"])
        received_at = datetime.fromisoformat(said["received_at"])
    except (KeyError, ValueError, TypeError):
        raise ReceiptMalformed(f"result or received_at is not as agreed; {_ASK}") from None
    kept = _rows(said.get("rows", []), rows)
    fits = {RecallAnswer.PARTIAL: bool(kept), RecallAnswer.REJECTED: True}
    if received_at.tzinfo is None or not fits.get(result, not kept):
        raise ReceiptMalformed(f"received_at has no offset, or result does not fit rows; {_ASK}")
    return RecallReceipt(result, received_at, kept, is_signed, hashlib.sha256(data).hexdigest())


# --- the outside -----------------------------------------------------------------------------------


def _unpacked(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise ReceiptTooLarge(f"it is larger than {LARGEST} bytes; {_ASK}")
    return _only_member(data) if data.startswith(_PACKED) else data


def _only_member(data: bytes) -> bytes:
    """What is in a .zip of one file; its name is not looked at, so whatever path stands there leads nowhere."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65557))
    if end < 0 or len(data) - end < 22 or b"PK\x06\x07" in data[max(0, end - 20) : end]:
        raise ReceiptMalformed(f"the .zip is damaged, or of a kind (ZIP64) that no receipt needs; {_ASK}")
    directory = int(struct.unpack_from("<L", data, end + 12)[0])
    if directory > _LARGEST_DIRECTORY:  # before it is read: a million names take seconds
        raise ReceiptMalformed(f"the .zip must hold one file; {_ASK}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].is_dir() or members[0].flag_bits & 1:
                raise ReceiptMalformed(f"the .zip must hold one file, not encrypted; {_ASK}")
            most = min(LARGEST, max(_FREE_OF_RATIO, _LARGEST_RATIO * len(data)))
            # The size that is written there may be a lie: it is read, and no further than this.
            with archive.open(members[0]) as member:
                plain = member.read(most + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        ValueError,
        OSError,
        struct.error,
    ):
        raise ReceiptMalformed(f"the .zip cannot be opened; {_ASK}") from None
    if len(plain) > most:
        raise ReceiptTooLarge(f"it grows beyond what a receipt can be when it is unpacked; {_ASK}")
    return plain


def _is_compact(plain: bytes) -> bool:
    return plain[:2] == b"ey" and _COMPACT.fullmatch(plain.strip()) is not None


def _payload(plain: bytes) -> bytes:
    """Of a JWS, unproved."""
    part = plain.strip().split(b".")[1]
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (ValueError, binascii.Error):
        raise ReceiptMalformed(f"it is no JWS; {_ASK}") from None


class _Registry(jws.JWSRegistry):
    max_payload_length = LARGEST


def _verified(plain: bytes, key: ReceiptKey | None) -> tuple[bytes, bool]:
    """The document, and whether its signature holds."""
    if not _is_compact(plain):
        if key is not None:
            raise ReceiptUnsigned(f"it is not signed, and packages.receipts.key is configured; {_ASK}")
        return plain, False
    if key is None:
        raise ReceiptSignerUnknown("it is signed, and no packages.receipts.key is configured to check it with")
    try:
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # the older name of Ed25519
            found = jws.deserialize_compact(
                plain.strip(), key.key, algorithms=key.algorithms, registry=_Registry(algorithms=key.algorithms)
            )
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise ReceiptSignerUnknown(
            "it is not signed by the recipient's key, or was changed afterwards: ask the recipient, by another way, "
            "who wrote it"
        ) from None
    return found.payload, True


# --- the inside ------------------------------------------------------------------------------------


def _object(document: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(document)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ReceiptMalformed(f"it is not a JSON object in UTF-8; {_ASK}") from None
    return said


def _rows(said: object, sent: int) -> tuple[RejectedRow, ...]:
    if not isinstance(said, list):
        raise ReceiptMalformed(f"rows is not a list; {_ASK}")
    if len(said) > sent:
        raise ReceiptRowUnknown(f"it names more rows than were sent; {_ASK}")
    found: dict[int, RejectedRow] = {}
    for each in said:
        row = _row(each)
        if not 1 <= row.row <= sent:
            raise ReceiptRowUnknown(f"it names a row that was never sent (there were {sent}); {_ASK}")
        if row.row in found:
            raise ReceiptRowTwice(f"it names row {row.row} twice; {_ASK}")
        found[row.row] = row
    return tuple(found[number] for number in sorted(found))


def _row(said: object) -> RejectedRow:
    if not isinstance(said, dict) or type(said.get("row")) is not int or not isinstance(said.get("code"), str):
        raise ReceiptMalformed(f"a row is not {{row, code, disclosure}}; {_ASK}")
    row, code, disclosure = said["row"], said["code"], said.get("disclosure")
    if not _CODE.fullmatch(code) or _NUMBER.search(code):
        raise ReceiptMalformed(
            f"a row's code is not a short word of a-z, 0-9 and _ (texts and numbers are not kept); {_ASK}"
        )
    if disclosure is not None and not (isinstance(disclosure, str) and is_our_id(disclosure)):
        raise ReceiptMalformed(f"a row's disclosure is not an id; {_ASK}")
    return RejectedRow(row, code, disclosure)
