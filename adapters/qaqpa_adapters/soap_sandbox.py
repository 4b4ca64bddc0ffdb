"""What the stand-ins of SOAP services share: calls opened, answers written, and the persons they invent.

It is written apart from `soap`, by which adapters write and read, so that a mistake there is not made twice. Everything
about a person follows from the IIN, so that every stand-in knows the same ones; nobody in it exists.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from lxml import etree

from qaqpa.model.identifiers import check_iin
from qaqpa.testing.sandbox import Answer, Arrival

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XML = "text/xml; charset=utf-8"

_CENTURIES = {"1": 1800, "2": 1800, "3": 1900, "4": 1900, "5": 2000, "6": 2000}
_SURNAMES = ("Ахметов", "Жұмабаев", "Нұрпейісов", "Оспанов", "Әбдіров", "Қалиев", "Ковалёв", "Кузнецов")
_NAMES = {
    "male": ("Ерлан", "Нұрлан", "Дәурен", "Асхат", "Сергей", "Виктор"),
    "female": ("Айгүл", "Әсел", "Жанар", "Динара", "Ольга", "Марина"),
}
_FATHERS_NAMES = {
    "male": ("Серікұлы", "Болатұлы", "Маратович", "Петрович"),
    "female": ("Серікқызы", "Болатқызы", "Маратовна", "Петровна"),
}


# --- calls and answers -----------------------------------------------------------------------------


class RefusedError(Exception):
    """The service says no. With `status` 200 `code` is its own, else HTTP or SOAP refuses."""

    def __init__(self, code: str | None, problem: str, *, status: int = 200) -> None:
        self.code, self.problem, self.status = code, problem, status
        super().__init__(problem)


def opened(arrival: Arrival) -> etree._Element:
    """The envelope of a call. Raises RefusedError for what is not SOAP 1.1."""
    if arrival.media_type != "text/xml":
        raise RefusedError(None, "SOAP 1.1 is text/xml", status=415)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        found = etree.fromstring(arrival.body, parser)
    except etree.XMLSyntaxError:
        raise RefusedError(None, "not well-formed XML", status=400) from None
    if found.getroottree().docinfo.internalDTD is not None:
        raise RefusedError(None, "DOCTYPE refused", status=400)
    if found.tag != f"{{{SOAP}}}Envelope":
        raise RefusedError(None, "not a SOAP 1.1 envelope", status=500)
    return found


def need_iin(iin: str | None, code: str) -> None:
    """Raise RefusedError with `code` unless it is an IIN."""
    try:
        check_iin(iin or "")
    except ValueError:
        raise RefusedError(code, "not an IIN") from None


def written(status: int, content: etree._Element) -> Answer:
    """An answer with `content` in its SOAP body."""
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"S": SOAP})
    etree.SubElement(envelope, f"{{{SOAP}}}Body").append(content)
    return Answer(status, etree.tostring(envelope, xml_declaration=True, encoding="UTF-8"), XML)


def node(name: str, *children: etree._Element, text: str | None = None, **attributes: str) -> etree._Element:
    """An element; `name` may carry a namespace as `{uri}local`."""
    made = etree.Element(name, dict(attributes))
    made.text = text
    made.extend(children)
    return made


# --- persons ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who does not exist."""

    iin: str
    surname: str
    name: str
    fathers_name: str
    born: date
    sex: str

    @classmethod
    def of(cls, iin: str) -> Person:
        """The person whom the stand-ins know under `iin`; birth date and sex are those in the number."""
        made = seeded("fcb", "person", iin)
        sex = "male" if int(iin[6]) % 2 else "female"
        surname = made.choice(_SURNAMES) + ("" if sex == "male" else "а")
        return cls(iin, surname, made.choice(_NAMES[sex]), made.choice(_FATHERS_NAMES[sex]), _born(iin), sex)


def seeded(service: str, part: str, iin: str) -> random.Random:
    """Chance that is always the same for one person."""
    return random.Random(f"{service}:{part}:{iin}")  # noqa: S311 - the same for one IIN, that is the point


def _born(iin: str) -> date:
    try:
        return date(_CENTURIES[iin[6]] + int(iin[:2]), int(iin[2:4]), int(iin[4:6]))
    except (KeyError, ValueError):  # a few old numbers hold a date that never was
        return date(1980, 1, 1)
