"""A finished `Records` document held against its schema and its limits, packed, and taken out of its ZIP again.

The schema is ours (`records.xsd`), written from the public shape. A document is read as a stream, so that its size does
not multiply in memory. What is wrong is told by position and element; no message quotes the document.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from lxml import etree

from qaqpa_adapters.records import NAMESPACE

MAX_DOCUMENT = 64 * 1024 * 1024
"""Bytes of a document before it is packed."""
MAX_FAULTS = 20
"""No more are told of one document."""

_CONTRACT, _RECORDS = f"{{{NAMESPACE}}}Contract", f"{{{NAMESPACE}}}Records"
_NO_ZIP = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, ValueError, OSError, RuntimeError, EOFError)
"""What reading a hostile archive raises."""
_STEP = re.compile(r"[^/\[\]]+(?:\[([0-9]+)\])?")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a document, and where."""

    position: int
    """Of the Contract in the document, the first being 1; 0 for the document as a whole."""
    what: str
    """Words of ours and names of elements."""


def schema() -> etree.XMLSchema:
    """The schema of the document, made anew: what it found last stands in it, so it is nobody else's."""
    return etree.XMLSchema(etree.fromstring(files("qaqpa_adapters").joinpath("records.xsd").read_bytes()))


def faults(document: bytes, *, most: int) -> list[Fault]:
    """What keeps the document from being one of at most `most` contracts; empty when nothing does."""
    if len(document) > MAX_DOCUMENT:
        return [Fault(0, f"is larger than {MAX_DOCUMENT // 2**20} MiB: send fewer rows at once")]
    # Before a parser sees it: a document type has no place in it, and NUL bytes (UTF-16, UTF-32) would hide one.
    if b"<!DOCTYPE" in document or b"\x00" in document:
        return [Fault(0, "holds a document type or NUL bytes")]
    found: list[Fault] = []
    position, ours = 0, schema()
    is_read = is_stray = False
    # The parser's own message quotes the document, so it is not even kept as a context.
    with suppress(etree.LxmlError, ValueError):
        reading = etree.iterparse(
            io.BytesIO(document), events=("end",), tag=_CONTRACT, resolve_entities=False, no_network=True,
            load_dtd=False, huge_tree=False,
        )  # fmt: skip
        last: etree._Element | None = None
        for _, each in reading:
            position += 1
            found += (Fault(position, what) for what in _invalid(each, ours))
            parent = each.getparent()
            if parent is None or parent.getparent() is not None:
                found.append(Fault(position, "stands elsewhere than in Records"))
            if len(found) >= MAX_FAULTS or parent is None:
                return found[:MAX_FAULTS]
            # Only what lies behind may be taken out of a tree that is still being read.
            is_stray |= _taken_out(parent, last)
            last = each
        root = reading.root
        is_read = True
        is_stray |= _taken_out(root, last)
        if root.tag != _RECORDS or len(root) or (root.text or "").strip() or root.attrib or is_stray:
            found.append(Fault(0, "is not Records of Contract and nothing else"))
        # An encoding that hides the letters of DOCTYPE (UTF-7) is caught here.
        if root.getroottree().docinfo.internalDTD is not None:
            found.append(Fault(0, "holds a document type or NUL bytes"))
    if not is_read:
        return [*found, Fault(0, "is not well-formed XML")]
    if not 1 <= position <= most:
        found.append(Fault(0, f"must hold 1 to {most} contracts"))
    return found


def _taken_out(parent: etree._Element, contract: etree._Element | None) -> bool:
    """Take a contract that was looked at out of its parent; whether text stands behind it."""
    if contract is None or contract.getparent() is not parent:
        return False
    text = contract.tail or ""
    parent.remove(contract)
    return bool(text.strip())


def _invalid(contract: etree._Element, ours: etree.XMLSchema) -> list[str]:
    """The elements of a contract that the schema refuses, by their path."""
    if ours.validate(contract):
        return []
    entries: Any = ours.error_log  # a sequence, which its stubs do not say
    # Its messages quote values, so only the places are taken.
    places = dict.fromkeys(_named(contract, entry.path) for entry in entries)
    return [f"{place} is missing, misplaced or not of its form" for place in places]


def _named(contract: etree._Element, path: str | None) -> str:
    """`/*/*[1]/*[2]` as names of elements."""
    node, names = contract, ["Contract"]
    for step in _STEP.finditer((path or "").removeprefix("/*")):
        place = int(step[1] or 1)
        if not place <= len(node):
            break
        node = node[place - 1]
        names.append(str(node.tag).rpartition("}")[2])
    return "/".join(names)


# --- packing ---------------------------------------------------------------------------------------


def packed(document: bytes, *, name: str, at: datetime) -> bytes:
    """A ZIP with the document as its one file; the same document, name and time give the same bytes."""
    entry = zipfile.ZipInfo(name, at.timetuple()[:6])
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o600 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, document, compresslevel=6)
    return buffer.getvalue()


def unpacked(archive: bytes) -> bytes | None:
    """The one file in a ZIP; None for what is no ZIP, holds another number of files, or grows beyond MAX_DOCUMENT."""
    with suppress(*_NO_ZIP), zipfile.ZipFile(io.BytesIO(archive)) as opened:
        (entry,) = opened.infolist()
        if entry.is_dir() or entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            return None
        # The size that it states is believed no more than anything else in it.
        with opened.open(entry) as member:
            found = member.read(MAX_DOCUMENT + 1)
        return found if len(found) <= MAX_DOCUMENT else None
    return None
