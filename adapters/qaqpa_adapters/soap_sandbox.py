"""What the stand-ins of credit bureaus share: calls opened, answers written, and the persons and credits they invent.

It is written apart from `soap`, by which adapters write and read, so that a mistake there is not made twice. Everything
about a person follows from the IIN, so that every stand-in knows the same ones; nobody in it exists.
"""

from __future__ import annotations

import hmac
import random
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from lxml import etree

from qaqpa.model.identifiers import check_iin
from qaqpa.testing.sandbox import Answer, Arrival, Examination, Sandbox

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XML = "text/xml; charset=utf-8"
CUT_OFF = date(2026, 10, 1)
"""The bureaus' knowledge ends here, so that a history is the same on every day."""
LONG_OVERDUE = 90
"""Days from which a bureau notes a negative status."""

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
_LENDERS = ("ТОО «МФО Пример»", "АО «Банк Образец»", "ЖШС «Үлгі несие»")
_KINDS = ("Займ", "Кредитная карта", "Микрокредит")


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


def faulty(text: str, *parts: etree._Element) -> Answer:
    """A SOAP fault, which HTTP sends with 500; `parts` stand behind the text."""
    said = node("faultcode", text="soap:Client"), node("faultstring", text=text)
    return written(500, node(f"{{{SOAP}}}Fault", *said, *parts))


def same(given: str, known: str) -> bool:
    """Whether a secret is the right one."""
    return hmac.compare_digest(given.encode(), known.encode())


# --- a bureau ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Examination):
    """A call as the bureau understood it."""

    path: str
    status: int = 200
    code: str | None = None
    """The bureau's own code for what is wrong, or for a person it does not know."""
    text: str = ""
    detail: str = ""
    """What the service keeps of the call for its answer."""


class BureauService(ABC):
    """One of a bureau's services."""

    path: ClassVar[str]
    namespace: ClassVar[str]
    operation: ClassVar[str]
    unknown: ClassVar[str]
    no_report: ClassVar[str]
    """The codes for a person whom it does not know, and for one without a report."""

    def q(self, name: str) -> str:
        """`name` in the service's namespace."""
        return f"{{{self.namespace}}}{name}"

    @property
    def operations(self) -> tuple[str, ...]:
        """All that can be called here."""
        return (self.operation,)

    def call(self, envelope: etree._Element) -> etree._Element:
        """What stands in the body. Raises RefusedError for anything but one call of this service."""
        body = envelope.find(f"{{{SOAP}}}Body")
        if body is None or len(body) != 1 or body[0].tag not in {self.q(name) for name in self.operations}:
            problem = f"the body does not hold one {self.operation} of this service's namespace"
            raise RefusedError(None, problem, status=500)
        return body[0]

    @abstractmethod
    def iin(self, call: etree._Element) -> str | None:
        """Who the call names, for the log, however wrong the rest of it."""

    @abstractmethod
    def check(self, call: etree._Element, iin: str | None) -> str:
        """Raise RefusedError unless the call is in order; returns what the answer needs of it."""

    @abstractmethod
    def result(self, iin: str, question: Question, *, queries: int, sequence: int) -> etree._Element:
        """What is answered."""


Service = TypeVar("Service", bound=BureauService)


class BureauSandbox(Sandbox[Question], Generic[Service]):
    """A credit bureau: it counts what it is asked and bills what it answers."""

    services: ClassVar[Mapping[str, BureauService]]
    """By path."""
    seed: ClassVar[str]
    """Its own chance: each bureau knows other people."""

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        user: str = "qaqpa-sandbox",
        password: str | None = None,
        unknown_share: float = 0.05,
        no_report_share: float = 0.025,
    ) -> None:
        """As Sandbox; a random password if None. The two shares say for how many of all IINs nothing is known."""
        super().__init__(port=port, directory=directory, log=log, delay=delay)
        self.user = user
        self.password = secrets.token_urlsafe(24) if password is None else password
        self.billed = 0
        """Answers given that the bureau would put on the invoice; never a refusal."""
        self.queries: Counter[str] = Counter()
        """Accepted calls by IIN."""
        self._unknown_below = unknown_share
        self._no_report_below = unknown_share + no_report_share

    def admit(self, arrival: Arrival) -> etree._Element:
        """The envelope of a call, once HTTP has nothing against it. Raises RefusedError."""
        return opened(arrival)

    @abstractmethod
    def check_header(self, service: Service, envelope: etree._Element) -> None:
        """Raise RefusedError unless the SOAP header names a user of the bureau's."""

    def service(self, path: str) -> Service:
        """The service at `path`."""
        found: Service = self.services[path]  # type: ignore[assignment]  # a subclass names its own
        return found

    def examine(self, arrival: Arrival) -> Question:
        """Check the call as the bureau does: admission, form, user, parameters, person, consent."""
        service = self.service(arrival.path)
        operation: str | None = None
        iin: str | None = None
        try:
            envelope = self.admit(arrival)
            call = service.call(envelope)
            operation, iin = etree.QName(call).localname, service.iin(call)
            self.check_header(service, envelope)
            detail = service.check(call, iin)
        except RefusedError as no:
            return Question(
                operation=operation,
                iin=iin,
                problem=no.problem if no.code is None else f"{no.code}: {no.problem}",
                path=arrival.path,
                status=no.status,
                code=no.code,
                text=no.problem,
            )
        # A batch is about nobody alone, and each of its contracts is looked at later.
        code, text = (None, "") if iin is None else self._whereabouts(service, iin)
        return Question(operation=operation, iin=iin, path=arrival.path, code=code, text=text, detail=detail)

    def act(self, examination: Question) -> None:
        """Count the query about a person, and bill it if there is something to give."""
        if examination.iin is None:
            return
        self.queries[examination.iin] += 1
        self.billed += examination.code is None

    def knows(self, iin: str) -> bool:
        """Whether the person is known and has a report."""
        return self.chance(iin) >= self._no_report_below

    def chance(self, iin: str) -> float:
        """A number from 0 to 1 that is always the same for one IIN: decides whom the bureau does not know."""
        return seeded(self.seed, "known", iin).random()

    def _whereabouts(self, service: Service, iin: str) -> tuple[str | None, str]:
        place = self.chance(iin)
        if place < self._unknown_below:
            return service.unknown, "Субъект не найден"
        if place < self._no_report_below:
            return service.no_report, "Отчёт отсутствует"
        return None, ""


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


# --- credits -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """A credit that nobody took."""

    code: str
    number: str
    kind: str
    purpose: str
    lender: str
    started: date
    ends: date
    repaid: date | None
    amount: Decimal
    outstanding: Decimal
    overdue: Decimal
    days_overdue: int
    worst: int

    @property
    def status(self) -> str:
        """In words."""
        return "Завершён" if self.repaid else ("Просрочка" if self.days_overdue else "Действующий")


def credits_of(service: str, iin: str, *, prefix: str, purposes: tuple[str, ...]) -> Iterator[Credit]:
    """What a bureau knows of somebody's credits."""
    made = seeded(service, "contracts", iin)
    for index in range(made.randint(0, 4)):
        started = CUT_OFF - timedelta(days=made.randint(40, 900))
        ends = started + timedelta(days=30 * made.choice((1, 6, 12, 24)))
        amount = Decimal(made.randrange(30_000, 2_000_000, 5_000))
        is_repaid = made.random() < 0.5
        days = 0 if is_repaid or made.random() < 0.7 else made.randint(1, 120)
        outstanding = Decimal(0) if is_repaid else amount * made.randint(5, 95) / 100
        yield Credit(
            code=f"{made.randrange(10**9, 10**10)}",
            number=f"{prefix}-{made.randrange(10**5, 10**6)}/{index + 1}",
            kind=made.choice(_KINDS),
            purpose=made.choice(purposes),
            lender=made.choice(_LENDERS),
            started=started,
            ends=ends,
            repaid=min(ends, CUT_OFF) if is_repaid else None,
            amount=amount,
            outstanding=outstanding,
            overdue=outstanding * made.randint(5, 50) / 100 if days else Decimal(0),
            days_overdue=days,
            worst=max(days, made.choice((0, 0, 3, 17))),
        )


def two_places(value: Decimal) -> str:
    """A sum as the bureaus write it."""
    return f"{value:.2f}"
