"""The benchmarks: each beside a baseline in the same run. Writes build/bench.json and prints a table.

[{"name", "value", "unit", "goal", "baseline"}]   goal: what must be reached, baseline: what the bare thing took
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
from ledger import ledger_rows
from online import online_added
from reviewing import reviewing_rows
from rich.console import Console
from rich.table import Table

from handover import handover_rows
from service import service_rows

BUILD = Path("build")


def main() -> None:
    """Run every benchmark."""
    rows = [
        *asyncio.run(service_rows()), *asyncio.run(online_added()), *asyncio.run(ledger_rows()), *handover_rows(),
        *reviewing_rows(),
    ]  # fmt: skip
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    table = Table("name", "value", "unit", "goal", "baseline", box=None, header_style="bold")
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("name", "value", "unit", "goal", "baseline")))
    Console().print(table)


if __name__ == "__main__":
    main()
