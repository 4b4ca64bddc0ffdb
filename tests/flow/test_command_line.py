"""The command line where things go wrong: no value is printed, and a defect is never taken for a refusal."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys

import pytest
import typer

from harness import PEOPLE, House, give_consent, request_document
from qaqpa.cli import app
from qaqpa.cli.commands import COMMANDS
from qaqpa.model.identifiers import check_digit
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau

PERSON = PEOPLE[0]


async def permitted(house: House) -> str:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    return house.write("request.json", request_document(PERSON))


def broken(*_given: object, **_named: object) -> None:
    raise ValueError(f"cannot write {PERSON.data['identity']}")


async def test_an_adapter_that_fails_leaves_nothing_and_says_nothing_of_the_person(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await permitted(house)
    monkeypatch.setattr(FirstCreditBureau, "encode", broken)
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    assert (ran.code, ran.json["code"]) == (2, "request_invalid")
    assert PERSON.iin not in ran.out + ran.err
    assert house.fcb.connections == 0


async def test_a_defect_has_an_exit_code_of_its_own_and_prints_no_value(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await permitted(house)
    monkeypatch.setattr("qaqpa.gateway.flow.decide", broken)
    for more in ((), ("--verbose",)):
        ran = await house.cli("disclose", path, "--caller", "loan-scoring", *more)
        assert ran.code == 70
        assert "a defect of Qaqpa" in ran.err and "ValueError at " in ran.err
        assert not any(value in ran.err for value in (PERSON.iin, PERSON.data["identity"]["last_name"], "Traceback"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_first_sentence_of_its_own_help(name: str) -> None:
    group = typer.main.get_group(app)
    said = group.commands[name].help or ""
    assert said.replace("\n", " ").startswith(COMMANDS[name][1])
    assert COMMANDS[name][1].endswith(".")
    assert group.commands[name].get_short_help_str(200) == COMMANDS[name][1].removesuffix(".") + "."


def test_help_waits_for_no_gateway() -> None:
    script = """
import sys
from qaqpa.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
sys.exit(str([name for name in sys.modules if name in ("qaqpa.gateway", "sqlalchemy", "cryptography", "pydantic")]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "[]\n"


async def test_verbose_is_told_of_and_may_stand_anywhere(house: House) -> None:
    assert "--verbose" in (await house.cli("--help")).out
    path = await permitted(house)
    for arguments in (("--verbose", "disclose"), ("disclose", "--verbose")):
        ran = await house.cli(*arguments, path, "--caller", "loan-scoring")
        assert ran.code == 0 and '"event": "disclosed"' in ran.err
    assert "event" not in (await house.cli("disclose", path, "--caller", "loan-scoring")).err


def shell(script: str) -> subprocess.CompletedProcess[str]:
    qaqpa = f"{sys.executable} -m qaqpa"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script.replace('qaqpa', qaqpa)}"], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("script", "code"),
    [("qaqpa check > /dev/full", 70), ("qaqpa check --json | (exec <&-; sleep 3)", 141), ("qaqpa check", 0)],
)
async def test_a_reader_that_stops_or_a_full_device_is_no_refusal(house: House, script: str, code: int) -> None:
    done = await asyncio.to_thread(shell, script)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


async def test_a_terminal_that_lacks_letters_is_served_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert (await asyncio.to_thread(shell, "qaqpa check")).returncode == 0


async def test_looking_enters_nothing(house: House) -> None:
    path = house.write("request.json", request_document(PERSON))
    assert (await house.cli("decide", path, "--caller", "loan-scoring")).code == 1
    assert (await house.cli("recipient", "list")).code == 0
    assert (await house.cli("ledger", "verify", "--json")).json["size"] == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"recipient": "a", "recipient": "b"}', "stands twice"),
        ('{"data": {"identity": {"iin": "1"}, "identity": {}}}', "stands twice"),
        ('{"x": NaN}', "not JSON"),
        (" " * (8 * 2**20 + 1), "longer than 8 MiB"),
    ],
)
async def test_a_document_that_could_be_read_in_two_ways_is_refused(house: House, text: str, problem: str) -> None:
    ran = await house.cli("disclose", "-", "--caller", "loan-scoring", "--json", stdin=text)
    assert (ran.code, ran.json["code"]) == (2, "request_invalid")
    assert problem in ran.json["detail"]


@pytest.mark.parametrize("index", ["-1", "99999999999999999999999", "x"])
async def test_an_index_that_cannot_be_is_a_usage_error(house: House, index: str) -> None:
    await permitted(house)
    assert (await house.cli("ledger", "show", "--", index)).code == 2


async def test_an_odd_iin_is_served_and_said_to_be_odd(house: House) -> None:
    path = await permitted(house)
    document = json.loads((house.home / "request.json").read_text())
    document["data"]["identity"]["iin"] = "00333130001" + str(check_digit("00333130001"))
    house.write("request.json", document)
    ran = await house.cli("disclose", path, "--caller", "loan-scoring")
    assert "the birth date in it does not exist" in ran.err


async def test_database_and_home_are_their_owners_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = house.home / "fresh"
    old = os.umask(0o022)
    try:
        assert (await house.cli("keys", "init", "--home", str(fresh))).code == 0
        path = house.write("request.json", request_document(PERSON))
        assert (await house.cli("disclose", path, "--caller", "loan-scoring", "--home", str(fresh))).code == 1
    finally:
        os.umask(old)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (fresh, *fresh.iterdir())}
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}
    assert "qaqpa.db" in modes
