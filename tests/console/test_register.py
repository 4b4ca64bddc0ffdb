"""The register of transfers in the console: as a page, as PDF and as XLSX, of a period."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from python_calamine import CalamineWorkbook

from desk import Desk
from harness import House, grown
from qaqpa.config.models import ConsoleRole
from visitor import signed_in


async def test_it_is_shown_and_comes_as_files(desk: Desk, house: House) -> None:
    await grown(house, desk.gateway, 2)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get("/register")).text
        assert "Register of transfers of personal data" in page and "identity.iin" in page
        book = await anna.get("/register/transfers.xlsx")
        sheets = CalamineWorkbook.from_filelike(io.BytesIO(book.content)).sheet_names
        assert len(sheets) == 3 and "transfers.xlsx" in book.headers["content-disposition"]
        printed = await anna.get("/register/transfers.pdf")
        assert printed.content.startswith(b"%PDF-") and "transfers.pdf" in printed.headers["content-disposition"]
        looks = [each for each in house.entries(desk.gateway, "review") if each["act"] == "transfers"]
        assert [each["person"] for each in looks] == ["Anna"] * 3


async def test_files_are_of_the_period_that_is_shown(desk: Desk, house: House) -> None:
    await grown(house, desk.gateway)
    tomorrow = desk.gateway.policy.day(house.clock()) + timedelta(days=1)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get(f"/register?since={tomorrow}&until={tomorrow}")).text
        assert f"/register/transfers.xlsx?since={tomorrow}&amp;until={tomorrow}" in page
        whole = (await anna.get("/register?since=&until=")).text
        assert "/register/transfers.pdf?since=" in whole and "from the beginning until now" in whole
        (await anna.get("/register/transfers.pdf?since=")).raise_for_status()
        last = [each for each in house.entries(desk.gateway, "review") if each["act"] == "transfers"][-1]
        assert last["selection"] == {}, "the file is of the same period"


@pytest.mark.parametrize("query", ["since=x", "since=2026-02-30", "since=2026-02-02&until=2026-02-01"])
async def test_a_period_that_is_none_is_refused(desk: Desk, query: str) -> None:
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        for path in ("/register", "/register/transfers.pdf", "/register/transfers.xlsx"):
            assert (await anna.get(f"{path}?{query}")).status_code == 400


async def test_it_is_written_in_the_readers_language(desk: Desk) -> None:
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        await anna.post("/language", language="ru", back="/console/register")
        assert "Реестр" in (await anna.get("/register")).text
