"""Who can read what: roles, looks that are entries themselves, and what no byte of ours tells after an erasure."""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from harness import (
    PASSPHRASE,
    PEOPLE,
    House,
    both_engines,
    erase_as_two,
    give_consent,
    handover_document,
    request,
    request_document,
    settle_as_two,
)
from qaqpa import log
from qaqpa.errors import InvalidRequest, KeyringError, NotAllowed, Unsettled
from qaqpa.gateway import Gateway
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.ledger.agreed import Act, Agreed
from qaqpa.ledger.erasure import Erased
from qaqpa.model.actors import SHELL, called
from qaqpa.model.identifiers import uuid7
from qaqpa.model.words import OutcomeResult
from qaqpa.store.schema import metadata
from qaqpa.testing.faults import Fault

PERSON, OTHER = PEOPLE[:2]
SAID = {"person": "A. Compliance", "reason": "application 17"}
SERVICES = ["loan-scoring", "collections", "nobody"]


NEVER = Agreed(uuid7(), Act.ERASE, {}, "x", called("A", SHELL), called("B", SHELL))
"""What nobody agreed on."""


async def erase(gateway: Gateway, caller: str = "compliance", **changes: Any) -> Erased:
    given: dict[str, Any] = {"duties_met": True, **SAID, **changes}
    return await erase_as_two(gateway, caller, PERSON.iin, **given)


async def disclosed(house: House, gateway: Gateway, *people: Any) -> None:
    for person in people:
        await give_consent(house, gateway, person)
        await gateway.disclose("loan-scoring", request(request_document(person)))


async def reviews(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    """Every look that was entered: who, at what."""
    async with house.gateway() as gateway:
        return [(each["caller"], each["act"], each["selection"]) for each in house.entries(gateway, "review")]


LOOKS = {
    ("show",): ("list", {"count": 20}),
    ("show", "--count", "3", "--kind", "intent", "--before", "5"): (
        "list",
        {"kind": "intent", "before": 5, "count": 3},
    ),
    ("show", "--recipient", "first-credit-bureau", "--json"): (
        "list",
        {"recipient": "first-credit-bureau", "count": 20},
    ),
    ("show", "2"): ("show", {"index": 2}),
    ("open",): ("open", {}),
    ("open", "--json"): ("open", {}),
}


@pytest.mark.promise(7)
@both_engines
async def test_each_look_by_a_person_is_an_entry_that_says_at_what(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
    for number, (command, (act, selection)) in enumerate(LOOKS.items(), 1):
        ran = await house.cli("ledger", *command, "--caller", "compliance")
        assert ran.code == 0, (command, ran.err)
        found = await reviews(house)
        assert (len(found), found[-1]) == (number, ("compliance", act, selection)), command
    ran = await house.cli("ledger", "export", str(house.home / "out"), "--caller", "compliance")
    assert ran.code == 0, ran.err
    assert (await reviews(house))[-1] == ("compliance", "export", {})
    async with house.gateway() as gateway:
        house.verified(gateway)


@pytest.mark.promise(7)
@both_engines
async def test_a_back_up_is_a_look_too_and_takes_a_role(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
    file = house.home / "copy.db"
    for caller in SERVICES:
        ran = await house.cli("backup", str(file), "--caller", caller)
        assert ran.code == 1 and "not_allowed: " in ran.err, ran.err
        assert not file.exists()
    assert await reviews(house) == []
    ran = await house.cli("backup", str(file), "--caller", "compliance")
    assert ran.code == 0 and file.exists(), ran.err
    assert await reviews(house) == [("compliance", "backup", {})]
    house.edit("callers.toml", ('roles = ["disclose"]', 'roles = ["disclose", "operate"]'))
    ran = await house.cli("backup", str(house.home / "nightly.db"), "--caller", "collections")
    assert ran.code == 0, ran.err
    assert len(await reviews(house)) == 1, "a service's is no look of a person"


@pytest.mark.promise(7)
async def test_verification_lists_no_disclosures(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.SERVER_ERROR
        with pytest.raises(Unsettled) as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        house.fcb.fault = Fault.NONE
    for more in ((), ("--json",)):
        ran = await house.cli("ledger", "verify", *more)
        assert ran.code == 0 and str(raised.value.disclosure) not in ran.out
        assert "qaqpa ledger open" in ran.out or more
    assert (ran.json["open_intents"], ran.json["unknown"]) == (0, 1)


@pytest.mark.promise(7)
@pytest.mark.parametrize("caller", SERVICES)
@pytest.mark.parametrize("command", [("show",), ("show", "1"), ("show", "1", "--raw"), ("open",), ("export", "out")])
async def test_who_may_not_review_sees_nothing(house: House, command: tuple[str, ...], caller: str) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
    ran = await house.cli("ledger", *command, "--caller", caller)
    assert ran.code == 1 and "not_allowed: " in ran.err, ran.err
    assert ran.out == ""
    assert await reviews(house) == []


@pytest.mark.promise(7)
async def test_a_look_that_cannot_be_entered_shows_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)

        async def lost(*_given: Any, **_named: Any) -> int:
            raise KeyringError("lost")

        monkeypatch.setattr(gateway.ledger, "record", lost)
        for look in (
            gateway.compliance.entries("compliance", 5),
            gateway.compliance.entry("compliance", 1),
            gateway.compliance.unsettled("compliance"),
            gateway.compliance.export("compliance", house.home / "out", lambda _done, _all: None),
        ):
            with pytest.raises(KeyringError):
                await look
        assert not (house.home / "out").exists()


@pytest.mark.promise(7)
async def test_a_service_that_may_review_leaves_no_entry(house: House) -> None:
    house.edit("callers.toml", ('roles = ["disclose"]', 'roles = ["disclose", "review"]'))
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
    ran = await house.cli("ledger", "show", "--caller", "collections", "--json")
    assert ran.code == 0 and len(ran.json) > 3
    assert await reviews(house) == []


@both_engines
async def test_what_needs_no_caller_shows_no_content(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
        [intent] = house.entries(gateway, "intent")
        before = len(house.entries(gateway))
    for command in (("verify",), ("verify", "--json"), ("prove", "2"), ("checkpoint",), ("checkpoint", "--json")):
        ran = await house.cli("ledger", *command)
        assert ran.code == 0, (command, ran.err)
        shown = [intent[name] for name in ("id", "subject", "consent", "recipient", "sealed")]
        assert [each for each in shown if each in ran.out + ran.err] == [], command
    async with house.gateway() as gateway:
        assert len(house.entries(gateway)) == before


@pytest.mark.promise(7)
@pytest.mark.parametrize("caller", SERVICES)
async def test_only_who_operates_may_act(house: House, caller: str, tmp_path: Path) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
        acts = gateway.compliance
        before = len(house.entries(gateway))
        for act in (
            erase(gateway, caller),
            settle_as_two(gateway, caller, "x", OutcomeResult.DELIVERED, **SAID),
            *(act(caller, NEVER) for act in (acts.erase, acts.settle, gateway.recalls.start_handover)),
            gateway.approvals.listed(caller),
            gateway.approvals.carry_out(caller, NEVER.approval),
            acts.archive(caller, 202601, tmp_path, **SAID),
            acts.rotate_keys(caller, **SAID, progress=lambda _done, _all: None),
        ):
            with pytest.raises(NotAllowed):
                await act
        assert len(house.entries(gateway)) == before


@pytest.mark.promise(2)
@pytest.mark.parametrize("name", ["person", "reason", "instrument"])
async def test_no_number_of_the_person_is_entered_with_the_erasure(house: House, name: str) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
        with pytest.raises(InvalidRequest, match=f"{name}: .*in the open"):
            await erase(gateway, **{name: f"of {PERSON.iin}"})
        assert await gateway.ledger.subjects.find(PERSON.iin) is not None


# --- every byte --------------------------------------------------------------------------------------

Places = Iterable[tuple[str, bytes]]


def spellings(value: str | bytes) -> Iterator[bytes]:
    """How a value may stand among other bytes: text, UTF-16, hex, and base64 wherever it begins."""
    raw = value if isinstance(value, bytes) else value.encode()
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    if isinstance(value, str):
        yield from (value.encode("utf-16-le"), value.encode("utf-16-be"), json.dumps(value).encode()[1:-1])
    for before in range(3):
        packed = base64.b64encode(bytes(before) + raw)
        yield packed[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]


def found_in(places: Places, values: Mapping[str, str | bytes]) -> set[str]:
    """Names of the values that stand in any of the places."""
    wanted = {name: set(spellings(value)) for name, value in values.items()}
    return {
        name for _, content in places for name, each in wanted.items() if any(spelling in content for spelling in each)
    }


def secrets_in(house: House) -> dict[str, bytes]:
    """Every secret of the keyring."""
    with closing(Keyring.load(house.home / "keyring.json", Unlock(PASSPHRASE))) as keyring:
        document = keyring._state.keys._secrets.document()  # type: ignore[attr-defined]
    named = {f"{name} {epoch}": key for name in ("wrapping", "index") for epoch, key in document[name].items()}
    return {
        name: base64.b64decode(key)
        for name, key in {**named, "requests": document["requests"], "log": document["log"]}.items()
    }


def places(house: House, gateway: Gateway, data: Path | None) -> Places:
    """Every byte of ours: files, the keyring opened, the server's files and the content of every table."""
    folders = [house.home] if data is None else [house.home, data]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()
    yield "the keyring, opened", b"".join(secrets_in(house).values())
    with gateway.store.snapshot() as connection:
        for table in metadata.sorted_tables:
            for row in connection.stream(f"SELECT * FROM {table.name}"):
                cells = [each if isinstance(each, bytes) else str(each).encode() for each in row]
                yield table.name, b"\0".join(cells)


@pytest.fixture
def data(engine: str, request: pytest.FixtureRequest) -> Path | None:
    """The server's data directory."""
    return None if engine == "sqlite" else Path(request.getfixturevalue("postgres").folder)


def flushed(house: House, data: Path | None, planted: str = "") -> None:
    """Have the server write all that it holds to its files, and something planted with it."""
    if data is None:
        if planted:
            (house.home / "planted").write_text(f"x{planted}y")
        return
    with psycopg.connect(house.config.joinpath("gateway.toml").read_text().split('url = "')[1].split('"')[0]) as server:
        server.autocommit = True
        if planted:
            server.execute("CREATE TABLE planted AS SELECT %s::text", (planted,))
        server.execute("CHECKPOINT")


PERSONAL: dict[str, str | bytes] = {
    "iin": PERSON.iin,
    **{name: PERSON.data["identity"][name] for name in ("last_name", "first_name", "middle_name")},
    "document": PERSON.data["identity"]["document"]["number"],
    "email": PERSON.data["contact"]["email"],
    "mobile": PERSON.data["contact"]["mobile"],
    "mobile's digits": PERSON.data["contact"]["mobile"].lstrip("+"),
}


@pytest.mark.promise(5)
@both_engines
async def test_after_erasure_and_rotation_no_byte_of_ours_tells_of_the_person(house: House, data: Path | None) -> None:
    written = (house.home / "qaqpa.log").open("w")
    log.configure(level=logging.DEBUG, stream=written)
    try:
        async with house.gateway() as gateway, house.gateway() as elsewhere:
            await disclosed(house, gateway, PERSON, OTHER, PEOPLE[2])
            await elsewhere.disclose("collections", request(handover_document(PERSON)))
            subject = await gateway.ledger.subjects.find(PERSON.iin)
            assert subject is not None
            with gateway.store.snapshot() as connection:
                query = "SELECT k.wrapped, s.blind FROM subject_keys k JOIN subjects s ON s.subject = k.subject "
                wrapped, blind = map(bytes, connection.execute(query + "WHERE k.subject = ?", (subject.id,)).one())
            old = secrets_in(house)
            rows: dict[str, str | bytes] = {"wrapped": wrapped, "blind": blind}
            keys: dict[str, str | bytes] = {
                "subject's key": subject.key, "wrapping key": old["wrapping 1"], "index key": old["index 1"],
            }  # fmt: skip

            # Before, whoever has the keyring reads them, and the search finds what is there.
            [first, *_] = [entry for entry in house.entries(gateway, "intent") if entry["subject"] == subject.id]
            assert subject.open(first)["iin"] == PERSON.iin
            flushed(house, data)
            assert found_in(places(house, gateway, data), {**PERSONAL, **rows, **keys}) == {
                "wrapped", "blind", "wrapping key", "index key",
            }  # fmt: skip

            await erase(gateway)
            await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)
            await gateway.disclose("loan-scoring", request(request_document(OTHER)))
            written.flush()
            flushed(house, data)
            new = {"new blind": gateway.ledger.keyring.blind(PERSON.iin)}
            assert found_in(places(house, gateway, data), {**PERSONAL, **keys, **new}) == set()
            if data is None:
                assert found_in(places(house, gateway, data), rows) == set()
            else:  # dead rows and the server's log may hold them; no key that is left makes anything of them
                assert found_in(places(house, gateway, None), rows) == set()
        assert found_in(places(house, gateway, data), {**PERSONAL, **keys, **new}) == set()
        require_useless(house, subject.id, wrapped, blind, old["wrapping 1"], subject.key)

        planted = {"text": f"{secrets.token_hex(8)} Қ"}
        assert found_in(places(house, gateway, data), planted) == set()
        flushed(house, data, planted["text"])
        assert found_in(places(house, gateway, data), planted) == {"text"}
    finally:
        log.configure()
        written.close()


def require_useless(house: House, name: str, wrapped: bytes, blind: bytes, destroyed: bytes, key: bytes) -> None:
    """The old row opens with the key that was destroyed, and with none that is left; no key left makes the index."""
    bounds = [f"{name}:{epoch}".encode() for epoch in (1, 2)]
    assert AESGCM(destroyed).decrypt(wrapped[:12], wrapped[12:], bounds[0]) == key
    for left in secrets_in(house).values():
        for bound in bounds:
            with pytest.raises(InvalidTag):
                AESGCM(left).decrypt(wrapped[:12], wrapped[12:], bound)
    with closing(Keyring.load(house.home / "keyring.json", Unlock(PASSPHRASE))) as keyring:
        assert blind not in keyring.blinds(PERSON.iin)
        with pytest.raises(KeyringError, match="destroyed"):
            keyring.unwrap(name, 1, wrapped)


@pytest.mark.parametrize(
    "value", ["850101300123", "Құдайбергенов", bytes(range(7, 250, 8))], ids=["iin", "name", "key"]
)
@pytest.mark.parametrize("around", range(4))
def test_the_search_finds_a_value_however_it_is_written(value: str | bytes, around: int) -> None:
    raw = value if isinstance(value, bytes) else value.encode()
    written = [raw, raw.hex().encode(), base64.b64encode(b"x" * around + raw + b"yz"[: around % 3])]
    if isinstance(value, str):
        written += [value.encode("utf-16-le"), value.encode("utf-16"), json.dumps({"a": value}).encode()]
    for each in written:
        assert found_in([("", b"before" + each + b"after")], {"it": value}) == {"it"}, each
    assert found_in([("", b"something else")], {"it": value}) == set()
