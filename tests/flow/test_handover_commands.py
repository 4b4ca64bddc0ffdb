"""`qaqpa handover` as people use it: what is printed, with which exit code, and what stands in the files it writes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from harness import PEOPLE, House, Ran, run_cli
from qaqpa.cli.handover_check import Results
from qaqpa.cli.handover_proof import STATES
from qaqpa.gateway.handover_answers import NEXT
from qaqpa.handover.flow import HandoverFlow
from qaqpa.model.handover import FINAL, HandoverState
from qaqpa.model.identifiers import HandoverId
from qaqpa.tables import writing
from qaqpa.testing.checking import checker
from qaqpa.testing.packages import PackageFault, ReceiptFault
from qaqpa.testing.registers import as_csv, contracts_csv, debtors
from qaqpa.testing.sftp_recipient import STANDS, SftpRecipient
from qaqpa.transport.packages import Stage
from registers import TODAY

COUNT = 100
HELD = {"deny": 4, "gap": 1, "malformed": 2, "duplicate": 1}
"""Of a hundred synthetic debtors."""


@asynccontextmanager
async def recipient_of(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str = "demo-collector"
) -> AsyncIterator[SftpRecipient]:
    """A recipient that commands find, and that checks what it gets."""
    made = SftpRecipient(directory=folder, variables=STANDS[name])
    made._open_package = checker(made.pair)
    async with made:
        for key, value in made.environment.items():
            monkeypatch.setenv(key, value)
        yield made


@pytest.fixture
def register(house: House) -> str:
    path = house.home / "debtors.csv"
    path.write_bytes(as_csv(debtors(COUNT, today=TODAY, cession="ДЦ-1/2026")))
    return str(path)


def of_iins(text: str) -> list[str]:
    return [line["identity.iin"] for line in debtors(COUNT, today=TODAY) if line["identity.iin"] in text]


async def test_the_department_tries_sends_and_looks(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recipient_of(monkeypatch, tmp_path / "agency") as agency:
        results = house.home / "results.xlsx"
        tried = await house.cli("handover", "check", register, "--to", "demo-collector", "--out", str(results))
        assert tried.code == 0, tried.err
        assert "100 rows (csv): 92 may go, 8 stay behind" in tried.out and "Nothing was entered" in tried.out
        sheets = CalamineWorkbook.from_path(results)
        heading, *lines = sheets.get_sheet_by_index(0).to_python()
        assert heading == ["Row", "Subject", "Result", "Reasons"] and len(lines) == COUNT
        by_row = {int(line[0]): line for line in lines}
        first = debtors(1, today=TODAY)[0]["identity.iin"]
        assert by_row[2][1].endswith(f"…{first[-4:]}") and by_row[2][2] == "goes"
        assert by_row[13][2] == "denied" and by_row[13][3].startswith("2.3(3): The steps")
        assert by_row[55][3].startswith("ИИН: ")
        assert by_row[81][3] == "This person stands already in row 80"
        assert of_iins(str(lines) + tried.out) == [] and results.stat().st_mode & 0o077 == 0

        sent = await house.cli("handover", "send", register, "--to", "demo-collector")
        assert sent.code == 0, sent.err
        [package] = agency.packages
        assert agency.opened[package.name].rows == 92  # type: ignore[attr-defined]
        for told in (f"package {package.name}: 92 rows", "sha256 ", "8 of 100 rows stay behind", "next: "):
            assert told in sent.out, told
        assert sent.err.startswith("queued") and "sent" in sent.err and of_iins(sent.out + sent.err) == []
        handover = package.name.partition(".")[0]
        shown = await house.cli("handover", "show", handover, "--json")
        assert shown.json["rows"] == {"permit": 92, **HELD} and shown.json["state"] == "sent"
        assert (await house.cli("handover", "list", "--json")).json[0]["handover"] == handover
        listed = await house.cli("handover", "rows", handover, "--json")
        assert len(listed.json) == 8 and listed.json[0]["reasons"][0]["clause"] == "2.3(3)"
        file = house.home / "rows.csv"
        assert (await house.cli("handover", "rows", handover, "--out", str(file))).code == 0
        assert len(file.read_bytes().decode("utf-8-sig").splitlines()) == 9

        await receipts(house, agency, package.name, handover)
        await manifest(house, handover)
        late = await house.cli("handover", "cancel", handover)
        assert late.code == 2 and "recall it instead" in late.err


async def receipts(house: House, agency: SftpRecipient, package: str, handover: str) -> None:
    """One by a stranger changes nothing; the agency's own, handed in by a person, is believed."""

    async def given(fault: ReceiptFault) -> Ran:
        path = agency.acknowledge(package, reject={3: "unknown_debtor"}, fault=fault)
        moved = path.replace(house.home / path.name)
        return await house.cli("handover", "receipt", str(moved), "--from", "demo-collector")

    stranger = await given(ReceiptFault.STRANGER)
    assert stranger.code == 4 and "receipt_signer_unknown" in stranger.err
    done = await given(ReceiptFault.NONE)
    assert done.code == 0 and "acknowledged" in done.out and "1 rows rejected" in done.out, done.err
    shown = await house.cli("handover", "show", handover)
    assert "The recipient's code: unknown_debtor" in shown.out


async def manifest(house: House, handover: str) -> None:
    folder = house.home / "manifest"
    written = await house.cli("handover", "manifest", handover, "--out", str(folder))
    assert written.code == 0, written.err
    key = (await house.cli("handover", "key")).out.strip()
    files = [str(folder / name) for name in ("manifest.json", "manifest.sig")]
    assert (await house.cli("handover", "verify", *files, "--key", key)).code == 0
    recipe = recipe_of(house, key)
    assert await asyncio.to_thread(bash, recipe, folder) == 0
    changed = folder / "manifest.json"
    changed.write_bytes(changed.read_bytes().replace(b'"go": 92', b'"go": 93'))
    refused = await house.cli("handover", "verify", *files, "--key", key)
    assert refused.code == 6 and "verification_failed" in refused.err
    assert await asyncio.to_thread(bash, recipe, folder) != 0
    other = await house.cli("handover", "verify", *files, "--key", "nothing")
    assert other.code == 6 and "verifier key" in other.err


def bash(script: str, folder: Path) -> int:
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True).returncode


def recipe_of(house: House, key: str) -> str:
    """What docs/handovers.md tells recipients to run, with the operator's key in its place."""
    text = (Path(__file__).parents[2] / "docs/handovers.md").read_text()
    (block,) = (part for part in text.split("```sh\n")[1:] if "pkeyutl" in part)
    recipe = block.partition("```")[0]
    assert "KEY='…'" in recipe
    return "set -e\n" + recipe.replace("KEY='…'", f"KEY='{key}'")


async def test_one_row_holds_up_a_strict_one_and_nothing_permitted_is_a_refusal(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recipient_of(monkeypatch, tmp_path / "agency") as agency:
        asked = ("--to", "demo-collector")
        assert (await house.cli("handover", "check", register, *asked, "--strict")).code == 1
        held = await house.cli("handover", "send", register, *asked, "--strict")
        assert held.code == 1 and "held up by 8 rows" in held.out, held.err
        lines = [line | {"contract.days_overdue": 0} for line in debtors(2, today=TODAY)]
        house.write("debtors.csv", as_csv(lines).decode())
        assert (await house.cli("handover", "check", register, *asked)).code == 1
        nothing = await house.cli("handover", "send", register, *asked, "--json")
        assert (nothing.code, nothing.json["state"], nothing.json["code"]) == (1, "cancelled", "nothing_permitted")
        house.write("debtors.csv", "%PDF-1.7")
        broken = await house.cli("handover", "send", register, *asked)
        assert broken.code == 2 and "PDF" in broken.out, broken.out
        assert agency.packages == []


async def test_a_recipient_that_lets_nobody_in_is_told_of_and_what_waits_can_be_cancelled(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.handover.flow._FIRST_REST_S", 0.05)
    async with recipient_of(monkeypatch, tmp_path / "agency") as agency:
        agency.fault = PackageFault.REFUSE_LOGIN
        failed = await house.cli("handover", "send", register, "--to", "demo-collector")
        assert failed.code == 4 and "login_refused" in failed.out and "tries again" in failed.out, failed.err
        [handover] = [each["handover"] for each in (await house.cli("handover", "list", "--json")).json]
        cancelled = await house.cli("handover", "cancel", handover)
        assert cancelled.code == 0 and cancelled.out.startswith("cancelled"), cancelled.out
        assert agency.packages == []
        assert (await house.cli("ledger", "verify")).code == 0


async def test_what_could_not_be_cancelled_is_no_success(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asleep(_flow: HandoverFlow, _handover: HandoverId) -> float:
        return 600.0

    monkeypatch.setattr("qaqpa.handover.flow._FIRST_REST_S", 0.05)
    monkeypatch.setattr("qaqpa.cli.handover._STOPPED_WITHIN_S", 0.2)
    async with recipient_of(monkeypatch, tmp_path / "agency") as agency:
        agency.fault = PackageFault.REFUSE_LOGIN
        await house.cli("handover", "send", register, "--to", "demo-collector")
        [handover] = [each["handover"] for each in (await house.cli("handover", "list", "--json")).json]
        monkeypatch.setattr(HandoverFlow, "_turn", asleep)  # whoever sends it does not answer
        asked = await house.cli("handover", "cancel", handover)
        assert asked.code == 4 and asked.out.startswith("sending") and "to be cancelled" in asked.out, asked.out


async def test_who_cancels_too_late_is_told_so(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.handover.flow._FIRST_REST_S", 0.05)
    async with recipient_of(monkeypatch, tmp_path / "agency") as agency:
        agency.fault = PackageFault.REFUSE_LOGIN
        assert (await house.cli("handover", "send", register, "--to", "demo-collector")).code == 4
        [handover] = [each["handover"] for each in (await house.cli("handover", "list", "--json")).json]
        mark = house.home / "handovers" / handover / f"{handover}.zip.age.mark"
        mark.write_text(f"{Stage.PLACED}\n")  # an earlier try brought it there, and was killed before it could say so
        late = await house.cli("handover", "cancel", handover)
        assert late.code == 2 and late.out.startswith("sent") and "not cancelled" in late.err, late.err


async def test_a_portfolio_goes_without_names_and_then_as_an_assignment(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recipient_of(monkeypatch, tmp_path / "buyer", "demo-cession-buyer") as buyer:
        either = await house.cli("handover", "send", register, "--to", "demo-cession-buyer")
        assert either.code == 2 and "portfolio_preview" in either.err and "assignment" in either.err
        asked = ("handover", "send", register, "--to", "demo-cession-buyer", "--operation")
        preview = await house.cli(*asked, "portfolio_preview")
        assert preview.code == 0 and "(wanted: 5; as the route passes them: 1)" in preview.out, preview.out
        assert (await house.cli(*asked, "assignment")).code == 0
        operations = {made.operation: made for made in buyer.opened.values()}  # type: ignore[attr-defined]
        assert operations["assignment"].rows == 92 and 0 < operations["portfolio_preview"].rows <= 95


NEXT_STEPS = {
    ("check", "/nowhere", "--to", "demo-collector"): (2, "/nowhere cannot be read"),
    ("send", "/nowhere", "--to", "demo-collector"): (2, "/nowhere cannot be read"),
    ("check", "REGISTER", "--to", "pension-center"): (2, "qaqpa policy show --recipient pension-center"),
    ("check", "REGISTER", "--to", "demo-collector", "--format", "doc"): (2, "none of csv, xlsx, jsonl, parquet"),
    ("check", "REGISTER", "--to", "demo-collector", "--out", "x.doc"): (2, "ends in .xlsx or .csv"),
    ("check", "REGISTER", "--to", "demo-collector", "--caller", "compliance"): (2, "no route lets compliance"),
    ("check", "REGISTER", "--to", "demo-collector", "--out", "REGISTER"): (2, "over the register"),
    ("check", "REGISTER", "--to", "demo-collector", "--out", "/nowhere/x.xlsx"): (2, "there is no folder /nowhere"),
    ("send", "REGISTER", "--to", "demo-collector", "--attach", "x=y", "--attach", "x=z"): (2, "given twice"),
    ("send", "REGISTER", "--to", "demo-collector", "--attach", "x"): (2, "written KIND=FILE"),
    ("send", "REGISTER", "--to", "demo-collector", "--attach", "x=REGISTER"): (2, "gets no x"),
    ("send", "REGISTER", "--to", "demo-collector", "--attach", "assignment_of_files=REGISTER"): (
        2,
        "PDF, PNG nor JPEG",
    ),
    ("show", "nothing"): (2, "qaqpa handover list"),
    ("receipt", "REGISTER", "--from", "nobody"): (2, "recipients of packages: demo-collector"),
}


async def test_errors_say_what_to_do_next(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = await house.cli("handover", "list")
    assert (empty.code, "qaqpa handover check FILE" in empty.out) == (0, True)
    unready = await house.cli("handover", "send", register, "--to", "demo-collector")
    assert unready.code == 2 and "[packages] is not configured" in unready.err
    async with recipient_of(monkeypatch, tmp_path / "agency"):
        for command, (code, told) in NEXT_STEPS.items():
            ran = await house.cli("handover", *(each.replace("REGISTER", register) for each in command))
            assert ran.code == code and told in ran.err, (command, ran.err)


async def test_where_one_route_takes_registers_it_need_not_be_named_be_it_of_a_batch(house: House) -> None:
    contracts = house.write("contracts.csv", contracts_csv(PEOPLE[:3]).decode())
    tried = await house.cli("handover", "check", contracts, "--to", "state-credit-bureau")
    assert tried.code == 0 and "3 may go" in tried.out, tried.err


async def test_beyond_what_a_workbook_holds_rows_go_into_a_csv(
    house: House, register: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.cli.handover_check.XLSX_ROWS", 40)
    async with recipient_of(monkeypatch, tmp_path / "agency"):
        over = ("handover", "check", register, "--to", "demo-collector", "--out", register.replace(".csv", ".xlsx"))
        assert (await house.cli(*over)).code == 2, "that CSV would be the register itself"
        asked = ("handover", "check", register, "--to", "demo-collector", "--out", str(house.home / "out.xlsx"))
        ran = await house.cli(*asked)
    assert ran.code == 0 and str(house.home / "out.csv") in ran.out
    lines = (house.home / "out.csv").read_bytes().decode("utf-8-sig").splitlines()
    assert len(lines) == COUNT + 1 and [line.split(";")[0] for line in lines[1:4]] == ["2", "3", "4"]
    assert [each.name for each in house.home.iterdir() if "out." in each.name] == ["out.csv"]
    assert writing.XLSX_ROWS == 100_000


def test_a_csv_of_no_rows_is_a_csv_too(tmp_path: Path) -> None:
    with Results(tmp_path / "rows.csv") as results:
        assert results.finish() == tmp_path / "rows.csv"
    assert (tmp_path / "rows.csv").read_bytes().decode("utf-8-sig").splitlines() == ["Row;Subject;Result;Reasons"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_the_states_that_are_drawn_are_all_there_are() -> None:
    assert set(NEXT) == set(HandoverState)
    assert {state for state, follows in NEXT.items() if not follows} == FINAL
    drawn = run_cli("handover", "states")
    assert drawn.code == 0 and STATES in drawn.out
    assert all(state.value in STATES for state in HandoverState)
