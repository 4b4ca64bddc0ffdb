"""From configuration to policy: routes that can be decided, and every reason why the configuration cannot be one.

What cannot be checked by shape is checked here, at load: vocabulary, clauses, purposes, agreements, operations, CEL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from qaqpa.adapter import Adapter, Operation
from qaqpa.config.load import CALLERS, CLAUSES, GUARDS, POLICY, RECIPIENTS, Source
from qaqpa.config.models import CallerConfig, ClauseConfig, Config, OperatorConfig, PolicyVersion, Role
from qaqpa.config.recipients import FieldRule, RecipientFile, RouteConfig
from qaqpa.minimise import TRANSFORMS
from qaqpa.model.consent import ConsentRequest
from qaqpa.model.decision import Asked
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.vocabulary import VOCABULARY, FieldPath, Sensitivity
from qaqpa.model.words import GROUND_CLAUSE, Ground
from qaqpa.policy import law
from qaqpa.policy.facts import STATED_OF_RECIPIENT, TOKEN
from qaqpa.policy.guards import Guard, compile_guard

ADVERTISING = "1.1(17)"
OTHER_PURPOSES = "1.1(24)"
_NAMING = frozenset({Sensitivity.IDENTIFIER, Sensitivity.CONTACT})
KINDS = frozenset({"credit_bureau", "pension_center", "collector", "cession_buyer"})
"""Kinds of recipient that consents may name before one is configured."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one caller may do at one recipient for one purpose, on which ground, with which fields."""

    caller: str
    recipient: RecipientFile
    operation: Operation
    purpose: str
    ground: Ground
    service: str | None
    clauses: tuple[str, ...]
    fields: Mapping[FieldPath, FieldRule]
    guards: tuple[Guard, ...]
    returns: frozenset[FieldPath]
    reuse_for: timedelta | None
    """For so long a report serves the same caller and purpose again."""
    kdp: bool = False
    """The consent's КДП token travels in the call."""
    k: int | None = None
    """Rows go de-identified: so many at least share each combination of the values of `quasi`."""
    quasi: tuple[FieldPath, ...] = ()

    @property
    def asks_of_contract(self) -> bool:
        """Whether a decision rests on facts of a contract, so that a system of record is to be asked."""
        return self.ground is Ground.LEGAL_PROTECTION or any(guard.speaks_of("contract.") for guard in self.guards)

    @property
    def paths(self) -> tuple[FieldPath, ...]:
        """What it passes, in the order of the configuration."""
        return tuple(self.fields)

    def asks_for_token(self, day: date | None = None) -> bool:
        """Whether a guard of the configuration sees to it that there is a token: on `day`, or on any."""
        return any(guard.speaks_of(TOKEN) and (day is None or guard.in_force(day)) for guard in self.guards)

    @property
    def by_law(self) -> tuple[str, ...]:
        """Names of law's own guards that it meets, in their order."""
        token = ("token_on_record",) if self.kdp and not self.asks_for_token() else ()
        return (*law.names_for(self.ground), *token)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that a decision is made from, beside the facts."""

    operator: OperatorConfig
    versions: tuple[PolicyVersion, ...]
    clauses: Mapping[str, ClauseConfig]
    callers: Mapping[str, CallerConfig]
    recipients: Mapping[str, RecipientFile]
    purposes: Mapping[str, str]
    """Clause by purpose."""
    routes: Mapping[Asked, Route]
    facts_of_record: bool = False
    """There is a system of record, in which facts of contracts are looked up."""

    def checks_facts(self, route: Route) -> bool:
        """Whether facts must have been held against the system of record for a decision on `route`."""
        return self.facts_of_record and route.asks_of_contract

    def guards_of_law(self, route: Route) -> tuple[str, ...]:
        """Names of law's own guards that `route` meets, in their order."""
        return route.by_law + (("facts_agree",) if self.checks_facts(route) else ())

    def find(self, asked: Asked) -> Route | None:
        """The route for exactly what is asked; None means denied (3.4(2))."""
        return self.routes.get(asked)

    def day(self, moment: datetime) -> date:
        """The legal day at `moment`, in the operator's time zone."""
        return moment.astimezone(self.operator.time_zone).date()

    def version_on(self, day: date) -> str | None:
        """Id of the version in force on `day` (9.2)."""
        return next((version.id for version in reversed(self.versions) if version.effective <= day), None)

    def known(self, asked: Asked) -> Asked:
        """`asked` with names that the configuration does not know replaced: a made-up name may be personal."""
        operations = {route.operation.name for route in self.routes.values()}
        return Asked(
            caller=CallerId(asked.caller if asked.caller in self.callers else "unknown"),
            recipient=RecipientId(asked.recipient if asked.recipient in self.recipients else "unknown"),
            operation=asked.operation if asked.operation in operations else "unknown",
            purpose=asked.purpose if asked.purpose in self.purposes else "unknown",
        )


def check_terms(policy: Policy, consent: ConsentRequest) -> list[str]:
    """What `consent` names that the policy does not know. Its terms stand in the open, so they are names only."""
    kinds = {recipient.kind for recipient in policy.recipients.values()} | KINDS
    checks = (
        ("purposes", consent.purposes, set(policy.purposes), "no purpose of the policy"),
        ("third_parties", consent.third_parties, kinds | set(policy.recipients), "no recipient and no kind of one"),
        ("policy", (consent.policy,), {version.id for version in policy.versions}, "no version of the policy"),
    )
    return [
        f"{name}: entry {number} is {what}" if len(values) > 1 else f"{name}: is {what}"
        for name, values, known, what in checks
        for number, value in enumerate(values, start=1)
        if value not in known
    ]


def _points_at(path: FieldPath) -> bool:
    """Whether the field names or reaches one person; a contract's number does for whoever has the contract."""
    known = VOCABULARY.get(path)
    return path == "contract.number" or (known is not None and known.sensitivity in _NAMING)


def compile_policy(config: Config, adapters: Mapping[str, type[Adapter]], source: Source) -> Policy:
    """The policy; problems are noted on `source`, and routes that have any are left out."""
    purposes = _purposes(config, source)
    _check_clauses(config, source)
    _check_versions(config, source)
    guards = _guards(config, source)
    routes: dict[Asked, Route] = {}
    for recipient in config.recipients.values():
        for number, route in enumerate(recipient.routes):
            draft = _Draft(config, source, recipient, route, number, purposes)
            compiled = draft.compile(adapters.get(recipient.adapter), guards)
            asked = Asked(CallerId(route.caller), RecipientId(recipient.id), route.operation, route.purpose)
            if asked in routes:
                draft.problem("", "a route for the same caller, operation and purpose stands above")
            elif compiled is not None:
                routes[asked] = compiled
    return Policy(
        operator=config.gateway.operator,
        versions=config.versions,
        clauses=config.clauses,
        callers=config.callers,
        recipients=config.recipients,
        purposes=purposes,
        routes=routes,
        facts_of_record=config.gateway.facts is not None,
    )


def _purposes(config: Config, source: Source) -> dict[str, str]:
    purposes: dict[str, str] = {}
    for clause, text in config.clauses.items():
        key = ("clauses", clause, "purpose")
        if clause.startswith("1.1(") != (text.purpose is not None):
            source.problem(CLAUSES, key, "every clause 1.1(n) names its purpose, and no other clause does")
        elif text.purpose in purposes:
            source.problem(CLAUSES, key, f"is the purpose of {purposes[text.purpose]} already")
        elif text.purpose is not None:
            purposes[text.purpose] = clause
    return purposes


def _check_clauses(config: Config, source: Source) -> None:
    if CLAUSES in config.unread:
        return
    cited = {field.clause for field in VOCABULARY.values()} | set(law.CLAUSES)
    for clause in sorted(cited - config.clauses.keys()):
        source.problem(CLAUSES, ("clauses",), f"clause {clause} is missing: the vocabulary or law's own guards cite it")


def _check_versions(config: Config, source: Source) -> None:
    for field in ("effective", "id"):
        values = [getattr(version, field) for version in config.versions]
        if len(set(values)) != len(values):
            name = "from" if field == "effective" else field
            source.problem(POLICY, ("versions", _second(values), name), f"two versions have the same {name}")


def _second(values: list[Any]) -> int:
    """Where a value stands for the second time."""
    return next(number for number, value in enumerate(values) if value in values[:number])


def _guards(config: Config, source: Source) -> dict[str, Guard]:
    guards: dict[str, Guard] = {}
    for name, guard in config.guards.items():
        if guard.clause not in config.clauses and CLAUSES not in config.unread:
            source.problem(GUARDS, ("guards", name, "clause"), f"clause {guard.clause} does not exist")
        if name in law.GUARDS:
            source.problem(GUARDS, ("guards", name), "is the name of one of law's own guards; choose another")
        if guard.effective and guard.until and guard.until < guard.effective:
            source.problem(GUARDS, ("guards", name, "until"), "lies before its from")
        try:
            guards[name] = compile_guard(name, guard)
        except ValueError as error:
            source.problem(GUARDS, ("guards", name, "when"), str(error))
    return guards


@dataclass(frozen=True, slots=True)
class _Draft:
    """One route while it is checked."""

    config: Config
    source: Source
    recipient: RecipientFile
    route: RouteConfig
    number: int
    purposes: Mapping[str, str]

    def problem(self, key: str, message: str) -> None:
        where = ("routes", self.number, key) if key else ("routes", self.number)
        self.source.problem(f"{RECIPIENTS}/{self.recipient.id}.toml", where, message)

    def compile(self, adapter: type[Adapter] | None, guards: Mapping[str, Guard]) -> Route | None:
        before = len(self.source.problems)
        self._check_caller()
        self._check_ground()
        operation = adapter.operations.get(self.route.operation) if adapter else None
        fields = self._fields(operation)
        if adapter is not None and operation is None:
            known = ", ".join(sorted(adapter.operations))
            self.problem("operation", f"adapter {adapter.name} has no such operation (it has: {known})")
        if operation is not None:
            self._check_operation(operation, fields)
            self._check_anonymity(operation, fields)
        # A guard that exists but does not compile has been reported where it stands.
        for name in self.route.guards:
            if name not in self.config.guards and GUARDS not in self.config.unread:
                self.problem("guards", f"guard {name} does not exist")
            elif name in guards:
                self._check_stated(guards[name])
        if operation is None or len(self.source.problems) > before:
            return None
        return Route(
            caller=self.route.caller,
            recipient=self.recipient,
            operation=operation,
            purpose=self.route.purpose,
            ground=self.route.ground,
            service=self.route.service,
            clauses=self.route.clauses,
            fields=fields,
            guards=tuple(guards[name] for name in self.route.guards if name in guards),
            returns=frozenset(FieldPath(path) for path in self.route.returns),
            reuse_for=self.route.reuse_for,
            kdp=self.route.kdp,
            k=self.route.k,
            quasi=tuple(FieldPath(path) for path in self.route.quasi),
        )

    def _check_caller(self) -> None:
        caller = self.config.callers.get(self.route.caller)
        if CALLERS in self.config.unread:
            return
        if caller is None:
            self.problem("caller", f"{self.route.caller} is no caller of {CALLERS}")
        elif Role.DISCLOSE not in caller.roles:
            self.problem("caller", f"{self.route.caller} lacks the role disclose in {CALLERS}")

    def _check_ground(self) -> None:
        route = self.route
        if self.recipient.agreement is None:  # 2.3(4)
            self.problem("", "the recipient has no [agreement], so it may have no route (2.3(4))")
        if CLAUSES not in self.config.unread:
            self._check_purpose(self.purposes.get(route.purpose))
        if GROUND_CLAUSE[route.ground] not in route.clauses:
            self.problem("clauses", f"must cite {GROUND_CLAUSE[route.ground]}, the clause of its ground")
        if (route.ground is Ground.SERVICE) != (route.service is not None):
            self.problem("service", "goes with the ground service, which must name it")

    def _check_purpose(self, clause: str | None) -> None:
        route = self.route
        for cited in route.clauses:
            if cited not in self.config.clauses:
                self.problem("clauses", f"clause {cited} does not exist")
        if clause is None:
            self.problem("purpose", f"the policy has no purpose {route.purpose}")
        elif clause not in route.clauses:
            self.problem("clauses", f"must cite {clause}, the clause of its purpose")
        if clause == ADVERTISING:
            self.problem("purpose", "no personal data leaves for advertising (3.4(4))")
        if (clause == OTHER_PURPOSES) != (route.instrument is not None):
            self.problem("instrument", "goes with the purpose of 1.1(24), which must cite what sets it")

    def _check_stated(self, guard: Guard) -> None:
        """What only the configuration can say of the recipient must be said: at run time it would be an eternal gap."""
        for name in STATED_OF_RECIPIENT:
            if f"recipient.{name}" in guard.needs and getattr(self.recipient, name) is None:
                self.problem("guards", f"guard {guard.name} asks for {name}, which this file does not say; add it")

    def _check_anonymity(self, operation: Operation, fields: Mapping[FieldPath, FieldRule]) -> None:
        """Rows that are to be nobody's: a pseudonym for the number, no name, and k says how alike they must be."""
        under_pseudonym = any(rule.transform == "pseudonym" for rule in fields.values())
        hidden = operation.deidentified or (operation.package_only and under_pseudonym)
        if hidden != (self.route.k is not None):
            self.problem("k", "goes with rows that are to be nobody's, and they with it: say how many must be alike")
        if (self.route.k is not None) != bool(self.route.quasi):
            self.problem("quasi", "goes with k: name the fields that together may point at one person")
        for path in self.route.quasi:
            rule = fields.get(FieldPath(path))
            if rule is None or rule.transform == "pseudonym":
                self.problem("quasi", f"{path} is none of the fields that the route shows")
        if hidden and not under_pseudonym:
            self.problem("fields", "none is a pseudonym, without which rows of the answer could not be told apart")
        for path, rule in fields.items() if hidden else ():
            if rule.transform in {None, "mask"} and _points_at(path):
                self.problem("fields", f"{path} points at the person: leave it out, or pass it as pseudonym, region_of")

    def _fields(self, operation: Operation | None) -> dict[FieldPath, FieldRule]:
        fields: dict[FieldPath, FieldRule] = {}
        for rule in self.route.fields:
            path = FieldPath(rule.path)
            known = VOCABULARY.get(path)
            if known is None or path.startswith("report."):
                self.problem("fields", f"{rule.path} is no field of the vocabulary that a caller may pass")
            elif path in fields:
                self.problem("fields", f"{rule.path} stands twice")
            elif rule.transform == "pseudonym" and (operation is None or not operation.package_only):
                self.problem("fields", f"{rule.path} cannot be a pseudonym here: only a handover has the key for it")
            elif rule.transform is not None and known.type not in TRANSFORMS[rule.transform][1]:
                self.problem("fields", f"{rule.path} cannot be passed as {rule.transform}: it is {known.type.__name__}")
            fields[path] = rule
        return fields

    def _check_operation(self, operation: Operation, fields: Mapping[FieldPath, FieldRule]) -> None:
        for path in sorted(operation.needs - fields.keys()):
            self.problem("fields", f"{path} is missing: the operation {operation.name} cannot do without it")
        for path in sorted((fields.keys() & VOCABULARY.keys()) - operation.uses):
            self.problem("fields", f"{path} is not used by {operation.name}: passing it would be excessive (3.2)")
        for name in self.route.returns:
            if name not in operation.returns:
                self.problem("returns", f"{name} is not among what {operation.name} answers")
        if operation.recalls and self.route.reuse_for is not None:
            self.problem("reuse_for", "is for reports: a notice of recall must leave, whatever was recalled before")
        if self.route.kdp and not operation.kdp:
            self.problem("kdp", f"{operation.name} has no place for the token of a consent")
        elif self.route.kdp and self.route.ground is not Ground.CONSENT:
            self.problem("kdp", "goes with the ground consent: the token is that of the consent")
        # What goes in packages only goes where packages go, and needs no address of its own.
        endpoints = {operation.endpoint, operation.later_endpoint}
        if not operation.package_only and not endpoints & self.recipient.channel.endpoints.keys():
            self.source.problem(
                f"{RECIPIENTS}/{self.recipient.id}.toml",
                ("channel", "endpoints"),
                f"has no address named {operation.endpoint}, which the operation {operation.name} is sent to",
            )
