"""Where a key stands in a TOML file, for error messages. It never decides what the file means (tomllib does)."""

from __future__ import annotations

import re

Key = tuple[str | int, ...]

_TABLE = re.compile(r"^\s*\[(?!\[)\s*(.+?)\s*\]\s*(#.*)?$")
_ARRAY = re.compile(r"^\s*\[\[\s*(.+?)\s*\]\]\s*(#.*)?$")
_ASSIGNMENT = re.compile(
    r"""^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\.|$)""")


def _split(dotted: str) -> Key:
    return tuple(next(part for part in match.groups() if part is not None) for match in _PART.finditer(dotted))


def _numbered(name: Key, counts: dict[Key, int]) -> Key:
    """A sub-table of an array's item belongs to the latest item, at every level."""
    key: Key = ()
    for part in name:
        key = (*key, part)
        if key in counts:
            key = (*key, counts[key])
    return key


def locate(text: str) -> dict[Key, int]:
    """Line numbers (from 1) by key; items of `[[arrays]]` carry their number, from 0."""
    lines: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _ARRAY.match(line):
            name = _split(match[1])
            name = (*_numbered(name[:-1], counts), name[-1])
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            lines.setdefault(table, number)
        elif match := _TABLE.match(line):
            table = _numbered(_split(match[1]), counts)
            lines.setdefault(table, number)
        elif match := _ASSIGNMENT.match(line):
            lines.setdefault((*table, *_split(match[1])), number)
    return lines


def line_of(lines: dict[Key, int], key: Key) -> int:
    """The line of `key` or of its nearest ancestor that stands in the file; 0 when none does."""
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return lines[key[:length]]
    return 0
