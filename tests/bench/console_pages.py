"""What the console's pages take, whole: the session, the look that is entered, the queries, the page in words."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from desk import at_desk
from harness import House
from visitor import Visitor, signed_in

Row = dict[str, object]
GOAL_MS = 100
TIMES = 9


def addresses(size: int, subject: str) -> dict[str, str]:
    """Pages that read a ledger of that size. A person's own is none: what its entries seal here nobody can open."""
    today = datetime.now(UTC).date()
    year, middle = today - timedelta(days=364), today - timedelta(days=180)
    return {
        "overview_30_days": "/",
        "overview_365_days": f"/?since={year}",
        "disclosures": "/disclosures",
        "one_day": f"/disclosures?since={middle}&until={middle}&recipient=first-credit-bureau",
        "rare": "/disclosures?recipient=demo-collector&result=rejected",
        "rare_in_a_month": f"/disclosures?since={middle}&until={middle + timedelta(days=30)}&recipient=demo-collector"
        "&ground=service&result=rejected",
        "never_together": "/disclosures?ground=service&purpose=legal_duty&result=rejected&recipient=demo-collector"
        "&field=identity.field_5",
        "of_one_person": f"/disclosures?subject={subject}",
        "entry": f"/entries/{size // 2}",
        "entries": "/ledger/entries",
        "ledger": "/ledger",
        "consents": "/consents",
        "handovers": "/handovers",
        "recalls": "/recalls",
        "register": f"/register?since={year}",
    }


async def page_rows(house: House, engine: str, size: int) -> list[Row]:
    """The median of each page over a house whose store holds a ledger of that size."""
    return [each async for each in _measured(house, engine, size)]


async def _measured(house: House, engine: str, size: int) -> AsyncIterator[Row]:
    async with at_desk(house, {}) as desk, signed_in(desk, "Bench") as visitor:
        with desk.gateway.store.snapshot() as connection:
            subject = connection.execute("SELECT subject FROM entries WHERE idx = ?", (size // 2,)).scalar()
        for name, address in addresses(size, subject).items():
            taken = [await _taken(visitor, address) for _ in range(TIMES)]
            median = statistics.median(taken)
            sys.stderr.write(f"{engine}_{size} {name}: {median:.1f} ms ({min(taken):.1f} to {max(taken):.1f})\n")
            value = round(median, 3)
            yield {
                "name": f"console_{name}_ms_{engine}_{size}", "value": value, "unit": "ms", "goal": GOAL_MS,
                "baseline": None,
            }  # fmt: skip


async def _taken(visitor: Visitor, address: str) -> float:
    await asyncio.sleep(0)  # what runs beside the pages has its turn
    started = time.perf_counter()
    answer = await visitor.get(address)
    taken = (time.perf_counter() - started) * 1000
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answered {answer.status_code}")
    return taken
