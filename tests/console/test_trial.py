"""A register tried dry in the console: what would go is told, nothing is sent or kept, and the look is entered."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from python_calamine import CalamineWorkbook

from desk import Desk, at_desk
from harness import House
from qaqpa.config.models import ConsoleRole
from registers import agency, as_csv, rows
from visitor import Visitor, signed_in

ROUTE = "collections/demo-collector/handover/debt_collection"


@pytest.fixture
async def ready(house: House, tmp_path: Path) -> AsyncIterator[Desk]:
    async with agency(house, tmp_path / "agency"), at_desk(house, {}) as desk:
        yield desk


async def tried(visitor: Visitor, register: bytes, *, route: str = ROUTE, **more: str) -> httpx.Response:
    await visitor.get("/handovers/trial")
    form = {"token": visitor.token, "route": route, "as": "page"} | more
    return await visitor.client.post(
        "/console/handovers/trial", data=form, files={"register": ("debtors.csv", register, "text/csv")}
    )


async def test_what_would_go_is_told_and_nothing_is_kept(ready: Desk, house: House) -> None:
    lines = rows(7)
    lines[2]["facts.contract.settlement_steps_done"] = False
    lines[4]["contract.total_due"] = "not a number"
    register = as_csv(lines)
    async with signed_in(ready, "Boris", ConsoleRole.INVESTIGATOR) as boris:
        assert ROUTE in (await boris.get("/handovers/trial")).text
        before = len(house.entries(ready.gateway))
        page = await tried(boris, register)
        assert page.status_code == 200, page.text
        assert '<span class="figure">5</span>goes' in page.text and '<span class="figure">1</span>denied' in page.text
        assert not any(str(line["identity.iin"]) in page.text for line in lines)
        book = await tried(boris, register, **{"as": "xlsx"})
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(book.content)).get_sheet_by_index(0).to_python()
        assert len(sheet) == 1 + len(lines)
        entered = house.entries(ready.gateway)[before:]
        assert [(each["kind"], each["act"], each["person"]) for each in entered] == [("review", "dry_run", "Boris")] * 2
        assert entered[0]["selection"] == {
            "caller": "collections", "recipient": "demo-collector", "operation": "handover",
            "purpose": "debt_collection",
        }  # fmt: skip
        for table in ("handovers", "handover_findings", "handover_chunks"):
            with ready.gateway.store.snapshot() as connection:
                assert connection.execute(f"SELECT count(*) FROM {table}").scalar() == 0, table


async def test_what_is_no_register_or_no_route_is_refused(ready: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async with signed_in(ready, "Boris", ConsoleRole.INVESTIGATOR) as boris:
        assert (await tried(boris, b"")).status_code == 400
        assert (await tried(boris, b"nonsense", route="a/b/c/d")).status_code == 400
        assert (await tried(boris, b"x", token="wrong")).status_code == 403
        assert (await boris.post("/handovers/trial", route=ROUTE)).status_code == 400
        assert (await tried(boris, b"\x00\xff" * 9)).status_code == 400
        monkeypatch.setattr("qaqpa.console.trying.LARGEST", 100)
        assert (await tried(boris, b"x" * 200)).status_code == 413
    async with signed_in(ready, "Anna", ConsoleRole.REVIEWER) as anna:
        assert (await anna.get("/handovers/trial")).status_code == 403
        assert "/handovers/trial" not in (await anna.get("/handovers")).text
