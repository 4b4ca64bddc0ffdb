"""Which encoding a text register is in, told from every byte of it: UTF-8, or Windows-1251 where that is beyond doubt.

Any bytes decode as Windows-1251, mostly to nonsense. So a file that is not UTF-8 is taken for it only if it holds the
letters of Russian (and І, which Kazakh shares), and if its words are not cased upside down, as KOI8-R reads. KZ-1048,
the Kazakh relative of Windows-1251, differs in exactly the letters that this leaves out: it must be named.
"""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO

from qaqpa.tables.kind import refused

NAMED = {"utf-8": "utf-8-sig", "windows-1251": "cp1251", "kz-1048": "kz1048"}
"""Encodings that may be named, and what Python calls them."""
_CHUNK = 2**20
_LETTERS = "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
_RUSSIAN = bytes(b for b in range(128) if b >= 32 or b in b"\t\r\n") + (
    _LETTERS + _LETTERS.lower() + "ЁёІі№«»„“”‘’–—…•§°±·\xa0\xad"
).encode("cp1251")
_PAIR = re.compile(rb"[\xc0-\xff\xa8\xb8]{2}")
_UPSIDE_DOWN = re.compile(rb"[\xe0-\xff\xb8][\xc0-\xdf\xa8]")


def encoding_of(file: BinaryIO, named: str | None = None) -> str:
    """The codec for the whole of `file`, which is left at its start. RegisterRefused if no encoding is beyond doubt.

    `named` is one of `NAMED`; the file is then only checked to be in it.
    """
    if named is not None:
        if named not in NAMED:
            raise refused(f"its encoding may be named as one of: {', '.join(NAMED)}")
        row = _first_wrong_row(file, NAMED[named])
        if row is not None:
            raise refused(f"is not in {named} as was said", row)
        return NAMED[named]
    row = _first_wrong_row(file, "utf-8-sig")
    if row is None:
        return NAMED["utf-8"]
    if file.read(3) == codecs.BOM_UTF8:
        raise refused("says that it is UTF-8 and is not: it was cut or changed on its way", row)
    file.seek(0)
    _demand_russian(file, row)
    return NAMED["windows-1251"]


def _first_wrong_row(file: BinaryIO, codec: str) -> int | None:
    """The line of the first byte that `codec` cannot read; None when it reads all."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(codec)()
    row = 1
    try:
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
            row += chunk.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return row + error.object.count(b"\n", 0, error.start)
    finally:
        file.seek(0)
    return None


def _demand_russian(file: BinaryIO, row: int) -> None:
    """RegisterRefused unless this is Russian in Windows-1251; `row` is the first that is not UTF-8."""
    pairs = upside_down = 0
    seen = 1
    while chunk := file.read(_CHUNK):
        odd = chunk.translate(None, _RUSSIAN)
        if odd:
            first = seen + chunk.count(b"\n", 0, chunk.index(odd[:1]))
            if first < row:
                raise refused("is not UTF-8, as the rows before it are: the file was cut or changed on its way", row)
            raise refused(
                "is not UTF-8, and holds letters that no Russian text in Windows-1251 has: "
                "save it as CSV in UTF-8, or name its encoding (kz-1048, windows-1251)",
                first,
            )
        seen += chunk.count(b"\n")
        pairs += len(_PAIR.findall(chunk))
        upside_down += len(_UPSIDE_DOWN.findall(chunk))
    file.seek(0)
    # A word of mixed case is a slip or a brand; in one of ten pairs it is KOI8-R taken for Windows-1251.
    if upside_down * 10 > pairs:
        raise refused("is neither UTF-8 nor Windows-1251: save it as CSV in UTF-8", row)
