"""The keyring and what is sealed under it: who may read it, what damage is noticed, how epochs come and go, what
never stands in a repr."""

# long: every way in which one file can be damaged, forged, replaced or killed, and what is sealed under it.

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import PASSPHRASE as HOUSE_PASSPHRASE
from harness import PEOPLE, House, give_consent
from qaqpa.errors import KeyringError
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Hsm, Unlock, public_header
from qaqpa.ledger.subjects import Subject
from qaqpa.model.canonical import canonical
from qaqpa.model.disclosure import Extract, Message, Reply, Report
from qaqpa.model.identifiers import SubjectId

Document = dict[str, Any]
Change = Callable[[Document], Any]
unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
KEY = base64.b64encode(bytes(range(32))).decode()
INDEX = base64.b64encode(bytes(range(1, 33))).decode()
IIN = "900101300017"
SUBJECT = Subject(SubjectId("a" * 32), bytes(range(32)))
OTHER = Subject(SubjectId("a" * 32), bytes(range(1, 33)))
PUBLIC = {"id": "0198-1", "kind": "intent", "fields": ["identity.iin"], "subject": "a" * 32, "consent": None}
PRIVATE = {"iin": "900101300017", "stated": {"contract": {"days_overdue": 5}}}
PASSPHRASE = Unlock("correct horse")
COST = 16
UNLOCKS = {"open": Unlock(), "sealed": PASSPHRASE}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keyring.json"


@pytest.fixture(params=UNLOCKS.values(), ids=UNLOCKS.keys())
def unlock(request: pytest.FixtureRequest) -> Unlock:
    unlock: Unlock = request.param
    return unlock


@pytest.fixture
def keyring(path: Path, unlock: Unlock) -> Keyring:
    return Keyring.create(path, unlock, cost=COST)


def edit(path: Path, change: Change) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def edit_and_sign(path: Path, change: Change) -> None:
    """As somebody who knows the format would, with the signing key of an open keyring or one of his own."""
    document = change(json.loads(path.read_text()))
    if isinstance(document, dict):
        document.pop("signature", None)
        own = Ed25519PrivateKey.generate()
        if "keys" in document:
            own = Ed25519PrivateKey.from_private_bytes(base64.b64decode(document["keys"]["log"]))
        else:
            document["public"] = base64.b64encode(own.public_key().public_bytes_raw()).decode()
        document["signature"] = base64.b64encode(own.sign(b"qaqpa/keyring/1\0" + canonical(document))).decode()
    path.write_text(json.dumps(document))


# --- the file --------------------------------------------------------------------------------------


def test_only_its_owner_may_read_it_whatever_the_umask(path: Path, unlock: Unlock) -> None:
    old = os.umask(0)
    try:
        Keyring.create(path, unlock, cost=COST).begin_epoch()
    finally:
        os.umask(old)
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o666, 0o644, 0o777])
def test_one_that_others_may_touch_is_refused(path: Path, keyring: Keyring, unlock: Unlock, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.load(path, unlock)
    with pytest.raises(KeyringError, match="chmod 600"):
        keyring.refresh()


def test_a_missing_one_says_how_to_make_it(path: Path) -> None:
    with pytest.raises(KeyringError, match="qaqpa keys init"):
        Keyring.load(path)


def test_a_folder_in_its_place_is_an_error_of_ours(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(KeyringError, match="cannot be read"):
        Keyring.load(path)


def test_one_cut_off_anywhere_is_refused(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(KeyringError, match="back-up"):
            Keyring.load(path, unlock)


def test_no_value_in_it_can_be_changed_unnoticed(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(KeyringError):
            Keyring.load(path, unlock).blind(IIN)


def change(key: str, value: Any) -> Change:
    return lambda document: {**document, key: value}


def without(key: str) -> Change:
    return lambda document: {name: value for name, value in document.items() if name != key}


def within(key: str, change: Change) -> Change:
    return lambda document: {**document, key: change(document[key])}


KDF = {"name": "scrypt", "n": 16, "r": 8, "p": 1, "salt": KEY, "check": KEY}
DAMAGE: dict[str, Change] = {
    "another format": change("format", 3),
    "a format that is true": change("format", True),
    "no format": without("format"),
    "no id": without("id"),
    "an id that is no text": change("id", None),
    "an id that is a path": change("id", "../../../etc/pass"),
    "no epoch": without("epoch"),
    "an epoch without a key": lambda document: {**document, "epoch": 2, "epochs": [1, 2]},
    "an epoch that is not the last": change("epoch", 2),
    "an epoch that is no number": change("epochs", ["one"]),
    "an epoch that is true": lambda document: {**document, "epoch": True, "epochs": [True]},
    "no epochs": change("epochs", []),
    "no public key": without("public"),
    "a key derivation that is none": change("kdf", []),
    "another store": change("store", "cloud"),
    "no keys": without("keys"),
    "no wrapping keys": within("keys", without("wrapping")),
    "wrapping keys in a list": within("keys", change("wrapping", [KEY])),
    "a wrapping key of 31 bytes": within("keys", change("wrapping", {"1": base64.b64encode(bytes(31)).decode()})),
    "a wrapping key that is no base64": within("keys", change("wrapping", {"1": "*" * 44})),
    "a wrapping key that is a number": within("keys", change("wrapping", {"1": 5})),
    "a key of no epoch": within("keys", change("wrapping", {"1": KEY, "x": KEY})),
    "no index key": within("keys", change("index", {})),
    "an empty requests key": within("keys", change("requests", "")),
    "a list": lambda document: [document],
    "text": lambda document: "keyring",
    "null": lambda document: None,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_one_is_refused_and_says_what_to_do(path: Path, damage: Change) -> None:
    Keyring.create(path)
    edit_and_sign(path, damage)
    with pytest.raises(KeyringError, match="not a keyring of this version; restore it from a back-up"):
        Keyring.load(path)


RUBBISH = {
    "empty": b"",
    "noughts": bytes(300),
    "bytes that are no UTF-8": b"\xff\xfe\x00keyring",
    "brackets without end": b"[" * 100_000,
    "an integer of ten thousand digits": b'{"format": ' + b"1" * 10_000 + b"}",
    "more than a keyring ever holds": b" " * (2**20 + 1),
}


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_refused_and_says_what_to_do(path: Path, content: bytes) -> None:
    Keyring.create(path)
    path.write_bytes(content)
    for read in (Keyring.load, public_header):
        with pytest.raises(KeyringError, match="restore it from a back-up"):
            read(path)


def test_an_edited_one_is_refused(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    edit(path, change("id", "0" * 16))
    for read in (lambda: Keyring.load(path, unlock), lambda: public_header(path), keyring.refresh):
        with pytest.raises(KeyringError, match="edited or damaged"):
            read()


async def test_another_keyring_is_refused_when_the_gateway_opens(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PEOPLE[0])
    (house.home / "keyring.json").rename(house.home / "right.json")
    Keyring.create(house.home / "keyring.json", Unlock(HOUSE_PASSPHRASE), cost=2)
    with pytest.raises(KeyringError, match="belongs to another database"):
        async with house.gateway():
            pass
    (house.home / "right.json").rename(house.home / "keyring.json")
    async with house.gateway() as gateway:
        assert house.verified(gateway).kinds == {"policy": 1, "consent": 1}


# --- passphrases -----------------------------------------------------------------------------------


def test_a_sealed_one_shows_no_key(path: Path) -> None:
    Keyring.create(path, PASSPHRASE, cost=COST)
    document = json.loads(path.read_text())
    assert set(document) == {"format", "id", "epoch", "epochs", "public", "kdf", "store", "sealed", "signature"}
    assert document["kdf"] | {"salt": "", "check": ""} == KDF | {"salt": "", "check": ""}


def test_sealed_keys_open_beside_no_other_header(path: Path) -> None:
    Keyring.create(path, PASSPHRASE, cost=COST)
    for forged in (change("id", "0" * 16), change("public", KEY)):
        edit_and_sign(path, forged)
        with pytest.raises(KeyringError, match="sealed under another header"):
            Keyring.load(path, PASSPHRASE)


def test_an_open_one_with_another_signing_key_is_refused(path: Path) -> None:
    made = Keyring.create(path)
    edit_and_sign(path, within("keys", change("log", KEY)))
    edit_and_sign(path, change("public", base64.b64encode(made.public).decode()))
    with pytest.raises(KeyringError, match="restore it"):
        Keyring.load(path)


HOSTILE = {
    "memory without end": {"n": 2**40},
    "more memory than 1 GiB": {"n": 2**21},
    "a cost that is no power of two": {"n": 1000},
    "a cost of one": {"n": 1},
    "a cost that is text": {"n": "16"},
    "wider blocks": {"r": 2**20},
    "more lanes": {"p": 2**20},
    "another function": {"name": "md5"},
    "no salt": {"salt": ""},
}


@pytest.mark.parametrize("kdf", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_cannot_ask_for_more_than_ours_do(path: Path, kdf: Document) -> None:
    Keyring.create(path, PASSPHRASE, cost=COST)
    edit_and_sign(path, change("kdf", KDF | kdf))
    with pytest.raises(KeyringError, match="not a keyring of this version"):
        Keyring.load(path, PASSPHRASE)


def test_a_cost_out_of_bounds_makes_no_keyring(path: Path) -> None:
    for cost in (0, 1, 1000, 2**21):
        with pytest.raises(KeyringError, match="cost"):
            Keyring.create(path, PASSPHRASE, cost=cost)
    assert not path.exists()


# --- replaced as a whole ---------------------------------------------------------------------------


def test_an_old_version_leaves_no_bytes_behind(path: Path, keyring: Keyring) -> None:
    with path.open("rb") as old:
        keyring.begin_epoch()
        assert set(old.read()) == {0}
    assert sorted(each.name for each in path.parent.iterdir()) == ["keyring.json", "keyring.json.lock"]


ROTATE = """
import sys
from pathlib import Path
from qaqpa.keys.keyring import Keyring
ring = Keyring.load(Path(sys.argv[1]))
while True:
    print(ring.begin_epoch(), ring.wrap("s", bytes(32)).hex(), flush=True)
    ring.destroy_before(ring.epoch - 5)
"""


def test_one_killed_while_it_rotates_is_whole_and_knows_every_epoch_that_was_begun(path: Path) -> None:
    Keyring.create(path)
    for pause in (0.0, 0.003, 0.011, 0.027):
        with subprocess.Popen([sys.executable, "-c", ROTATE, path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().splitlines()
        epoch, wrapped = next(line.split() for line in reversed(lines) if len(line.strip()) > 120)
        assert Keyring.load(path).unwrap("s", int(epoch), bytes.fromhex(wrapped)) == bytes(32)


# --- format 1 --------------------------------------------------------------------------------------


@pytest.fixture
def first(path: Path) -> Path:
    """A keyring of format 1."""
    document = {"format": 1, "id": "0123456789abcdef", "epoch": 1, "wrapping": {"1": KEY}, "index": INDEX}
    path.parent.mkdir(mode=0o700)
    path.write_text(json.dumps(document, indent=1))
    path.chmod(0o600)
    return path


def test_format_1_is_upgraded_in_place_and_finds_what_it_found(first: Path) -> None:
    with pytest.raises(KeyringError, match="older version"):
        public_header(first)
    ring, index = Keyring.load(first), base64.b64decode(INDEX)
    assert (ring.id, ring.epoch, ring.epochs) == ("0123456789abcdef", 1, (1,))
    assert ring.blind(IIN) == hmac.digest(index, b"qaqpa/iin/1\0" + IIN.encode(), hashlib.sha256)
    assert ring.blind_request("c", "k") == hmac.digest(index, b"qaqpa/request/1\0c\0k", hashlib.sha256)
    assert json.loads(first.read_text())["format"] == 2
    assert public_header(first) == (ring.id, ring.public)
    assert Keyring.load(first).blinds(IIN) == ring.blinds(IIN)


def test_two_that_upgrade_at_once_agree(first: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({ring.public for ring in pool.map(lambda _: Keyring.load(first), range(4))}) == 1


def test_format_1_is_open_so_it_takes_no_passphrase(first: Path) -> None:
    with pytest.raises(KeyringError, match=r"remove keys\.passphrase"):
        Keyring.load(first, PASSPHRASE)
    assert json.loads(first.read_text())["format"] == 1


@pytest.mark.parametrize("damage", [without("index"), change("epoch", 2), change("wrapping", {}), change("id", None)])
def test_a_damaged_format_1_is_refused(first: Path, damage: Change) -> None:
    edit(first, damage)
    with pytest.raises(KeyringError, match="back-up"):
        Keyring.load(first)


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


def test_nothing_secret_or_personal_stands_in_a_repr(path: Path) -> None:
    keyring = Keyring.create(path)
    canary = b"CANARY-900101300017"
    text = canary.decode()
    shown = " ".join(
        repr(each)
        for each in (
            keyring,
            keyring._state,
            Unlock(text, Hsm("m", "t", text)),
            Subject(SubjectId("a"), canary),
            Extract({"identity": {"iin": text}}, (), (), consent_confirmed=True),
            Message(canary, "text/xml", "report", {"SOAPAction": text}),
            Reply(200, canary, "text/xml"),
            Report({"score": text}, about=text),
        )
    )
    assert text not in shown
    keys = json.loads(path.read_text())["keys"]
    for shape in (*keys["wrapping"].values(), *keys["index"].values(), keys["requests"], keys["log"]):
        key = base64.b64decode(shape)
        assert repr(key)[2:-1] not in shown and shape not in shown and key.hex() not in shown


def test_the_third_partys_number_is_sealed_in_the_ledger_so_it_stands_in_no_repr() -> None:
    assert "SB-77" not in repr(Report({}, reference="SB-77"))
