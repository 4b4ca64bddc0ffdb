"""Receipts: the good ones are read, and every other is refused under its own name."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from qaqpa.errors import (
    NotConfigured,
    ReceiptDigestWrong,
    ReceiptMalformed,
    ReceiptOfAnother,
    ReceiptRefused,
    ReceiptRowTwice,
    ReceiptRowUnknown,
    ReceiptSignerUnknown,
    ReceiptTooLarge,
    ReceiptUnsigned,
)
from qaqpa.model.identifiers import HandoverId, uuid7
from qaqpa.receipts import (
    LARGEST,
    Receipt,
    ReceiptKey,
    ReceiptResult,
    RejectedRow,
    claimed_package,
    load_receipt_key,
    read_receipt,
)

PACKAGE = HandoverId(uuid7())
SHA256 = hashlib.sha256(b"sealed").hexdigest()
ROWS = 2000
ED25519, P256 = OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256")
SAID: dict[str, Any] = {
    "package": PACKAGE, "sha256": SHA256, "result": "accepted", "received_at": "2026-11-20T10:00:00+05:00", "rows": [],
}  # fmt: skip


def document(**changed: Any) -> bytes:
    return orjson.dumps({key: value for key, value in (SAID | changed).items() if value is not ...})


def signed(content: bytes, key: Any = ED25519, alg: str = "Ed25519", **header: Any) -> bytes:
    registry = jws.JWSRegistry(algorithms=[alg])
    return jws.serialize_compact({"alg": alg} | header, content, key, algorithms=[alg], registry=registry).encode()


def zipped(*members: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def key_of(key: Any, folder: Path) -> ReceiptKey:
    path = folder / "key.jwk"
    path.write_bytes(orjson.dumps(key.as_dict(private=False)))
    return load_receipt_key(path)


@pytest.fixture
def pinned(tmp_path: Path) -> ReceiptKey:
    return key_of(ED25519, tmp_path)


def read(data: bytes, key: ReceiptKey | None = None) -> Receipt:
    return read_receipt(data, key, package=PACKAGE, sha256=SHA256, rows=ROWS)


# --- good ------------------------------------------------------------------------------------------


def test_a_plain_receipt_is_read() -> None:
    data = document()
    assert read(data) == Receipt(
        PACKAGE, SHA256, ReceiptResult.ACCEPTED, datetime(2026, 11, 20, 5, tzinfo=UTC), (), None, False,
        hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def test_rejected_rows_and_the_day_of_destruction_are_read() -> None:
    disclosure = uuid7()
    rows = [{"row": 2000, "code": "duplicate"}, {"row": 1, "code": "unknown_debtor", "disclosure": disclosure}]
    receipt = read(document(result="partial", rows=rows, destruction_due="2027-11-20"))
    assert receipt.rows == (RejectedRow(1, "unknown_debtor", disclosure), RejectedRow(2000, "duplicate"))
    assert receipt.destruction_due == date(2027, 11, 20)


@pytest.mark.parametrize("rows", [[], [{"row": 1, "code": "x"}]])
def test_a_whole_package_may_be_rejected(rows: list[Any]) -> None:
    assert read(document(result="rejected", rows=rows)).result is ReceiptResult.REJECTED


@pytest.mark.parametrize(
    ("key", "alg"), [(ED25519, "Ed25519"), pytest.param(ED25519, "EdDSA", id="older name"), (P256, "ES256")]
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # the recipient's side of this test
def test_a_signed_receipt_is_read(tmp_path: Path, key: Any, alg: str) -> None:
    receipt = read(signed(document(), key, alg) + b"\n", key_of(key, tmp_path))
    assert receipt.is_signed
    assert receipt.result is ReceiptResult.ACCEPTED


@pytest.mark.parametrize("name", ["receipt.json", "../../etc/passwd", "/etc/passwd", "C:\\x", "a" * 60_000])
def test_a_receipt_may_come_in_a_zip_whatever_its_name_there(pinned: ReceiptKey, name: str) -> None:
    assert read(zipped((name, signed(document()))), pinned).is_signed


def test_a_large_receipt_is_read(pinned: ReceiptKey) -> None:
    said = document(
        result="rejected", rows=[{"row": row, "code": "duplicate_of_another"} for row in range(1, ROWS + 1)]
    )

    class Registry(jws.JWSRegistry):
        max_payload_length = 2**24

    token = jws.serialize_compact(
        {"alg": "Ed25519"}, said + b" " * 400_000, ED25519, registry=Registry(algorithms=["Ed25519"])
    )
    assert len(read(zipped(("r", token.encode())), pinned).rows) == ROWS


def test_what_a_receipt_is_about_can_be_asked_before_it_is_proved() -> None:
    for data in (document(), signed(document()), zipped(("x", signed(document())))):
        assert claimed_package(data) == PACKAGE
    for data in (b"", b"[]", document(package="../x"), document(package=7), b"eyJ.!.x", b"eyJh.eyJ.eyJ", zipped()):
        with pytest.raises(ReceiptRefused):
            claimed_package(data)


# --- not good --------------------------------------------------------------------------------------

ROW = {"row": 1, "code": "duplicate"}
GOOD_ZIP = zipped(("x", document()))
LISTED = b"PK\x01\x02\x14\x03\x14\x00\x00"
"""How its directory begins, up to the flag of encryption."""
REFUSED: dict[str, tuple[bytes, type[ReceiptRefused]]] = {
    "for another package": (document(package=uuid7()), ReceiptOfAnother),
    "for no package": (document(package=...), ReceiptOfAnother),
    "digest of another file": (document(sha256="0" * 64), ReceiptDigestWrong),
    "no digest": (document(sha256=...), ReceiptDigestWrong),
    "a row never sent": (document(result="partial", rows=[{"row": ROWS + 1, "code": "x"}]), ReceiptRowUnknown),
    "row zero": (document(result="partial", rows=[{"row": 0, "code": "x"}]), ReceiptRowUnknown),
    "row below zero": (document(result="partial", rows=[{"row": -1, "code": "x"}]), ReceiptRowUnknown),
    "more rows than sent": (document(result="partial", rows=[ROW] * (ROWS + 1)), ReceiptRowUnknown),
    "a row twice": (document(result="partial", rows=[ROW, ROW]), ReceiptRowTwice),
    "a row twice with two codes": (document(result="partial", rows=[ROW, ROW | {"code": "x"}]), ReceiptRowTwice),
    "nothing": (b"", ReceiptMalformed),
    "no JSON": (b"accepted", ReceiptMalformed),
    "no object": (b"[]", ReceiptMalformed),
    "not UTF-8": (document()[:-1] + b"\xff}", ReceiptMalformed),
    "deep": (b"[" * 100_000, ReceiptMalformed),
    "another result": (document(result="fine"), ReceiptMalformed),
    "no result": (document(result=...), ReceiptMalformed),
    "a result that is none": (document(result=["accepted"]), ReceiptMalformed),
    "no time": (document(received_at=...), ReceiptMalformed),
    "a time that is none": (document(received_at="yesterday"), ReceiptMalformed),
    "a time as a number": (document(received_at=1_700_000_000), ReceiptMalformed),
    "a time without an offset": (document(received_at="2026-11-20T10:00:00"), ReceiptMalformed),
    "a day that is none": (document(destruction_due="2026-13-01"), ReceiptMalformed),
    "accepted with rejected rows": (document(rows=[ROW]), ReceiptMalformed),
    "partial without rows": (document(result="partial"), ReceiptMalformed),
    "rows that are no list": (document(rows={"1": "x"}), ReceiptMalformed),
    "a row that is a number": (document(result="partial", rows=[1]), ReceiptMalformed),
    "a row without a code": (document(result="partial", rows=[{"row": 1}]), ReceiptMalformed),
    "a row number that is text": (document(result="partial", rows=[ROW | {"row": "1"}]), ReceiptMalformed),
    "a row number that is true": (document(result="partial", rows=[ROW | {"row": True}]), ReceiptMalformed),
    "a row number with a fraction": (document(result="partial", rows=[ROW | {"row": 1.0}]), ReceiptMalformed),
    "free text": (document(result="partial", rows=[ROW | {"code": "Has moved away"}]), ReceiptMalformed),
    "a code in capitals": (document(result="partial", rows=[ROW | {"code": "DUP"}]), ReceiptMalformed),
    "a long code": (document(result="partial", rows=[ROW | {"code": "x" * 65}]), ReceiptMalformed),
    "a number in a code": (document(result="partial", rows=[ROW | {"code": "iin_900101300017"}]), ReceiptMalformed),
    "a code with a line": (document(result="partial", rows=[ROW | {"code": "x\n"}]), ReceiptMalformed),
    "a disclosure that is none": (document(result="partial", rows=[ROW | {"disclosure": "x"}]), ReceiptMalformed),
    "too large": (b" " * (LARGEST + 1), ReceiptTooLarge),
    "a zip bomb": (zipped(("x", b" " * (LARGEST + 1))), ReceiptTooLarge),
    "a zip that grows too much": (zipped(("x", document() + b" " * (2**21))), ReceiptTooLarge),
    "two files in a zip": (zipped(("a", document()), ("b", document())), ReceiptMalformed),
    "no file in a zip": (zipped(), ReceiptMalformed),
    "a folder in a zip": (zipped(("x/", b"")), ReceiptMalformed),
    "a zip in a zip": (zipped(("x", zipped(("y", document())))), ReceiptMalformed),
    "many files in a zip": (zipped(*((str(n), b"") for n in range(5000))), ReceiptMalformed),
    "half a zip": (zipped(("x", document()))[:-30], ReceiptMalformed),
    "a zip with another content": (zipped(("x", document()), how=zipfile.ZIP_STORED).replace(b"accepted", b"rejected"),
                                   ReceiptMalformed),
    "a zip of a method that is not taken": (GOOD_ZIP.replace(b"\x08\x00", b"\x63\x00"), ReceiptMalformed),
    "an encrypted zip": (GOOD_ZIP.replace(LISTED, LISTED[:-1] + b"\x01"), ReceiptMalformed),
    "signed, and no key is configured": (signed(document()), ReceiptSignerUnknown),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_anything_else_is_refused_under_its_own_name(why: str) -> None:
    data, refused = REFUSED[why]
    with pytest.raises(ReceiptRefused) as told:
        read(data)
    assert type(told.value) is refused
    assert "900101300017" not in str(told.value)
    assert "moved" not in str(told.value)


def by_hand(header: Any, content: bytes, signature: bytes = b"x") -> bytes:
    parts = (json.dumps(header).encode(), content, signature)
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def tampered(token: bytes) -> bytes:
    header, _, signature = token.split(b".")
    return b".".join((header, signed(document(result="rejected")).split(b".")[1], signature))


def stranger() -> OKPKey:
    return OKPKey.generate_key("Ed25519")


STRANGE: dict[str, tuple[Any, type[ReceiptRefused]]] = {
    "unsigned": (document, ReceiptUnsigned),
    "unsigned in a zip": (lambda: zipped(("x", document())), ReceiptUnsigned),
    "by a stranger": (lambda: signed(document(), stranger()), ReceiptSignerUnknown),
    "by a stranger who shows a key": (
        lambda: signed(document(), (key := stranger()), jwk=key.as_dict(private=False)), ReceiptSignerUnknown),
    "by another algorithm": (lambda: signed(document(), P256, "ES256"), ReceiptSignerUnknown),
    "changed": (lambda: tampered(signed(document())), ReceiptSignerUnknown),
    "alg none": (lambda: by_hand({"alg": "none"}, document(), b""), ReceiptUnsigned),
    "alg none with something": (lambda: by_hand({"alg": "none"}, document()), ReceiptSignerUnknown),
    "the public key as a secret": (
        lambda: signed(document(), OctKey.import_key(orjson.dumps(ED25519.as_dict(private=False))), "HS256"),
        ReceiptSignerUnknown),
    "no alg": (lambda: by_hand({"typ": "x"}, document()), ReceiptSignerUnknown),
    "an extension that is critical": (
        lambda: by_hand({"alg": "Ed25519", "crit": ["x"], "x": 1}, document()), ReceiptSignerUnknown),
    "a header that is no object": (lambda: by_hand("{alg}", document()), ReceiptUnsigned),
    "signed, about another package": (lambda: signed(document(package=uuid7())), ReceiptOfAnother),
    "signed rubbish": (lambda: signed(b"\x00rubbish"), ReceiptMalformed),
}  # fmt: skip


@pytest.mark.parametrize("why", STRANGE)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_where_a_key_is_pinned_nothing_else_is_believed(pinned: ReceiptKey, why: str) -> None:
    made, refused = STRANGE[why]
    with pytest.raises(ReceiptRefused) as told:
        read(made(), pinned)
    assert type(told.value) is refused


def test_the_spoilt_archives_above_are_spoilt() -> None:
    assert LISTED in GOOD_ZIP
    assert read(GOOD_ZIP).result is ReceiptResult.ACCEPTED


def test_a_directory_that_is_a_bomb_is_not_even_read() -> None:
    data = bytearray(zipped(("x", document())))
    end = data.rfind(b"PK\x05\x06")
    struct.pack_into("<L", data, end + 12, 2**31)
    with pytest.raises(ReceiptMalformed, match="one file"):
        read(bytes(data))


@given(st.binary(max_size=300), st.sampled_from(["", "zip", "jws", "flip"]), st.data())
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_anything_else(noise: bytes, shape: str, draw: st.DataObject) -> None:
    data = {"": noise, "zip": b"PK\x03\x04" + noise, "jws": b"eyJhbGciOiJFZERTQSJ9.eyJ9." + noise}.get(shape)
    if data is None:
        good = bytearray(zipped(("x", document())))
        for at in draw.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=4)):
            good[at] ^= draw.draw(st.integers(1, 255))
        data = bytes(good)
    try:
        read(data)
    except ReceiptRefused:
        return
    assert shape == "flip", "only what was good can still be good"


# --- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "private", "said"),
    [
        (ED25519, True, "private"),
        (OKPKey.generate_key("X25519"), False, "Ed25519"),
        (ECKey.generate_key("P-384"), False, "P-256"),
        (RSAKey.generate_key(2048), False, "JWK"),
        (OctKey.generate_key(256), True, "JWK"),
        (None, False, "JWK"),
    ],
    ids=["private", "X25519", "P-384", "RSA", "secret", "no key"],
)
def test_only_a_public_key_for_signatures_is_configured(tmp_path: Path, key: Any, private: bool, said: str) -> None:
    path = tmp_path / "key.jwk"
    path.write_bytes(b"{}" if key is None else orjson.dumps(key.as_dict(private=private)))
    with pytest.raises(NotConfigured, match=said):
        load_receipt_key(path)


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="cannot be read"):
        load_receipt_key(tmp_path / "missing")
