"""Where keys live: every store keeps one contract, and an HSM that fails or vanishes sends nothing."""

# long: one contract, run on every store, beside what only an HSM can do wrong.

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from qaqpa.errors import KeyringError
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Hsm, Unlock, public_header
from qaqpa.keys.pkcs11 import Pkcs11Keys

MODULE = next((path for path in ("/usr/lib/softhsm/libsofthsm2.so",) if Path(path).exists()), None)
IIN = "900101300017"
KEY = bytes(range(32))
COUNT = itertools.count()
# python-pkcs11 says so when it cannot end a search in a session that broke.
broken = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PASSPHRASE = Unlock("correct horse")
COST = 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keyring.json"


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """SoftHSM's own folder of tokens."""
    if MODULE is None:
        pytest.skip("SoftHSM is not installed: apt-get install softhsm2")
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    folder = tmp_path / "tokens"
    folder.mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    library = pkcs11.lib(MODULE)
    library.reinitialize()  # it reads its settings when it starts
    yield folder
    library.finalize()


def make_token(label: str) -> None:
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "5678"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def hsm(tokens: Path) -> Hsm:
    """A token of this test's own: a process shares its session on a token."""
    label = f"tok{next(COUNT)}"
    make_token(label)
    restart(str(MODULE))
    return Hsm(str(MODULE), label, "1234")


@pytest.fixture(params=["open", "sealed", "hsm"])
def unlock(request: pytest.FixtureRequest) -> Unlock:
    if request.param == "hsm":
        return Unlock(pkcs11=request.getfixturevalue("hsm"))
    return {"open": Unlock(), "sealed": PASSPHRASE}[request.param]


@pytest.fixture
def keyring(path: Path, unlock: Unlock) -> Iterator[Keyring]:
    made = Keyring.create(path, unlock, cost=COST)
    yield made
    made.close()


def same(one: Keyring, two: Keyring) -> bool:
    """Whether both hold the same keys."""
    wrapped = one.wrap("s", KEY)
    return (
        (one.id, one.epochs, one.public, one.blinds(IIN), one.blind_request("c", "k"), one.sign(b"m"))
        == (two.id, two.epochs, two.public, two.blinds(IIN), two.blind_request("c", "k"), two.sign(b"m"))
    ) and two.unwrap("s", one.epoch, wrapped) == KEY


# --- one contract -----------------------------------------------------------------------------------


def test_what_was_made_is_what_is_read(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    assert same(keyring, Keyring.load(path, unlock))


def test_it_is_never_overwritten(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    with pytest.raises(KeyringError, match="never overwritten"):
        Keyring.create(path)
    assert same(keyring, Keyring.load(path, unlock))


def test_two_keyrings_share_nothing(keyring: Keyring, tmp_path: Path) -> None:
    other = Keyring.create(tmp_path / "other.json")
    assert keyring.id != other.id and keyring.public != other.public
    assert keyring.blind(IIN) != other.blind(IIN)
    assert keyring.blind_request("c", "k") != other.blind_request("c", "k")


def test_what_is_public_of_it_takes_no_secret(path: Path, keyring: Keyring) -> None:
    assert public_header(path) == (keyring.id, keyring.public)
    signature = keyring.sign(b"checkpoint")
    Ed25519PublicKey.from_public_bytes(public_header(path)[1]).verify(signature, b"checkpoint")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(keyring.public).verify(signature, b"another")


def test_a_new_epoch_is_for_what_is_new_and_old_ones_stay_readable(
    path: Path, keyring: Keyring, unlock: Unlock
) -> None:
    old, blind, request = keyring.wrap("s", KEY), keyring.blind(IIN), keyring.blind_request("c", "k")
    assert (keyring.begin_epoch(), keyring.epoch, keyring.epochs) == (2, 2, (1, 2))
    for ring in (keyring, Keyring.load(path, unlock)):
        assert ring.unwrap("s", 1, old) == ring.unwrap("s", 2, ring.wrap("s", KEY)) == KEY
        assert ring.blind(IIN) != blind
        assert ring.blinds(IIN) == (ring.blind(IIN), blind)
        assert ring.blind_request("c", "k") == request


def test_destroyed_keys_are_gone_from_memory_and_file(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    wrapped, public = keyring.wrap("s", KEY), keyring.public
    keyring.begin_epoch()
    keyring.begin_epoch()
    assert keyring.destroy_before(3) == (1, 2)
    assert keyring.destroy_before(3) == ()
    for ring in (keyring, Keyring.load(path, unlock)):
        assert (ring.epoch, ring.epochs, ring.public, len(ring.blinds(IIN))) == (3, (3,), public, 1)
        with pytest.raises(KeyringError, match="epoch 1 were destroyed"):
            ring.unwrap("s", 1, wrapped)
        with pytest.raises(KeyringError, match="epoch 4 is newer"):
            ring.unwrap("s", 4, wrapped)


def test_the_current_epoch_is_never_destroyed(keyring: Keyring) -> None:
    with pytest.raises(KeyringError, match="epoch 2 has not begun"):
        keyring.destroy_before(2)
    assert keyring.unwrap("s", 1, keyring.wrap("s", KEY)) == KEY


def test_what_another_process_changed_is_read_again(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    other = Keyring.load(path, unlock)
    assert not keyring.refresh()
    other.begin_epoch()
    assert keyring.epoch == 1 and keyring.refresh() and not keyring.refresh()
    assert same(keyring, other) and keyring.epochs == (1, 2)
    other.destroy_before(2)
    assert keyring.refresh() and keyring.epochs == (2,)


def test_an_old_copy_or_another_keyring_in_its_place_is_refused(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    first = path.read_bytes()
    keyring.begin_epoch()
    path.write_bytes(first)
    for step in (keyring.refresh, keyring.begin_epoch, lambda: keyring.destroy_before(1)):
        with pytest.raises(KeyringError, match="old copy"):
            step()
    path.unlink()
    with pytest.raises(KeyringError, match="no keyring"):
        keyring.refresh()
    Keyring.create(path, unlock, cost=COST)
    with pytest.raises(KeyringError, match="another keyring"):
        keyring.refresh()


def test_nobody_who_rotates_at_once_loses_a_key(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    rings = [Keyring.load(path, unlock) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        begun = list(pool.map(lambda at: (rings[at % 4].begin_epoch(), rings[at % 4]), range(12)))
    assert sorted(epoch for epoch, _ in begun) == list(range(2, 14))
    for ring in rings:
        ring.refresh()
        assert same(keyring, ring) if keyring.refresh() else same(ring, keyring)


def test_one_that_cannot_be_written_keeps_its_epochs(path: Path, keyring: Keyring, unlock: Unlock) -> None:
    (path.parent / ".keyring.json.new").mkdir()
    for step in (keyring.begin_epoch, lambda: Keyring.create(path.parent / "x" / "y")):
        (path.parent / "x").touch()
        with pytest.raises(KeyringError, match="cannot be written"):
            step()
    assert keyring.epochs == (1,) and same(keyring, Keyring.load(path, unlock))


def test_a_wrapped_key_comes_back(keyring: Keyring) -> None:
    assert keyring.unwrap("s1", 1, keyring.wrap("s1", KEY)) == KEY


def test_the_same_key_is_never_wrapped_to_the_same_bytes(keyring: Keyring) -> None:
    wrapped = {keyring.wrap("s1", KEY) for _ in range(50)}
    assert len({each[:12] for each in wrapped}) == 50
    assert all(KEY not in each for each in wrapped)


def test_a_wrapped_key_is_bound_to_subject_and_epoch_and_keyring(keyring: Keyring, tmp_path: Path) -> None:
    wrapped = keyring.wrap("s1", KEY)
    keyring.begin_epoch()
    other = Keyring.create(tmp_path / "other.json")
    for ring, subject, epoch in ((keyring, "s2", 1), (keyring, "s1", 2), (other, "s1", 1)):
        with pytest.raises(KeyringError, match="keyring is not the one"):
            ring.unwrap(subject, epoch, wrapped)


def test_a_wrapped_key_that_is_changed_or_cut_anywhere_is_refused(keyring: Keyring) -> None:
    wrapped = keyring.wrap("s1", KEY)
    for at in range(len(wrapped)):
        flipped = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
        for damaged in (flipped, wrapped[:at]):
            with pytest.raises(KeyringError):
                keyring.unwrap("s1", 1, damaged)


# --- what does not unlock it ------------------------------------------------------------------------


REFUSED: dict[str, tuple[Unlock, Unlock, str]] = {
    "a wrong passphrase": (PASSPHRASE, Unlock("wrong"), "the passphrase is not the keyring's"),
    "no passphrase": (PASSPHRASE, Unlock(), "is sealed with a passphrase: say in keys.passphrase"),
    "an empty passphrase": (PASSPHRASE, Unlock(""), "the passphrase is empty"),
    "a passphrase for an open one": (Unlock(), PASSPHRASE, "no passphrase seals it: remove keys.passphrase"),
    "an HSM for a file": (Unlock(), Unlock(pkcs11=Hsm("m", "t", "1")), "in that file, not in an HSM"),
    "both": (PASSPHRASE, Unlock("correct horse", Hsm("m", "t", "1")), "not both"),
}


@pytest.mark.parametrize(("made", "given", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_unlock_it_is_refused(path: Path, made: Unlock, given: Unlock, says: str) -> None:
    Keyring.create(path, made, cost=COST)
    with pytest.raises(KeyringError, match=says):
        Keyring.load(path, given)


# --- an HSM ----------------------------------------------------------------------------------------


@pytest.fixture
def ring(path: Path, hsm: Hsm) -> Iterator[Keyring]:
    made = Keyring.create(path, Unlock(pkcs11=hsm))
    yield made
    made.close()


def objects(hsm: Hsm) -> dict[str, list[Any]]:
    """What is on the token, by label."""
    import pkcs11

    found: dict[str, list[Any]] = {}
    for each in pkcs11.lib(hsm.module).get_token(token_label=hsm.token).open().get_objects():
        found.setdefault(each[pkcs11.Attribute.LABEL], []).append(each)
    return found


def test_its_keys_never_leave_it_and_the_file_holds_none(path: Path, ring: Keyring, hsm: Hsm) -> None:
    import pkcs11

    keys = objects(hsm)
    assert set(keys) == {f"qaqpa-{ring.id}-{name}" for name in ("wrapping-1", "index-1", "requests", "log")}
    for each in (key for same_label in keys.values() for key in same_label):
        if each.object_class is not pkcs11.ObjectClass.PUBLIC_KEY:
            assert each[pkcs11.Attribute.SENSITIVE] and not each[pkcs11.Attribute.EXTRACTABLE]
            assert each[pkcs11.Attribute.ALWAYS_SENSITIVE] and each[pkcs11.Attribute.NEVER_EXTRACTABLE]
            with pytest.raises(pkcs11.AttributeSensitive):
                each[pkcs11.Attribute.VALUE]
    document = json.loads(path.read_text())
    assert set(document) == {"format", "id", "epoch", "epochs", "public", "kdf", "store", "signature"}


def test_a_destroyed_epoch_is_gone_from_the_token(ring: Keyring, hsm: Hsm) -> None:
    ring.begin_epoch()
    assert ring.destroy_before(2) == (1,)
    assert {label.rpartition("-")[2] for label in objects(hsm)} == {"2", "requests", "log"}


def test_what_one_process_wrapped_another_unwraps(path: Path, ring: Keyring, hsm: Hsm) -> None:
    wrapped = ring.wrap("s", KEY)
    code = (
        "import sys; from pathlib import Path; from qaqpa.keys.keyring import *\n"
        f"ring = Keyring.load(Path({str(path)!r}), Unlock(pkcs11=Hsm({str(MODULE)!r}, {hsm.token!r}, '1234')))\n"
        f"print(ring.unwrap('s', 1, bytes.fromhex({wrapped.hex()!r})).hex(), ring.begin_epoch())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [KEY.hex(), "2"]
    assert ring.refresh() and ring.epochs == (1, 2)
    assert ring.unwrap("s", 2, ring.wrap("s", KEY)) == KEY


WRONG = {
    "a wrong PIN": ({"pin": "4321"}, "the PIN is not that of token 'tok"),
    "a PIN that is too short": ({"pin": "1"}, "the PIN is not that of token 'tok"),
    "a token that is not there": ({"token": "other"}, "no token is called 'other'"),
    "a module that is not there": ({"module": "/nowhere.so"}, "module /nowhere.so cannot be loaded"),
    "a module that is no library": ({"module": __file__}, "cannot be loaded"),
}


@pytest.mark.parametrize(("wrong", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_said(path: Path, hsm: Hsm, wrong: dict[str, str], says: str) -> None:
    given = Unlock(pkcs11=replace(hsm, **wrong))
    with pytest.raises(KeyringError, match=says) as refused:
        Keyring.create(path, given)
    assert hsm.pin not in str(refused.value) and not path.exists()
    made = Keyring.create(path, Unlock(pkcs11=hsm))
    with pytest.raises(KeyringError, match=says):  # beside a session that is open, too
        Keyring.load(path, given)
    made.close()
    with pytest.raises(KeyringError, match=says):
        Keyring.load(path, given)


def test_two_tokens_of_one_name_are_refused(path: Path, hsm: Hsm) -> None:
    make_token(hsm.token)
    restart(hsm.module)
    with pytest.raises(KeyringError, match="several tokens"):
        Keyring.create(path, Unlock(pkcs11=hsm))


@broken
def test_a_wrong_pin_is_not_tried_until_the_token_locks(path: Path, ring: Keyring, hsm: Hsm) -> None:
    import pkcs11

    with pkcs11.lib(hsm.module).get_token(token_label=hsm.token).open(rw=True) as session:
        session.set_pin("1234", "9876")
    restart(hsm.module)
    with pytest.raises(KeyringError, match="does not answer"):
        ring.blind(IIN)
    for _ in range(20):
        with pytest.raises(KeyringError, match="the PIN is not"):
            ring.blind(IIN)
    ring.close()
    Keyring.load(path, Unlock(pkcs11=replace(hsm, pin="9876"))).close()


def test_a_missing_library_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyringError, match=r"pip install qaqpa\[pkcs11\]"):
        Keyring.create(path, Unlock(pkcs11=Hsm("m", "t", "1")))


def restart(module: str) -> None:
    """Every session of this process breaks."""
    import pkcs11

    pkcs11.lib(module).finalize()


CALLS: dict[str, Callable[[Keyring, bytes], object]] = {
    "wrap": lambda ring, wrapped: ring.wrap("s", KEY),
    "unwrap": lambda ring, wrapped: ring.unwrap("s", 1, wrapped),
    "blind": lambda ring, wrapped: ring.blind(IIN),
    "blind_request": lambda ring, wrapped: ring.blind_request("c", "k"),
    "sign": lambda ring, wrapped: ring.sign(b"m"),
    "begin_epoch": lambda ring, wrapped: ring.begin_epoch(),
    "destroy_before": lambda ring, wrapped: ring.destroy_before(1),
}


@broken
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_one_that_vanishes_is_said_and_found_again_when_it_is_back(
    ring: Keyring, hsm: Hsm, tokens: Path, call: Callable[[Keyring, bytes], object]
) -> None:
    wrapped = ring.wrap("s", KEY)
    restart(hsm.module)
    tokens.rename(tokens.with_name("unplugged"))
    tokens.mkdir()
    for _ in range(3):
        with pytest.raises(KeyringError, match=r"the HSM does not answer \(\w+\): .*nothing is sent") as refused:
            call(ring, wrapped)
        assert refused.value.__cause__ is None and hsm.pin not in str(refused.value)
    assert ring.epochs == (1,)
    tokens.rmdir()
    tokens.with_name("unplugged").rename(tokens)
    assert call(ring, wrapped) is not None
    assert ring.unwrap("s", 1, wrapped) == KEY


def test_several_threads_share_its_session(ring: Keyring) -> None:
    def work(at: int) -> bool:
        return ring.unwrap(f"s{at}", 1, ring.wrap(f"s{at}", KEY)) == KEY and ring.blind(str(at)) == ring.blind(str(at))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_a_run_that_ends_before_the_header_leaves_keys_for_the_next(path: Path, ring: Keyring, hsm: Hsm) -> None:
    blocked = path.parent / ".keyring.json.new"
    blocked.mkdir()
    with pytest.raises(KeyringError, match="cannot be written"):
        ring.begin_epoch()
    assert ring.epochs == (1,) and f"qaqpa-{ring.id}-wrapping-2" in objects(hsm)
    blocked.rmdir()
    assert ring.begin_epoch() == 2
    assert ring.unwrap("s", 2, ring.wrap("s", KEY)) == KEY


@pytest.mark.parametrize("later", ["load", "destroy_before"])
def test_a_run_that_ends_after_the_header_leaves_keys_that_the_next_one_destroys(
    path: Path, ring: Keyring, hsm: Hsm, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    def gone(self: Pkcs11Keys, before: int) -> tuple[int, ...]:
        raise KeyringError("killed here")

    ring.begin_epoch()
    with monkeypatch.context() as patch, pytest.raises(KeyringError, match="killed here"):
        patch.setattr(Pkcs11Keys, "destroy", gone)
        ring.destroy_before(2)
    assert ring.epochs == (2,) and f"qaqpa-{ring.id}-wrapping-1" in objects(hsm)
    if later == "load":
        Keyring.load(path, Unlock(pkcs11=hsm)).close()
    else:
        assert ring.destroy_before(2) == (1,)
    assert f"qaqpa-{ring.id}-wrapping-1" not in objects(hsm)


def test_a_keyring_that_is_not_written_leaves_nothing_on_the_token(path: Path, hsm: Hsm) -> None:
    (path.parent / ".keyring.json.new").mkdir(parents=True)
    with pytest.raises(KeyringError, match="cannot be written"):
        Keyring.create(path, Unlock(pkcs11=hsm))
    assert objects(hsm) == {}


@pytest.mark.parametrize("name", ["wrapping-1", "index-1", "requests", "log"])
def test_a_token_without_a_key_of_the_ring_is_refused(path: Path, ring: Keyring, hsm: Hsm, name: str) -> None:
    import pkcs11

    with pkcs11.lib(hsm.module).get_token(token_label=hsm.token).open(rw=True) as session:
        for each in list(session.get_objects({pkcs11.Attribute.LABEL: f"qaqpa-{ring.id}-{name}"})):
            each.destroy()
    ring.close()
    with pytest.raises(KeyringError, match=f"no key qaqpa-{ring.id}-{name}"):
        Keyring.load(path, Unlock(pkcs11=hsm))


def test_its_header_is_signed_so_nobody_makes_it_destroy_living_keys(path: Path, ring: Keyring, hsm: Hsm) -> None:
    ring.begin_epoch()
    path.write_text(json.dumps({**json.loads(path.read_text()), "epochs": [2]}))
    with pytest.raises(KeyringError, match="edited or damaged"):
        Keyring.load(path, Unlock(pkcs11=hsm))
    assert f"qaqpa-{ring.id}-wrapping-1" in objects(hsm)


def test_a_closed_one_says_so(ring: Keyring) -> None:
    ring.close()
    ring.close()
    with pytest.raises(KeyringError, match="closed"):
        ring.blind(IIN)
