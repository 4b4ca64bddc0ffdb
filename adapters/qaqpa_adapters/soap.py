"""SOAP 1.1 as adapters speak it: envelopes written, answers opened safely, their leaves read as values.

XML is built and read by lxml only, never from strings. Reading is hardened: a document type, an entity, a size or depth
beyond reason, any shape that is not expected is AnswerUnreadable. It never opens a connection, and no message of an
error here holds anything that stood in an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeVar

from lxml import etree

from qaqpa.errors import (
    AnswerUnreadable,
    CredentialsRefused,
    InvalidRequest,
    Rejected,
    RequestRefused,
    RightsRefused,
    WrongExchange,
)
from qaqpa.model.disclosure import Exchange, Extract, Reply

Read = TypeVar("Read")
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
CONTENT_TYPE = "text/xml; charset=utf-8"

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes. The longest extended reports are a few hundred kilobytes; libxml2 itself stops at a depth of 256."""

_FOREIGN = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError, etree.LxmlError)
"""What reading hostile bytes can raise besides errors of ours; pydantic's ValidationError is a ValueError."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ABSENT = frozenset({"", "-", "–", "—", "_"})
_CURRENCY = re.compile(r"\s?([A-Z]{3})$")
_AMOUNT = re.compile(r"-?(?:[0-9]{1,3}(?: [0-9]{3}){1,5}|[0-9]{1,18})(?:\.[0-9]{1,20}|,[0-9]{1,2})?(?:E[0-9]{1,2})?")
_RATIO = re.compile(r"-?[0-9]{1,9}(?:[.,][0-9]{1,20})?(?:E-?[0-9]{1,2})?")
_DAY_FIRST = re.compile(r"^([0-9]{2})\.([0-9]{2})\.([0-9]{4})")
_SHORT_HOUR = re.compile(r"(?<=^.{10} )(?=[0-9]:)")
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_DECLARATION = re.compile(r"^<\?xml\s[^>]{0,200}\?>")
_NOW, _LATEST = timedelta(hours=5), timedelta(hours=7)
"""Kazakhstan's offset since 2024, and the greatest that it had (in summers until 2004)."""
_MIDNIGHTS = frozenset({time(17), time(18), time(19)})
"""Midnight in Kazakhstan as UTC, under each of its offsets."""
_FAULT_CODE = re.compile(r"[A-Za-z.]{1,40}")


# --- writing ---------------------------------------------------------------------------------------


def envelope(prefixes: Mapping[str, str]) -> tuple[etree._Element, etree._Element, etree._Element]:
    """An envelope, its empty header and its empty body; `prefixes` are declared beside `soap`."""
    root = etree.Element(f"{{{ENVELOPE}}}Envelope", nsmap={"soap": ENVELOPE, **prefixes})
    header = etree.SubElement(root, f"{{{ENVELOPE}}}Header")
    return root, header, etree.SubElement(root, f"{{{ENVELOPE}}}Body")


def leaf(parent: etree._Element, tag: str, text: str) -> None:
    """An element with a text, at the end of `parent`."""
    etree.SubElement(parent, tag).text = text


def to_bytes(root: etree._Element) -> bytes:
    """The document as UTF-8 with its declaration."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


# --- nodes -----------------------------------------------------------------------------------------


def local_name(node: etree._Element) -> str:
    """The name without its namespace: answers are not of one mind about namespaces inside a result."""
    return str(node.tag).rpartition("}")[2]


def children(node: etree._Element | None, name: str) -> Iterator[etree._Element]:
    """Children of this name, in order; none of an absent node, and none that says of itself that it is nil."""
    if node is not None:
        yield from (child for child in node if local_name(child) == name and child.get(_NIL) not in {"true", "1"})


def own_value(node: etree._Element | None) -> str | None:
    """What a leaf says: `@value` of an empty element, or its text; None when empty or a dash."""
    if node is None:
        return None
    raw = node.get("value")
    if raw is None and len(node) == 0:
        raw = node.text
    found = " ".join((raw or "").split())
    return None if found in _ABSENT else found


def currency(text: str | None) -> str | None:
    """The currency behind a sum, where one stands."""
    found = _CURRENCY.search(text or "")
    return found[1] if found else None


# --- one third party -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdParty:
    """Reads the answers of one third party, and says in errors whom they are about and what to do next."""

    name: str
    unsettled: str
    """What to do about an answer that cannot be read; the end of a sentence."""
    login: str = "user name and password"
    """What to renew when the login is refused."""

    # --- a whole exchange ---

    def needed(self, extract: Extract, path: str) -> str:
        """A text of the extract. Raises InvalidRequest when it is absent or XML cannot carry it."""
        found = self.text(extract, path)
        if found is None:
            raise InvalidRequest([f"{path}: {self.name} cannot be asked without it"])
        return found

    def text(self, extract: Extract, path: str) -> str | None:
        """As `needed`, but None when absent."""
        found = extract.get(path)
        if found is None:
            return None
        if not isinstance(found, str) or not found or _NOT_XML.search(found):
            raise InvalidRequest([f"{path}: give it as text, without characters that XML cannot carry"])
        return found

    def decoded(self, reply: Reply, read: Callable[[Reply], Read]) -> Read:
        """What `read` makes of the reply. Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        if 300 <= reply.status < 500:
            raise self._refused(reply.status)
        found: Read | None = None
        # Suppressed rather than chained: foreign errors quote the answer, and a context would end in somebody's log.
        with suppress(*_FOREIGN):
            found = read(reply)
        if found is None:
            raise self.unreadable("not of the format agreed")
        if reply.status >= 300:
            raise self.unreadable("a server error without a SOAP fault")
        return found

    def unreadable(self, what: str) -> AnswerUnreadable:
        """The error for an answer that is not of their format; `what` is a word of ours, never of the answer."""
        return AnswerUnreadable(f"{self.name}'s answer cannot be read ({what}): {self.unsettled}")

    def answers(self, said: str | None, exchange: Exchange) -> None:
        """Returns when `said`, which the answer repeats of its request, is the number of ours. Raises WrongExchange."""
        if said is None or said.lower() != exchange.id:
            raise WrongExchange(
                f"{self.name}'s answer is to another request than the one sent, and nothing of it is believed: "
                f"{self.unsettled}"
            )

    def _refused(self, status: int) -> Rejected:
        code = f"http-{status}"
        if status == 401:
            return CredentialsRefused(f"{self.name} refuses the login: renew the {self.login}", their_code=code)
        if status == 403:
            return RightsRefused(
                f"{self.name} refuses access: have it admit our address and certificate", their_code=code
            )
        return RequestRefused(
            f"{self.name}'s server refuses the message: check the address in the recipient's channel", their_code=code
        )

    # --- opening an answer ---

    def open_answer(
        self,
        answer: bytes,
        *,
        namespace: str,
        element: str,
        fault: Callable[[etree._Element], Rejected] | None = None,
    ) -> etree._Element:
        """The answer's `element` in `namespace`. A SOAP fault becomes the error that `fault` makes of it.

        Without `fault` that is RequestRefused. Raises AnswerUnreadable for anything else.
        """
        root = self.parse(answer)
        if root.tag != f"{{{ENVELOPE}}}Envelope":
            raise self.unreadable("no SOAP envelope")
        bodies = root.findall(f"{{{ENVELOPE}}}Body")
        if len(bodies) != 1:
            raise self.unreadable("not one SOAP body")
        (body,) = bodies
        if len(body) != 1:
            raise self.unreadable("not one element in the SOAP body")
        if body[0].tag == f"{{{ENVELOPE}}}Fault":
            raise (fault or self.fault)(body[0])
        if body[0].tag != f"{{{namespace}}}{element}":
            raise self.unreadable(f"no {element} in the SOAP body")
        return body[0]

    def parse_text(self, text: str) -> etree._Element:
        """As `parse`, for a document that stands as text in another, whatever encoding it was written for."""
        return self.parse(_DECLARATION.sub("", text.strip().removeprefix("\ufeff")).encode())

    def parse(self, document: bytes) -> etree._Element:
        """The root of an XML document. Raises AnswerUnreadable."""
        if len(document) > MAX_ANSWER:
            raise self.unreadable("too large")
        # Before the parser sees it: SOAP 1.1 §3 forbids a document type, and UTF-16 or UTF-32 (NUL bytes) would hide
        # one.
        if b"<!DOCTYPE" in document or b"\x00" in document:
            raise self.unreadable("a document type or NUL bytes")
        parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        root: etree._Element | None = None
        # The parser's own message quotes the document, so it is not even kept as a context.
        with suppress(etree.LxmlError, ValueError):
            root = etree.fromstring(document, parser)
        if root is None:
            raise self.unreadable("not well-formed XML")
        # An encoding that hides the letters of DOCTYPE (UTF-7, EBCDIC) is caught here.
        if root.getroottree().docinfo.internalDTD is not None:
            raise self.unreadable("a document type or NUL bytes")
        return root

    def fault(self, fault: etree._Element) -> RequestRefused:
        """A SOAP fault, with the local name of its code and never its text.

        Raises AnswerUnreadable for one that refuses nothing: their service broke down, and what became of the message
        is not known.
        """
        code = self.fault_code(fault)
        # SOAP 1.1 §4.4: `Server` is no fault of the message, and without a detail its body was not even looked at.
        detail = self.child(fault, "detail")
        if (code or "").partition(".")[0] == "Server" and (detail is None or len(detail) == 0):
            raise self.unreadable("a fault of their server without a detail")
        return RequestRefused(
            f"{self.name} refused the message with a SOAP fault: compare the recipient's settings "
            "with their description of the service",
            their_code=code,
        )

    def fault_code(self, fault: etree._Element) -> str | None:
        """The local name of a fault's code; None for one that is not a plain word and might tell of a person."""
        code = (self.value(fault, "faultcode") or "").rpartition(":")[2]
        return code if _FAULT_CODE.fullmatch(code) else None

    # --- reading nodes and leaves ---

    def child(self, node: etree._Element | None, *names: str) -> etree._Element | None:
        """The node under `names`, one below the other; None when absent, AnswerUnreadable when it stands twice."""
        for name in names:
            found = list(children(node, name))
            if len(found) > 1:
                raise self.unreadable(f"more than one {name}")
            node = found[0] if found else None
        return node

    def need(self, node: etree._Element | None, *names: str) -> etree._Element:
        """As `child`, but AnswerUnreadable when absent."""
        found = self.child(node, *names)
        if found is None:
            raise self.unreadable(f"no {names[-1]}")
        return found

    def value(self, node: etree._Element | None, *names: str) -> str | None:
        """What the leaf under `names` says."""
        return own_value(self.child(node, *names))

    def needed_value(self, node: etree._Element | None, *names: str) -> str:
        """As `value`, but AnswerUnreadable when absent or empty."""
        found = self.value(node, *names)
        if found is None:
            raise self.unreadable(f"no {names[-1]}")
        return found

    def money(self, text: str | None) -> Decimal | None:
        """A sum: spaces between thousands, dot or comma, perhaps a currency behind; rounded to two places.

        A comma before three digits may be either thousands or decimals, so it is refused rather than guessed.
        """
        if text is None or text in _ABSENT:
            return None
        plain = _CURRENCY.sub("", " ".join(text.split()))
        if not _AMOUNT.fullmatch(plain):
            raise self.unreadable("a sum that is not a number")
        return Decimal(plain.replace(" ", "").replace(",", ".")).quantize(Decimal("0.01"), ROUND_HALF_UP)

    def ratio(self, text: str) -> Decimal:
        """A number with decimals behind a dot or a comma."""
        if not _RATIO.fullmatch(text):
            raise self.unreadable("a ratio that is not a number")
        return Decimal(text.replace(",", "."))

    def integer(self, text: str | None) -> int | None:
        """A whole number; some are written as `73.0`."""
        number = self.money(text)
        if number is None:
            return None
        if number != number.to_integral_value():
            raise self.unreadable("a fraction where a whole number belongs")
        return int(number)

    def moment(self, text: str | None) -> datetime | None:
        """A time in dd.mm.yyyy or ISO form. Where they give no zone none is made up."""
        if text is None or text in _ABSENT:
            return None
        iso = _SHORT_HOUR.sub("0", _DAY_FIRST.sub(r"\3-\2-\1", text))
        found = _ISO.fullmatch(iso)
        if not found:
            raise self.unreadable("a date of neither form")
        if iso.startswith("0001-01-01"):  # .NET's empty date
            return None
        with suppress(ValueError):
            return datetime.fromisoformat(iso if found[2] else found[1])
        raise self.unreadable("a date that does not exist")

    def day(self, text: str | None) -> date | None:
        """A date in dd.mm.yyyy or ISO form; a time behind it is dropped.

        In UTC a day of Kazakhstan begins the evening before, and that is how some libraries write a mere date.
        """
        found = self.moment(text)
        if found is not None and found.tzinfo is UTC:
            found += _LATEST if found.time() in _MIDNIGHTS else _NOW
        return None if found is None else found.date()
