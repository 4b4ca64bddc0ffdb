"""`qaqpa doctor`: a healthy installation, and one fault at a time."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from harness import PEOPLE, TODAY, House, both_engines, erase_as_two, grown, outside, request, request_document
from qaqpa.cli import doctor
from qaqpa.cli.findings import Finding, State
from qaqpa.errors import QaqpaError
from qaqpa.service import tokens
from qaqpa.testing.faults import Fault


def found(house: House, **changes: str) -> list[Finding]:
    environ = {key: value for key, value in (house.environ | changes).items() if value}
    return list(doctor.examine(house.config, house.home, environ, house.clock()))


def only(house: House, state: State, about: str, words: str, **changes: str) -> None:
    """There is such a finding, and nothing else of its kind or worse."""
    all_found = found(house, **changes)
    hits = [each for each in all_found if each.state is state and each.about == about and words in each.message]
    assert len(hits) == 1, "\n".join(map(str, all_found))
    others = [each for each in all_found if each.state is State.WRONG and each not in hits]
    assert not others


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.name: (path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


async def lived_in(house: House) -> None:
    house.home.chmod(0o700)
    async with house.gateway() as gateway:
        await grown(house, gateway, people=2)
        await tokens.make_for(
            gateway, "loan-scoring", caller="compliance", person="A", reason="test", lifetime=timedelta(days=90)
        )


@both_engines
async def test_a_healthy_installation(house: House) -> None:
    await lived_in(house)
    before = everything(house.home)
    ran = await house.cli("doctor", "--json")
    assert ran.code == 0, ran.out
    assert ran.json["well"]
    assert {each["state"] for each in ran.json["findings"]} == {"ok"}, ran.out
    abouts = {each["about"] for each in ran.json["findings"]}
    assert abouts >= {
        "configuration", "home", "disk", "files", "keyring", "database", "checkpoint", "clock", "disclosures",
        "erasures", "token of loan-scoring", "service", "first-credit-bureau", "first-credit-bureau: agreement",
        "first-credit-bureau: channel.ca",
    }  # fmt: skip
    assert everything(house.home) == before
    told = await house.cli("doctor")
    assert told.code == 0
    assert len(told.out.splitlines()) == len(ran.json["findings"])
    assert all(line.startswith("✓ ") for line in told.out.splitlines())


async def test_a_fresh_installation_is_told_how_to_go_on(house: House) -> None:
    house.home.chmod(0o700)
    only(house, State.LOOK, "database", "the first disclosure")
    (house.home / "keyring.json").unlink()
    only(house, State.WRONG, "keyring", "qaqpa keys init")
    assert [path.name for path in house.home.iterdir()] == ["keyring.json.lock"]  # of its making


async def test_the_exit_code_and_the_mark(house: House) -> None:
    house.home.chmod(0o755)
    ran = await house.cli("doctor")
    assert ran.code == 2
    assert "✗ home: others may look into" in ran.out
    house.edit("gateway.toml", ("version = 1", "version = 2"))
    ran = await house.cli("doctor", "--json")
    assert ran.code == 2
    assert not ran.json["well"]
    assert any(each["about"] == "configuration" and "gateway.toml" in each["message"] for each in ran.json["findings"])
    ran = await house.cli("doctor", "--config", str(house.home / "none"), "--home", str(house.home / "nowhere"))
    assert ran.code == 2
    assert "there is no folder" in ran.out


def unset_recipient(house: House) -> dict[str, str]:
    return {"QAQPA_FCB_PASSWORD": ""}


def unset_passphrase(house: House) -> dict[str, str]:
    return {"QAQPA_PASSPHRASE": ""}


def wrong_passphrase(house: House) -> dict[str, str]:
    return {"QAQPA_PASSPHRASE": "another one"}


def shared_database(house: House) -> None:
    (house.home / "qaqpa.db").chmod(0o644)


def other_keyring(house: House) -> None:
    from qaqpa.keys import Keyring
    from qaqpa.keys.keyring import Unlock

    (house.home / "keyring.json").unlink()
    outside(house).unlink()
    Keyring.create(house.home / "keyring.json", Unlock(house.environ["QAQPA_PASSPHRASE"]), cost=2)


def no_database(house: House) -> None:
    (house.home / "qaqpa.db").write_text("this is none")
    for name in ("qaqpa.db-wal", "qaqpa.db-shm"):
        (house.home / name).unlink(missing_ok=True)


def sql(statement: str) -> Callable[[House], None]:
    def run(house: House) -> None:
        import sqlite3

        raw = sqlite3.connect(house.home / "qaqpa.db")
        raw.execute(statement)
        raw.commit()
        raw.close()

    return run


def checkpoint_gone(house: House) -> None:
    outside(house).unlink()


def clock_back(house: House) -> None:
    house.clock.offset = timedelta(hours=-1)


def agreement(ends: timedelta | None) -> Callable[[House], None]:
    def change(house: House) -> None:
        line = f"expires_on = {TODAY + ends}" if ends is not None else "expires_on = 2027-12-31"
        signed = "signed_on = 2025-01-15" if ends is not None else f"signed_on = {TODAY + timedelta(days=3)}"
        house.edit(
            "recipients/first-credit-bureau.toml",
            ("expires_on = 2027-12-31", line), ("signed_on = 2025-01-15", signed),
        )  # fmt: skip

    return change


def certificate(house: House, *, days: int, name: str = "mine.pem") -> Path:
    leaf = trustme.CA().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=days))
    path = house.home / name
    path.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
    key = house.home / "mine.key"
    key.touch(mode=0o600)
    key.write_bytes(leaf.private_key_pem.bytes())
    return path


def authority(days: int) -> Callable[[House], dict[str, str]]:
    def change(house: House) -> dict[str, str]:
        return {"QAQPA_FCB_CA": str(certificate(house, days=days))}

    return change


def service(text: str, days: int = 300) -> Callable[[House], None]:
    def change(house: House) -> None:
        certificate(house, days=days)
        with (house.config / "gateway.toml").open("a") as file:
            file.write(f"\n[service]\n{text}\n")

    return change


def shared_service_key(house: House) -> None:
    service('certificate = "mine.pem"\nkey = "mine.key"')(house)
    (house.home / "mine.key").chmod(0o644)


def wrong_pair(house: House) -> None:
    service('certificate = "mine.pem"\nkey = "mine.key"')(house)
    old = (house.home / "mine.key").read_bytes()
    certificate(house, days=300)
    (house.home / "mine.key").write_bytes(old)


def broken_draft(house: House) -> None:
    with (house.config / "gateway.toml").open("a") as file:
        file.write('\n[policy]\ndraft = "draft"\n')
    shutil.copytree(house.config / "policy", house.config / "draft" / "policy")


def broken_ca(house: House) -> dict[str, str]:
    (house.home / "ca.pem").write_text("no certificate")
    return {"QAQPA_FCB_CA": str(house.home / "ca.pem")}


FCB = "first-credit-bureau"
FAULTS: list[tuple[Callable[[House], dict[str, str] | None], State, str, str]] = [
    (unset_recipient, State.LOOK, FCB, "QAQPA_FCB_PASSWORD"),
    (unset_passphrase, State.WRONG, "keys.passphrase", "QAQPA_PASSPHRASE"),
    (wrong_passphrase, State.WRONG, "keyring", "passphrase"),
    (shared_database, State.WRONG, "files", "chmod 600"),
    (no_database, State.WRONG, "database", "cannot be used"),
    (sql("UPDATE alembic_version SET version_num = '0001'"), State.WRONG, "database", "qaqpa migrate"),
    (sql("DELETE FROM tree"), State.WRONG, "database", "qaqpa ledger verify"),
    (sql("UPDATE integrated SET root = x'00'"), State.WRONG, "checkpoint", "qaqpa ledger verify"),
    (checkpoint_gone, State.LOOK, "checkpoint", "right once on a new machine"),
    (clock_back, State.WRONG, "clock", "accept-clock"),
    (agreement(timedelta(days=-1)), State.WRONG, f"{FCB}: agreement", "ended on"),
    (agreement(timedelta(days=29)), State.LOOK, f"{FCB}: agreement", "prolong"),
    (agreement(None), State.LOOK, f"{FCB}: agreement", "begins on"),
    (authority(29), State.LOOK, f"{FCB}: channel.ca", "expires on"),
    (authority(-1), State.WRONG, f"{FCB}: channel.ca", "expired on"),
    (service('listen = "0.0.0.0:8480"'), State.WRONG, "service", "plain HTTP"),
    (service('listen = "8480"'), State.WRONG, "service", "HOST:PORT"),
    (service('certificate = "mine.pem"'), State.WRONG, "service", "go together"),
    (service('certificate = "mine.pem"\nkey = "mine.key"', 29), State.LOOK, "service.certificate", "expires on"),
    (service('certificate = "mine.pem"\nkey = "mine.key"', -1), State.WRONG, "service.certificate", "expired on"),
    (shared_service_key, State.WRONG, "service.key", "chmod 600"),
    (wrong_pair, State.WRONG, "service", "of one pair"),
    (broken_draft, State.LOOK, "draft policy", "qaqpa check"),
]


@pytest.mark.parametrize(("fault", "state", "about", "words"), FAULTS, ids=range(len(FAULTS)))
async def test_one_fault(
    house: House, fault: Callable[[House], dict[str, str] | None], state: State, about: str, words: str
) -> None:
    await lived_in(house)
    only(house, state, about, words, **(fault(house) or {}))


async def test_a_keyring_of_another_database(house: House) -> None:
    await lived_in(house)
    other_keyring(house)
    wrongs = {each.about: each.message for each in found(house) if each.state is State.WRONG}
    assert wrongs == {"keyring": "it is not the one that this database was kept with: put the right one in its place"}


async def test_an_authority_that_is_none(house: House) -> None:
    await lived_in(house)
    wrongs = [each.about for each in found(house, **broken_ca(house)) if each.state is State.WRONG]
    assert wrongs == [FCB, f"{FCB}: channel.ca"]


async def test_a_ledger_that_was_rolled_back(house: House) -> None:
    await lived_in(house)
    for name in ("qaqpa.db-wal", "qaqpa.db-shm"):
        assert not (house.home / name).exists()
    shutil.copy(house.home / "qaqpa.db", house.home / "old")
    async with house.gateway() as gateway:
        await grown(house, gateway, people=3)
    shutil.copy(house.home / "old", house.home / "qaqpa.db")
    only(house, State.WRONG, "checkpoint", "restored from an older back-up")


@pytest.mark.parametrize(("free", "state"), [(100, State.WRONG), (1_000, State.LOOK), (10_000, State.OK)])
async def test_space(house: House, monkeypatch: pytest.MonkeyPatch, free: int, state: State) -> None:
    await lived_in(house)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, free * 2**20))
    only(house, state, "disk", f"{free} MiB are free")


async def test_tokens_expire(house: House) -> None:
    await lived_in(house)
    house.clock.offset = timedelta(days=61)
    assert [each.about for each in found(house) if each.state is State.LOOK and "make loan-scoring" in each.message]
    house.clock.offset = timedelta(days=91)
    (said,) = (each.message for each in found(house) if each.about == "token of loan-scoring")
    assert said.startswith("expired on")
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        _, _ = await tokens.make_for(
            gateway, "collections", caller="compliance", person="A", reason="test", lifetime=timedelta(days=3)
        )
    only(house, State.LOOK, "token of collections", "hand it over in time")


async def test_disclosures_that_are_not_settled_suspensions_and_erasures(house: House) -> None:
    await lived_in(house)
    house.fcb.fault = Fault.SERVER_ERROR
    async with house.gateway() as gateway:
        with pytest.raises(QaqpaError):
            await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
        await gateway.suspend("compliance", FCB, person="A", reason="incident")
        await erase_as_two(
            gateway, "compliance", PEOPLE[1].iin, person="A", reason="asked", duties_met=True, instrument=None
        )
    looks = {each.about: each.message for each in found(house) if each.state is State.LOOK}
    assert looks.keys() == {"disclosures", FCB, "erasures", "recalls"}
    assert "qaqpa ledger open" in looks["disclosures"]
    assert "qaqpa recipient resume" in looks[FCB]
    assert "qaqpa keys rotate" in looks["erasures"]
    sql("UPDATE unsettled SET state = 'open', since = '2026-01-01T00:00:00.000Z'")(house)
    assert any("a gateway that opens" in each.message for each in found(house))
    assert (await house.cli("doctor")).code == 0


async def test_files_of_another_user(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await lived_in(house)
    may = os.access  # the superuser may write everything, so what another user is told is put in its place
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("qaqpa.db") and may(path, mode))
    assert any("cannot be written by this user" in each.message for each in found(house))
