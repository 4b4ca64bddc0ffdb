"""The register of transfers (as GDPR Art. 30(1) asks of a controller; 94-V art. 25 of an operator): each route of the
configuration with what it rests on, what it passes, and how often it was used in a period. Names nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from qaqpa.config.recipients import RecipientFile
from qaqpa.ledger.archive import archives
from qaqpa.ledger.span import Span
from qaqpa.model.decision import Asked
from qaqpa.model.vocabulary import VOCABULARY, FieldPath, Sensitivity
from qaqpa.model.words import Ground, SealKind, Words
from qaqpa.policy import Policy, Route
from qaqpa.policy.law import GUARDS, HOME_COUNTRY
from qaqpa.report.counting import NEVER_USED, Counted, Counts
from qaqpa.report.named import Asker, Clause, Drawn, Names, Operator, Party, Purpose
from qaqpa.report.subject import Moved
from qaqpa.store import Connection


@dataclass(frozen=True, slots=True)
class FieldPassed:
    """A field that a route passes."""

    path: str
    clause: str
    """That allows collecting it."""
    sensitivity: Sensitivity
    dpv: str
    """Its term in the W3C Data Privacy Vocabulary."""
    transform: str | None
    """None where it goes as it is."""
    size: int | None


@dataclass(frozen=True, slots=True)
class Condition:
    """A guard that every transfer must meet."""

    guard: str
    clause: Clause
    expects: Words | None
    """None for law's own, of which the clause tells."""
    instrument: str | None


@dataclass(frozen=True, slots=True)
class AgreementTold:
    """With the recipient (2.3(4))."""

    number: str
    signed_on: date
    expires_on: date | None


@dataclass(frozen=True, slots=True)
class Way:
    """How it leaves."""

    channel: str
    """`https` or `sftp`."""
    seal: SealKind
    in_packages: bool
    keep_for: timedelta | None
    """After which the recipient must have destroyed it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One route, and its use."""

    recipient: Party
    abroad: bool
    agreement: AgreementTold | None
    caller: Asker
    operation: str
    is_deidentified: bool
    purpose: Purpose
    ground: Ground
    ground_clause: Clause | None
    service: str | None
    clauses: tuple[Clause, ...]
    instruments: tuple[str, ...]
    """Law that the route or its guards cite."""
    fields: tuple[FieldPassed, ...]
    returns: tuple[str, ...]
    ways: tuple[Way, ...]
    conditions: tuple[Condition, ...]
    used: Counted


@dataclass(frozen=True, slots=True)
class Gone:
    """What was used in the period and stands in the configuration no more."""

    recipient: Party
    caller: Asker
    operation: str
    purpose: Purpose
    used: Counted


@dataclass(frozen=True, slots=True)
class TransferRegister:
    """The whole."""

    operator: Operator
    drawn: Drawn
    span: Span
    transfers: tuple[Transfer, ...]
    gone: tuple[Gone, ...]
    moved: tuple[Moved, ...]
    """Months of the period whose entries lie in files, and are not counted."""


def read_register(
    connection: Connection, names: Names, drawn: Drawn, span: Span, instruments: Mapping[Asked, str], counts: Counts
) -> TransferRegister:
    """The register of a period; `counts` says how often each route was used, `instruments` what a route itself cites.

    `connection` must be one unchanging view.
    """
    policy = names.policy
    used = dict(counts(connection, policy, span))
    order = sorted(policy.routes, key=lambda each: (each.recipient, each.purpose, each.operation, each.caller))
    transfers = tuple(
        _transfer(names, policy.routes[asked], used.pop(asked, NEVER_USED), instruments.get(asked)) for asked in order
    )
    gone = tuple(
        Gone(
            names.party(asked.recipient), names.asker(asked.caller), asked.operation, names.purpose(asked.purpose), each
        )
        for asked, each in sorted(used.items(), key=lambda one: str(one[0]))
    )
    return TransferRegister(names.operator, drawn, span, transfers, gone, tuple(_moved(connection, policy, span)))


def _moved(connection: Connection, policy: Policy, span: Span) -> Iterator[Moved]:
    for each in archives(connection):
        if span.reaches_into(each.month, policy.operator.time_zone):
            yield Moved(date(each.month // 100, each.month % 100, 1), each.file)


def _transfer(names: Names, route: Route, used: Counted, instrument: str | None) -> Transfer:
    recipient = route.recipient
    ground, ground_clause = names.ground(route.ground)
    assert ground is not None  # noqa: S101 - a route has one
    conditions = tuple(_conditions(names, route))
    laws = dict.fromkeys(each for each in (instrument, *(one.instrument for one in conditions)) if each is not None)
    agreement = recipient.agreement
    return Transfer(
        recipient=names.party(recipient.id),
        abroad=recipient.country != HOME_COUNTRY,
        agreement=None
        if agreement is None
        else AgreementTold(agreement.number, agreement.signed_on, agreement.expires_on),
        caller=names.asker(route.caller),
        operation=route.operation.name,
        is_deidentified=route.operation.deidentified,
        purpose=names.purpose(route.purpose),
        ground=ground,
        ground_clause=ground_clause,
        service=route.service,
        clauses=names.clauses(route.clauses),
        instruments=tuple(laws),
        fields=tuple(_field(route, path) for path in route.paths),
        returns=tuple(sorted(route.returns)),
        ways=tuple(_ways(recipient, route)),
        conditions=conditions,
        used=used,
    )


def _field(route: Route, path: FieldPath) -> FieldPassed:
    known, rule = VOCABULARY[path], route.fields[path]
    return FieldPassed(path, known.clause, known.sensitivity, known.dpv, rule.transform, rule.size)


def _conditions(names: Names, route: Route) -> Iterator[Condition]:
    for name in names.policy.guards_of_law(route):
        yield Condition(name, names.clause(GUARDS[name]), None, None)
    for guard in route.guards:
        config = guard.config
        yield Condition(guard.name, names.clause(config.clause), config.expect, config.instrument)


def _ways(recipient: RecipientFile, route: Route) -> Iterator[Way]:
    operation, packages = route.operation, recipient.packages
    if not operation.package_only:
        yield Way(recipient.channel.kind, recipient.seal.kind, False, recipient.recall.keep_for)
    if operation.package and packages is not None:
        yield Way(packages.channel.kind, packages.seal.kind, True, packages.keep_for)
