"""The draft of the notice of a breach in words: a document in Russian, Kazakh or English, and the same as JSON. What
the ledger does not know is left to the person who completes and signs it, and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import tzinfo
from typing import Any

from qaqpa.alerts.findings import Rule
from qaqpa.model.vocabulary import Sensitivity
from qaqpa.model.words import Language, timestamp
from qaqpa.report.breach import Breach, Consequence, Measure
from qaqpa.report.document import Block, Column, Document, Facts, Section, Table, Text, Value, shown
from qaqpa.report.plain import drawn
from qaqpa.report.saying import Saying
from qaqpa.translation import N_

FORMAT = 1
_DOTS = "…" * 12
Fact = tuple[str, Value]

_RULES = {
    Rule.VOLUME: N_("unusual volume"),
    Rule.REFUSALS: N_("burst of refusals"),
    Rule.SUBJECT: N_("one person asked for by many"),
    Rule.NIGHT: N_("activity at night"),
    Rule.CHECKPOINT: N_("checkpoint late"),
    Rule.VERIFICATION: N_("verification of the ledger failed"),
    Rule.UPKEEP: N_("upkeep fails"),
    Rule.WITNESS: N_("witness silent"),
    Rule.EXPIRY: N_("agreement or key about to end"),
    Rule.BREAK_GLASS: N_("sign-in beside the provider"),
}
_CONSEQUENCES = {
    Consequence.IDENTITY: N_("Identifiers and documents: somebody may act in the person's name, or take a loan in it."),
    Consequence.CONTACT: N_("Contact data: unwanted calls, messages and visits; fraud by telephone."),
    Consequence.FINANCIAL: N_("Financial data: debts and income become known; pressure, and fraud that fits them."),
    Consequence.PERSONAL: N_("Personal circumstances: discrimination, damage to good name."),
}
_ACTS = {
    "suspend": N_("nothing is sent to the recipient any more"),
    "recall": N_("recipients were asked to stop and destroy"),
    "erasure": N_("persons were erased"),
    "rotate_keys": N_("the keys were rotated"),
    "revoke_token": N_("a caller's token was revoked"),
    "end_session": N_("a person's session was ended"),
    "acknowledge_alert": N_("an alert was looked into"),
    "settle": N_("it was found out what came of a disclosure"),
}
DRAFT = N_("Draft: to be completed, checked and signed by a person before it is sent to the authority")
FOR_PERSONS = (
    N_("What happened, how, and how it came to light"),
    N_("The cause, as far as it is known, and whether it goes on"),
    N_("Consequences that are likely in this case, and how grave they are"),
    N_("Further measures: what was done outside the gate, what is planned and until when"),
    N_("Whether the persons concerned were told, when and how"),
    N_("Who signs, and on what authority"),
)
DEADLINE = N_(
    "One business day from when it came to be known, Monday to Friday by the operator's clock. Public holidays are not "
    "left out, so the law's own term is never shorter."
)
NOT_WHOLE = N_(
    "The period holds more entries than are read for one draft: these numbers are of its beginning. Draft it again for "
    "shorter periods, or for one recipient or caller."
)
NOBODY_NAMED = N_(
    "Persons are counted by random numbers of the ledger: nobody is named here. Who they are, an investigator can find "
    "out for each, for a reason that is entered."
)


def tell_breach(breach: Breach, language: Language, zone: tzinfo) -> Document:
    """The document; times are by the clock of `zone`."""
    return _Telling(breach, Saying(language, zone)).document()


class _Telling:
    """One draft in one language."""

    def __init__(self, breach: Breach, say: Saying) -> None:
        self._breach = breach
        self._say = say
        self._t = say.words.gettext

    def document(self) -> Document:
        breach, say, t = self._breach, self._say, self._t
        return Document(
            language=say.language, title=t("Notice of a breach of personal data"), subtitle=t(DRAFT),
            operator=say.operator(breach.operator), drawn_at=breach.drawn.at, head=Facts(tuple(self._head())),
            sections=(
                self._missing(), self._persons(), self._data(), self._recipients(), self._within(),
                self._consequences(), self._measures(), self._proof(),
            ),
            foot=say.checkpoint(breach.drawn.checkpoint),
        )  # fmt: skip

    def _head(self) -> Iterator[Fact]:
        breach, say, t = self._breach, self._say, self._t
        yield t("To"), t("the authorised body in the field of personal data protection")
        yield t("Contact"), t("to be added") if breach.contact is None else shown(breach.contact)
        yield t("Period concerned"), f"{say.moment(breach.scope.since)} – {say.moment(breach.scope.until)}"
        yield t("Came to be known"), say.moment(breach.known_at)
        yield t("To be told at the latest"), (say.moment(breach.deadline), t(DEADLINE))
        if breach.alert is not None:
            yield t("Came to light by"), t("an alert of the gate: %(rule)s", rule=t(_RULES[breach.alert.rule]))
        yield t("Drawn"), say.moment(breach.drawn.at)

    def _missing(self) -> Section:
        t = self._t
        rows = tuple(Text(f"{number}. {t(each)}: {_DOTS}") for number, each in enumerate(FOR_PERSONS, start=1))
        return Section(t("To be added by a person"), rows)

    def _persons(self) -> Section:
        breach, say, t = self._breach, self._say, self._t
        number = say.words.number
        rows: list[Fact] = [
            (t("Persons concerned"), number(breach.subjects)),
            (t("Who they are"), t("applicants for and borrowers of microcredit")),
            (t("Disclosures that left, or may have"), number(breach.disclosures)),
            (t("Reports used again"), number(breach.served_again)),
            (t("Surely not sent"), number(breach.not_sent)),
            (t("Refused transfers"), number(breach.refused)),
            (t("Looks of the operator's people at the ledger"), number(breach.looks)),
        ]
        if breach.first is not None and breach.last is not None:
            rows.insert(0, (t("First and last"), f"{say.moment(breach.first)} – {say.moment(breach.last)}"))
        blocks: list[Block] = [Facts(tuple(rows)), Text(t(NOBODY_NAMED), "muted")]
        if not breach.is_whole:
            blocks.insert(0, Text(t(NOT_WHOLE), "strong"))
        if breach.moved:
            files = ", ".join(shown(each.file) for each in breach.moved)
            blocks.append(Text(t("Not counted, because their months were moved to files: %(files)s", files=files)))
        return Section(t("Who is concerned"), tuple(blocks))

    def _data(self) -> Section:
        say, t = self._say, self._t
        columns = (
            Column(t("Field"), 6), Column(t("Path"), 8, is_code=True), Column(t("Sensitivity"), 4),
            Column(t("Clause"), 2), Column(t("Left"), 2), Column(t("Came back"), 3),
        )  # fmt: skip
        rows = tuple(
            (
                say.field(each.path), each.path,
                say.nothing() if each.sensitivity is None else say.sensitivity(Sensitivity(each.sensitivity)),
                each.clause or say.nothing(), say.words.number(each.left), say.words.number(each.came_back),
            )
            for each in self._breach.data
        )  # fmt: skip
        return Section(
            t("Which data"), (Table(columns, rows),) if rows else (Text(t("None left, and none came back.")),)
        )

    def _recipients(self) -> Section:
        say, t = self._say, self._t
        columns = (
            Column(t("Recipient"), 6), Column(t("Kind"), 4), Column(t("BIN"), 3, is_code=True), Column(t("Country"), 3),
            Column(t("Disclosures"), 2), Column(t("Persons"), 2),
        )  # fmt: skip
        rows = tuple(
            (
                say.party(each.party), say.nothing() if each.party.kind is None else say.kind(each.party.kind),
                each.party.bin or say.nothing(), say.country(each.party.country), say.words.number(each.disclosures),
                say.words.number(each.subjects),
            )
            for each in self._breach.recipients
        )  # fmt: skip
        return Section(t("To whom"), (Table(columns, rows),) if rows else (Text(t("Nothing left to anybody.")),))

    def _within(self) -> Section:
        breach, say, t = self._breach, self._say, self._t
        number = say.words.number
        rows = [(say.asker(asker), number(count)) for asker, count in breach.askers]
        rows += [(say.purpose(purpose), number(count)) for purpose, count in breach.purposes]
        columns = (Column(t("Who, or what for"), 9), Column(t("Disclosures"), 2))
        title = t("Who asked inside the organisation, and for what")
        return Section(title, (Table(columns, tuple(rows)),) if rows else (Text(t("Nobody.")),))

    def _consequences(self) -> Section:
        t = self._t
        texts = tuple(Text(t(_CONSEQUENCES[each])) for each in self._breach.consequences)
        return Section(t("Likely consequences"), texts or (Text(t("To be judged by a person.")),))

    def _measures(self) -> Section:
        say, t = self._say, self._t
        columns = (
            Column(t("When"), 3), Column(t("What"), 6), Column(t("Why"), 5), Column(t("Times"), 1),
            Column(t("Entry"), 2),
        )  # fmt: skip
        rows = tuple(
            (
                say.moment(each.at), self._act(each), shown(each.reason or "") or say.nothing(),
                say.words.number(each.count), say.words.number(each.entry),
            )
            for each in self._breach.measures
        )  # fmt: skip
        none = Text(t("The ledger knows of no measure since the period began."))
        return Section(t("Measures taken"), (Table(columns, rows),) if rows else (none,))

    def _act(self, measure: Measure) -> str:
        act = self._t(_ACTS[measure.act]) if measure.act in _ACTS else shown(measure.act)
        return act if measure.about is None else f"{act} ({self._say.party(measure.about)})"

    def _proof(self) -> Section:
        state, say, t = self._breach.drawn, self._say, self._t
        rows: list[Fact] = [(t("Entries in the ledger"), say.words.number(state.entries))]
        if state.checkpoint is not None:
            rows.append((t("Root"), shown(state.checkpoint.root)))
        return Section(t("How this can be proved"), (Facts(tuple(rows)),))


def plain_breach(breach: Breach) -> dict[str, Any]:
    """The draft as JSON values: names and codes for programs."""
    scope = breach.scope
    return {
        "format": FORMAT,
        "state": "draft",
        "operator": asdict(breach.operator),
        "contact": breach.contact,
        "drawn": drawn(breach.drawn),
        "scope": scope.said(),
        "known_at": timestamp(breach.known_at),
        "deadline": timestamp(breach.deadline),
        "alert": breach.alert
        and {
            "id": breach.alert.id, "rule": breach.alert.rule.value, "since": timestamp(breach.alert.since),
            "figures": {name: value for name, value in breach.alert.figures.items() if name != "person"},
        },
        "whole": breach.is_whole,
        "subjects": breach.subjects,
        "disclosures": breach.disclosures,
        "not_sent": breach.not_sent,
        "served_again": breach.served_again,
        "refused": breach.refused,
        "looks": breach.looks,
        "first": breach.first and timestamp(breach.first),
        "last": breach.last and timestamp(breach.last),
        "data": [asdict(each) for each in breach.data],
        "recipients": [
            {
                "id": each.party.id, "kind": each.party.kind, "bin": each.party.bin, "country": each.party.country,
                "disclosures": each.disclosures, "subjects": each.subjects,
            }
            for each in breach.recipients
        ],
        "callers": [{"id": asker.id, "disclosures": count} for asker, count in breach.askers],
        "purposes": [{"name": purpose.name, "disclosures": count} for purpose, count in breach.purposes],
        "consequences": [each.value for each in breach.consequences],
        "measures": [
            {**asdict(each), "at": timestamp(each.at), "about": None if each.about is None else each.about.id}
            for each in breach.measures
        ],
        "moved": [each.file for each in breach.moved],
        "to_be_added": ["what_happened", "cause", "gravity", "further_measures", "persons_told", "signatory"],
    }  # fmt: skip
