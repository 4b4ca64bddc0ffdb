"""Documents as PDF. The texts of a document go to the template as data, and are never read as markup: whatever stands
in them is printed as it stands.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from qaqpa.errors import NotPossible
from qaqpa.report.document import Document

if TYPE_CHECKING:
    import typst  # 80 ms: most commands set nothing

_TEMPLATE = Path(__file__).parent / "document.typ"
_LARGEST = 16 * 2**20
"""Bytes of what is to be set; a page takes about three thousand."""


def pdf(document: Document) -> bytes:
    """The document as PDF/UA-1 (ISO 14289, for people and for screen readers). Raises NotPossible for one too long."""
    import typst  # noqa: PLC0415

    data = _data(document)
    made = typst.compile(
        _TEMPLATE, root=_TEMPLATE.parent, font_paths=_fonts(), sys_inputs={"document": data},
        timestamp=document.drawn_at.replace(microsecond=0), pdf_standards="ua-1",
    )  # fmt: skip
    assert isinstance(made, bytes)  # noqa: S101 - one PDF, whatever its pages
    return made


def pictures(document: Document, *, ppi: float = 80) -> list[bytes]:
    """Its pages as PNG, for whoever wants to look at them."""
    import typst  # noqa: PLC0415

    made: object = typst.compile(
        _TEMPLATE, root=_TEMPLATE.parent, font_paths=_fonts(), sys_inputs={"document": _data(document)},
        format="png", ppi=ppi,
    )  # fmt: skip
    return [made] if isinstance(made, bytes) else [*made] if isinstance(made, list) else []


@cache
def _fonts() -> typst.Fonts:
    """Those that come with typst: what is printed looks the same on every machine."""
    import typst  # noqa: PLC0415

    return typst.Fonts(include_system_fonts=False)


def _data(document: Document) -> str:
    data = orjson.dumps(document.plain()).decode()
    if len(data) > _LARGEST:
        raise NotPossible(["report: is too long for a PDF: ask for it as JSON"])
    return data
