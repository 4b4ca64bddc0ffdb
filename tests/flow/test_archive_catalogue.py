"""A month that is moved to a file stays in the catalogue; one that was moved before the catalogue came is not in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_archive import history, move, whole

from books import Intruder
from harness import House, both_engines
from qaqpa.errors import VerificationFailed
from qaqpa.gateway import Gateway
from qaqpa.ledger import entries
from qaqpa.ledger.catalogue import PREFIXES, catalogue_more
from qaqpa.ledger.disclosures import Query, search
from qaqpa.ledger.figures import Period, What, counted

ZONE = 5


def intents(gateway: Gateway) -> int:
    with gateway.store.snapshot() as connection:
        return sum(each.n for each in counted(connection, What.INTENT, Period(), ()))


def forget(house: House, store_url: str) -> None:
    """As if the catalogue had never been."""
    Intruder(store_url, house.home).run(
        "DELETE FROM counts",
        "DELETE FROM concluding",
        "UPDATE catalogued SET size = 0, zone = 0",
        *(f"DELETE FROM terms WHERE term >= '{each}:' AND term < '{each};'" for each in PREFIXES),
    )


@both_engines
async def test_figures_stay_and_the_page_says_which_file_it_did_not_look_into(house: House, tmp_path: Path) -> None:
    months = await history(house)
    async with house.gateway() as gateway:
        before = intents(gateway)
        moved = await move(gateway, months[0], tmp_path / "files")
        assert intents(gateway) == before == 6
        with gateway.store.snapshot() as connection:
            page = search(connection, Query(), 50)
        assert (len(page.listed), page.in_files) == (4, (moved.file,))
        assert whole(gateway, tmp_path / "files").unread == 0
        # Another zone cannot count what lies in files, so everything stays as it was counted.
        assert await catalogue_more(gateway.store, -7)
        assert intents(gateway) == before and whole(gateway, tmp_path / "files").unread == 0


@both_engines
@pytest.mark.parametrize("early", [True, False], ids=["before the catalogue came", "after it"])
async def test_a_month_is_left_out_only_if_it_was_moved_before_the_catalogue_came(
    house: House, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    made = entries.control

    def control(*of: Any, **more: Any) -> Any:
        """Of a version that knew of no catalogue."""
        more.pop("catalogued", None)
        return made(*of, **more)

    months = await history(house)
    async with house.gateway() as gateway:
        with monkeypatch.context() as older:
            if early:
                older.setattr(entries, "control", control)
            await move(gateway, months[0], tmp_path / "files")
    forget(house, store_url)
    async with house.gateway() as gateway:
        await catalogue_more(gateway.store, ZONE)
        assert intents(gateway) == 4
        if early:
            assert whole(gateway, tmp_path / "files").unread == 0
            return
        with pytest.raises(VerificationFailed, match=f"month {months[0]} was in the catalogue before it was moved"):
            whole(gateway, tmp_path / "files")
