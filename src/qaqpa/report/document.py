"""A document for people: a title, what it rests on, sections of facts, tables and paragraphs. Plain texts, in one
language, ready to be shown on a page or set as a PDF; whoever shows them escapes them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from qaqpa.model.words import Language

Tone = Literal["plain", "muted", "strong"]
Value = str | tuple[str, ...]
"""One text, or several lines."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that show nothing, or show something else: control, direction, unassigned."""


def shown(text: str) -> str:
    """`text` as it may be shown, on one line: without characters that are not seen or turn others round. A recipient's
    name or message may hold them.
    """
    return "".join(each for each in " ".join(text.split()) if unicodedata.category(each) not in _UNSEEN)


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = "plain"
    block: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with what they are."""

    rows: tuple[tuple[str, Value], ...]
    block: Literal["facts"] = "facts"


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table."""

    heading: str
    width: int
    """Beside the other columns'."""
    is_code: bool = False
    """An id or a digest, in a fixed width."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings, which are repeated on each page."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    block: Literal["table"] = "table"


Block = Text | Facts | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A part with a heading, and parts of its own."""

    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """The whole."""

    language: Language
    title: str
    subtitle: str
    operator: str
    """Who answers for it; stands at the head of each page."""
    drawn_at: datetime
    head: Facts
    sections: tuple[Section, ...]
    foot: str
    """At the foot of each page."""
    is_wide: bool = False
    """Pages lie on their side."""

    def plain(self) -> dict[str, Any]:
        """As JSON values: what a template walks through."""
        return {**asdict(self), "drawn_at": self.drawn_at.isoformat()}
