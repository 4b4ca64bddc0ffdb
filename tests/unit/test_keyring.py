"""The keyring and what is sealed under it: who may read it, what damage is noticed, what never stands in a repr."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import PEOPLE, House, give_consent
from qaqpa.errors import KeyringError
from qaqpa.ledger import Keyring
from qaqpa.ledger.subjects import Subject
from qaqpa.model.disclosure import Extract, Message, Reply, Report
from qaqpa.model.identifiers import SubjectId

Document = dict[str, Any]
unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
KEY = base64.b64encode(bytes(range(32))).decode()
SUBJECT = Subject(SubjectId("a" * 32), bytes(range(32)))
OTHER = Subject(SubjectId("a" * 32), bytes(range(1, 33)))
PUBLIC = {"id": "0198-1", "kind": "intent", "fields": ["identity.iin"], "subject": "a" * 32, "consent": None}
PRIVATE = {"iin": "900101300017", "stated": {"contract": {"days_overdue": 5}}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keyring.json"


# --- the file --------------------------------------------------------------------------------------


def test_what_was_made_is_what_is_read(path: Path) -> None:
    made = Keyring.create(path)
    assert Keyring.load(path) == made


def test_only_its_owner_may_read_it_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        Keyring.create(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o666, 0o644, 0o777])
def test_one_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    Keyring.create(path)
    path.chmod(mode)
    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.load(path)


def test_it_is_never_overwritten(path: Path) -> None:
    made = Keyring.create(path)
    with pytest.raises(KeyringError, match="never overwritten"):
        Keyring.create(path)
    assert Keyring.load(path) == made


def test_two_keyrings_share_nothing(path: Path, tmp_path: Path) -> None:
    one, two = Keyring.create(path), Keyring.create(tmp_path / "other.json")
    assert one.id != two.id and one.index != two.index and one.wrapping[1] != two.wrapping[1]
    assert one.blind("900101300017") != two.blind("900101300017")


def test_a_missing_one_says_how_to_make_it(path: Path) -> None:
    with pytest.raises(KeyringError, match="qaqpa keys init"):
        Keyring.load(path)


def test_a_folder_in_its_place_is_an_error_of_ours(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(KeyringError, match="cannot be read"):
        Keyring.load(path)


def test_one_cut_off_anywhere_is_refused(path: Path) -> None:
    Keyring.create(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(KeyringError, match="back-up"):
            Keyring.load(path)


def change(key: str, value: Any) -> Callable[[Document], Document]:
    return lambda document: {**document, key: value}


def without(key: str) -> Callable[[Document], Document]:
    return lambda document: {name: value for name, value in document.items() if name != key}


DAMAGE: dict[str, Callable[[Document], Any]] = {
    "another format": change("format", 2),
    "no format": without("format"),
    "no id": without("id"),
    "an id that is no text": change("id", None),
    "no epoch": without("epoch"),
    "an epoch without a key": change("epoch", 2),
    "an epoch that is no number": change("epoch", "one"),
    "an epoch that is a fraction": change("epoch", 1.5),
    "an epoch without end": change("epoch", float("inf")),
    "no keys": change("wrapping", {}),
    "keys in a list": change("wrapping", [KEY]),
    "no wrapping keys at all": without("wrapping"),
    "a wrapping key of 31 bytes": change("wrapping", {"1": base64.b64encode(bytes(31)).decode()}),
    "a wrapping key of 33 bytes": change("wrapping", {"1": base64.b64encode(bytes(33)).decode()}),
    "a wrapping key of 16 bytes": change("wrapping", {"1": base64.b64encode(bytes(16)).decode()}),
    "a wrapping key that is no base64": change("wrapping", {"1": "*" * 44}),
    "a wrapping key that is no ASCII": change("wrapping", {"1": "қ" * 44}),
    "a wrapping key that is a number": change("wrapping", {"1": 5}),
    "a key of no epoch": change("wrapping", {"1": KEY, "x": KEY}),
    "no index key": without("index"),
    "an index key of 31 bytes": change("index", base64.b64encode(bytes(31)).decode()),
    "an empty index key": change("index", ""),
    "an index key with spaces in it": change("index", f" {KEY}"),
    "a list": lambda document: [document],
    "text": lambda document: "keyring",
    "null": lambda document: None,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_one_is_refused_and_says_what_to_do(path: Path, damage: Callable[[Document], Any]) -> None:
    Keyring.create(path)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(KeyringError, match="restore it from a back-up"):
        Keyring.load(path)


RUBBISH = {
    "empty": b"",
    "noughts": bytes(300),
    "bytes that are no UTF-8": b"\xff\xfe\x00keyring",
    "brackets without end": b"[" * 100_000,
    "an integer of ten thousand digits": b'{"format": ' + b"1" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_refused_and_says_what_to_do(path: Path, content: bytes) -> None:
    Keyring.create(path)
    path.write_bytes(content)
    with pytest.raises(KeyringError, match="restore it from a back-up"):
        Keyring.load(path)


async def test_another_keyring_is_refused_when_the_gateway_opens(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0])
    (house.home / "keyring.json").rename(house.home / "right.json")
    Keyring.create(house.home / "keyring.json")
    with pytest.raises(KeyringError, match="belongs to another database"):
        async with house.gateway():
            pass
    (house.home / "right.json").rename(house.home / "keyring.json")
    async with house.gateway() as gateway:
        assert house.verified(gateway).kinds == {"policy": 1, "consent": 1}


# --- wrapping --------------------------------------------------------------------------------------


@pytest.fixture
def keyring(path: Path) -> Keyring:
    return Keyring.create(path)


def test_a_wrapped_key_comes_back(keyring: Keyring) -> None:
    assert keyring.unwrap("s1", 1, keyring.wrap("s1", SUBJECT.key)) == SUBJECT.key


def test_the_same_key_is_never_wrapped_to_the_same_bytes(keyring: Keyring) -> None:
    wrapped = {keyring.wrap("s1", SUBJECT.key) for _ in range(50)}
    assert len({each[:12] for each in wrapped}) == 50
    assert all(SUBJECT.key not in each for each in wrapped)


def test_a_wrapped_key_is_bound_to_subject_and_epoch_and_keyring(keyring: Keyring, tmp_path: Path) -> None:
    wrapped = keyring.wrap("s1", SUBJECT.key)
    same_key_later = replace(keyring, epoch=2, wrapping={1: keyring.wrapping[1], 2: keyring.wrapping[1]})
    for ring, subject, epoch in (
        (keyring, "s2", 1),
        (keyring, "s1", 2),
        (same_key_later, "s1", 2),
        (Keyring.create(tmp_path / "other.json"), "s1", 1),
    ):
        with pytest.raises(KeyringError, match="keyring is not the one"):
            ring.unwrap(subject, epoch, wrapped)


def test_a_wrapped_key_that_is_changed_or_cut_anywhere_is_refused(keyring: Keyring) -> None:
    wrapped = keyring.wrap("s1", SUBJECT.key)
    for at in range(len(wrapped)):
        flipped = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
        for damaged in (flipped, wrapped[:at]):
            with pytest.raises(KeyringError):
                keyring.unwrap("s1", 1, damaged)


# --- sealed parts ----------------------------------------------------------------------------------


def entry() -> Document:
    return {**PUBLIC, "sealed": SUBJECT.seal(PUBLIC, PRIVATE)}


def test_a_sealed_part_opens_with_its_subjects_key_and_with_no_other() -> None:
    assert SUBJECT.open(entry()) == PRIVATE
    with pytest.raises(KeyringError, match="does not open"):
        OTHER.open(entry())


def test_nonces_differ_each_time() -> None:
    nonces = {base64.b64decode(SUBJECT.seal(PUBLIC, PRIVATE))[33:45] for _ in range(100)}
    assert len(nonces) == 100


def test_no_bit_of_the_sealed_part_can_be_changed() -> None:
    whole = entry()
    packed = base64.b64decode(whole["sealed"])
    for at in range(len(packed)):
        for bit in range(8):
            flipped = packed[:at] + bytes([packed[at] ^ 1 << bit]) + packed[at + 1 :]
            with pytest.raises(KeyringError):
                SUBJECT.open({**whole, "sealed": base64.b64encode(flipped).decode()})


def test_a_sealed_part_cut_off_anywhere_is_refused() -> None:
    whole = entry()
    packed = base64.b64decode(whole["sealed"])
    for length in range(len(packed)):
        with pytest.raises(KeyringError):
            SUBJECT.open({**whole, "sealed": base64.b64encode(packed[:length]).decode()})


def test_a_sealed_part_that_is_no_base64_is_refused() -> None:
    whole = entry()
    for at in range(len(whole["sealed"])):
        with pytest.raises(KeyringError):
            SUBJECT.open({**whole, "sealed": whole["sealed"][:at] + "!" + whole["sealed"][at + 1 :]})


@unhurried
@given(st.sampled_from(["id", "kind", "subject"]), st.data())
def test_no_letter_of_the_public_part_can_be_changed(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(PUBLIC[name]) - 1))
    value = PUBLIC[name]
    changed = value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
    with pytest.raises(KeyringError):
        SUBJECT.open({**entry(), name: changed})


@pytest.mark.parametrize("change", [{"fields": []}, {"fields": ["contact"]}, {"consent": "x"}, {"more": None}], ids=str)
def test_nothing_can_be_added_to_the_public_part_or_taken_away(change: Document) -> None:
    with pytest.raises(KeyringError):
        SUBJECT.open({**entry(), **change})
    fewer = entry()
    del fewer["consent"]
    with pytest.raises(KeyringError):
        SUBJECT.open(fewer)


def test_digests_depend_on_the_subject() -> None:
    assert SUBJECT.digest(b"same") != OTHER.digest(b"same")
    assert SUBJECT.digest(b"same") == SUBJECT.digest(b"same") != SUBJECT.digest(b"other")


# --- repr ------------------------------------------------------------------------------------------


def test_nothing_secret_or_personal_stands_in_a_repr(keyring: Keyring) -> None:
    canary = b"CANARY-900101300017"
    text = canary.decode()
    shown = " ".join(
        repr(each)
        for each in (
            keyring,
            Subject(SubjectId("a"), canary),
            Extract({"identity": {"iin": text}}, (), (), consent_confirmed=True),
            Message(canary, "text/xml", "report", {"SOAPAction": text}),
            Reply(200, canary, "text/xml"),
            Report({"score": text}, about=text),
        )
    )
    assert text not in shown
    for key in (keyring.index, *keyring.wrapping.values()):
        assert repr(key)[2:-1] not in shown and base64.b64encode(key).decode() not in shown and key.hex() not in shown


def test_the_third_partys_number_is_sealed_in_the_ledger_so_it_stands_in_no_repr() -> None:
    assert "SB-77" not in repr(Report({}, reference="SB-77"))
