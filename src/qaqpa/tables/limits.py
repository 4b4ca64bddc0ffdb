"""How much of a register is read at most. The defaults hold a million debtors; whoever needs more says so."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_CELL = 100_000
"""Python's csv module itself reads no cell beyond 131,072 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one register; beyond any of them it is refused as a whole."""

    rows: int = 1_100_000
    columns: int = 200
    cell: int = 4_000
    """Characters of one cell."""
    size: int = 2**30
    """Bytes of the file as it came."""
    unpacked: int = 2**29
    """Bytes of everything inside an XLSX, unpacked."""
    ratio: int = 200
    """How many times larger than packed a part of an XLSX may be, once it is over a mebibyte."""
    members: int = 200
    """Parts inside an XLSX."""
    cells: int = 3_000_000
    """Cells of an XLSX, the empty ones between included: its reader holds the whole sheet in memory, at about 75
    bytes a cell with its text. A longer register comes as CSV, which is streamed.
    """

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.cell, self.size, self.unpacked, self.ratio, self.members, self.cells) < 1:
            raise ValueError("every limit is at least 1")
        if self.cell > LONGEST_CELL:
            raise ValueError(f"a cell holds at most {LONGEST_CELL} characters")

    @property
    def line(self) -> int:
        """Characters of one line of text."""
        return min(self.columns * (self.cell + 3), 4 * 2**20)


DEFAULT = Limits()
