"""The report to one person in words: a document in Russian, Kazakh or English, for a page or as a PDF."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from qaqpa.model.consent import ConsentStatus
from qaqpa.model.words import Language
from qaqpa.report import prose
from qaqpa.report.document import Block, Column, Document, Facts, Section, Table, Text, Value, shown
from qaqpa.report.saying import Saying
from qaqpa.report.subject import (
    ConsentTold,
    Disclosures,
    FactsFrom,
    Form,
    Refusals,
    Single,
    SubjectReport,
)

PRINTED = 40
"""Disclosures of one kind that a document lists; the others are counted, and the report as JSON has them."""

Fact = tuple[str, Value]


def tell(report: SubjectReport, language: Language, zone: tzinfo, *, printed: int = PRINTED) -> Document:
    """The document; times are by the clock of `zone`. `printed` disclosures of each kind are listed one by one."""
    return _Telling(report, Saying(language, zone), printed).document()


class _Telling:
    """One report in one language."""

    def __init__(self, report: SubjectReport, say: Saying, printed: int) -> None:
        self._report = report
        self._say = say
        self._t = say.words.gettext
        self._printed = printed

    def document(self) -> Document:
        report, say, t = self._report, self._say, self._t
        sections = [self._nothing()] if report.is_empty else list(self._sections())
        return Document(
            language=say.language,
            title=t("Report on personal data"),
            subtitle=t("What is held about you, on what ground, and who received it"),
            operator=say.operator(report.operator),
            drawn_at=report.drawn.at,
            head=Facts(tuple(self._head())),
            sections=(*sections, *self._rights(), self._proof()),
            foot=say.checkpoint(report.drawn.checkpoint),
        )

    def _head(self) -> Iterator[Fact]:
        report, say, t = self._report, self._say, self._t
        if report.about is not None:
            yield t("About whom"), t("the person with IIN %(iin)s", iin=report.about)
        if report.subject is not None:
            yield t("Number in the ledger"), report.subject
        yield t("Drawn"), say.moment(report.drawn.at)
        version = report.drawn.policy or say.nothing()
        yield (
            t("On the ground of"),
            (
                t("clause 7.1(1) of the personal data policy, version %(version)s", version=version),
                t(prose.LAW),
            ),
        )

    def _nothing(self) -> Section:
        t = self._t
        return Section(
            t("Nothing is held"),
            (
                Text(t(prose.NOTHING), "strong"),
                Text(t(prose.NOTHING_FOUND)),
            ),
        )  # fmt: skip

    def _sections(self) -> Iterator[Section]:
        yield self._summary()
        if self._report.erasure is not None:
            yield self._erasure()
        if self._report.moved:
            yield self._moved()
        for title, section in (
            (self._t("Consents"), self._consents()),
            (self._t("Who received your data"), self._disclosures()),
            (self._t("Reports used again"), self._reuses()),
            (self._t("Refused transfers"), self._refusals()),
            (self._t("Requests to destroy data"), self._recalls()),
        ):
            if section is not None:
                yield Section(title, *section)
        yield self._held()

    # --- the whole -------------------------------------------------------------------------------

    def _summary(self) -> Section:
        report, words, t = self._report, self._say.words, self._t
        in_force = sum(
            each.status in {ConsentStatus.ACTIVE, ConsentStatus.WITHDRAWAL_PENDING} for each in report.consents
        )
        recipients = words.number(len({each.recipient.id for each in report.disclosures if each.left}))
        left = words.number(sum(each.left for each in report.disclosures))
        refused = sum(each.count for each in report.refusals)
        consents, active = words.number(len(report.consents)), words.number(in_force)
        rows: list[Fact] = [
            (t("Consents"), t("%(all)s, of them in force: %(active)s", all=consents, active=active)),
            (t("Disclosures"), t("%(all)s, to recipients: %(recipients)s", all=left, recipients=recipients)),
            (t("Refused transfers"), words.number(refused)),
            (t("Requests to destroy"), words.number(len(report.recalls))),
        ]  # fmt: skip
        return Section(t("In short"), (Facts(tuple(rows)), Text(t(prose.WHAT_THIS_IS), "muted")))

    def _erasure(self) -> Section:
        erasure, say, t = self._report.erasure, self._say, self._t
        assert erasure is not None  # noqa: S101 - asked before
        state = t("in effect: nobody can read whom these entries are about")
        if not erasure.in_effect:
            state = t(prose.ERASURE_PENDING)
        rows: list[Fact] = [(t("Erased"), say.moment(erasure.at)), (t("State"), state)]
        if erasure.instrument is not None:
            rows.append((t("Demanded by"), shown(erasure.instrument)))
        return Section(t("This person was erased"), (Facts(tuple(rows)),))

    def _moved(self) -> Section:
        words, t = self._say.words, self._t
        columns = (Column(t("Month"), 1), Column(t("File"), 2, is_code=True))
        rows = tuple((words.month(each.month), shown(each.file)) for each in self._report.moved)
        what = t(prose.MOVED)
        return Section(t("Not in this report"), (Text(what), Table(columns, rows)))

    def _held(self) -> Section:
        held, say, t = self._report.held, self._say, self._t
        rows: list[Fact] = [(t("Who you are"), t(prose.OWN_IIN))]
        if held.answers:
            until = say.nothing() if held.answers_until is None else say.moment(held.answers_until)
            rows.append(
                (
                    t("Answers of recipients"),
                    t(
                        "%(count)s, encrypted; the last one is kept until %(until)s",
                        count=say.words.number(held.answers),
                        until=until,
                    ),
                )
            )
        if held.evidence:
            rows.append(
                (
                    t("Signed answers"),
                    t("%(count)s, encrypted, kept as evidence", count=say.words.number(held.evidence)),
                )
            )
        if held.awaited:
            rows.append((t("Answers to come"), say.words.number(held.awaited)))
        rows.append((t("Published"), t("nothing: no route publishes personal data (7.1(4))")))
        if self._report.erasure is not None:
            del rows[0]
        return Section(t("What the gate itself keeps"), (Facts(tuple(rows)),))

    def _rights(self) -> Iterator[Section]:
        rights = tuple(Text(self._say.clause(each)) for each in self._report.rights)
        if rights:
            yield Section(self._t("Your rights"), rights)

    def _proof(self) -> Section:
        drawn, say, t = self._report.drawn, self._say, self._t
        rows: list[Fact] = [(t("Entries in the ledger"), say.words.number(drawn.entries))]
        if drawn.checkpoint is not None:
            rows += [
                (
                    t("Last checkpoint"),
                    t(
                        "over %(size)s entries, signed %(at)s",
                        size=say.words.number(drawn.checkpoint.size),
                        at=say.moment(drawn.checkpoint.at),
                    ),
                ),
                (t("Ledger"), shown(drawn.checkpoint.origin)),
                (t("Root"), shown(drawn.checkpoint.root)),
            ]
        what = t(prose.PROOF)
        return Section(t("How this can be proved"), (Facts(tuple(rows)), Text(what, "muted")))

    # --- consents --------------------------------------------------------------------------------

    def _consents(self) -> tuple[tuple[Block, ...], tuple[Section, ...]] | None:
        if not self._report.consents:
            return None
        return (), tuple(self._consent(each) for each in self._report.consents)

    def _consent(self, consent: ConsentTold) -> Section:
        say, t = self._say, self._t
        parties = [say.kind(each) if isinstance(each, str) else say.party(each) for each in consent.third_parties]
        rows: list[Fact] = [(t("Status"), say.status(consent.status))]
        ends = say.nothing() if consent.expires_at is None else say.moment(consent.expires_at)
        rows += [(t("Given"), say.moment(consent.given_at)), (t("Expires"), ends)]
        if consent.withdrawal_asked_at is not None:
            rows.append((t("Withdrawal asked for"), say.moment(consent.withdrawal_asked_at)))
        if consent.withdrawn_at is not None:
            rows.append((t("Withdrawn"), say.moment(consent.withdrawn_at)))
        method = say.method(consent.method)
        if consent.reference is not None:
            method = t("%(method)s, reference %(reference)s", method=method, reference=shown(consent.reference))
        rows += [
            (t("Purposes"), tuple(say.purpose(each) for each in consent.purposes)),
            (t("May be given to"), "; ".join(parties)),
            (t("Data"), say.fields(consent.fields)),
            (t("Across the border"), self._allowed(consent.cross_border)),
            (t("Publication"), self._allowed(consent.publication)),
            (t("How it was given"), method),
            (t("Policy accepted"), shown(consent.policy)),
        ]
        if consent.contract is not None:
            rows.append((t("Contract"), shown(consent.contract)))
        rows.append((t("Number"), consent.id))
        return Section(t("Consent of %(day)s", day=say.day(consent.given_at)), (Facts(tuple(rows)),))

    def _allowed(self, allowed: bool) -> str:
        return self._t("allowed") if allowed else self._t("not allowed")

    # --- disclosures -----------------------------------------------------------------------------

    def _disclosures(self) -> tuple[tuple[Block, ...], tuple[Section, ...]] | None:
        if not self._report.disclosures:
            return None
        return (), tuple(self._group(each) for each in self._report.disclosures)

    def _group(self, group: Disclosures) -> Section:
        say, t = self._say, self._t
        party = group.recipient
        about = [] if party.kind is None else [say.kind(party.kind)]
        about += [f"{t('BIN')} {party.bin}"] if party.bin is not None else []
        results = "; ".join(f"{say.result(result)}: {say.words.number(count)}" for result, count in group.results)
        rows: list[Fact] = [
            (t("Recipient"), ", ".join([say.party(party), *about])),
            (t("Address"), f"{say.country(party.country)}; {say.address(party)}"),
            (t("Purpose"), say.purpose(group.purpose)),
            (t("How often"), say.times(group.count, group.first, group.last)),
            (t("What came of it"), results),
        ]
        blocks: list[Block] = []
        forms = [tuple(self._form(form)) for form in group.forms]
        shared = tuple(fact for fact in forms[0] if all(fact in other for other in forms))
        came_back = dict.fromkeys(path for each in group.singles for path in each.returned)
        answer = [(t("What came back"), say.fields(came_back))] if came_back else []
        blocks.append(Facts((*rows, *shared, *answer)))
        for number, form in enumerate(forms, start=1):
            own = tuple(fact for fact in form if fact not in shared)
            if own:
                blocks += [Text(t("Form %(number)s", number=number), "strong"), Facts(own)]
        blocks.append(self._singles(group))
        more = group.count - min(len(group.singles), self._printed)
        if more:
            blocks.append(Text(t(prose.EARLIER, count=say.words.number(more)), "muted"))
        return Section(f"{say.party(party)}: {say.operation(group.operation)}", tuple(blocks))

    def _form(self, form: Form) -> Iterator[Fact]:
        say, t = self._say, self._t
        ground = say.nothing() if form.ground_clause is None else say.clause(form.ground_clause)
        cited = [each for each in form.clauses if each != form.ground_clause]
        yield t("Ground"), ground
        if cited:
            yield t("Clauses"), tuple(say.clause(each) for each in cited)
        yield t("What was sent"), say.fields(form.fields)
        if form.withheld:
            yield t("What was withheld"), say.many_fields(form.withheld)
        yield t("Asked by"), say.asker(form.caller)
        source = t(prose.OWN_RECORDS)
        if form.facts is FactsFrom.RECORD:
            source += "; " + t(prose.FACTS_OF_RECORD)
        elif form.facts is FactsFrom.STATED:
            source += "; " + t(prose.FACTS_STATED)
        yield t("Source"), source

    def _singles(self, group: Disclosures) -> Table:
        t = self._t
        many = len(group.forms) > 1
        columns = [Column(t("When"), 18), Column(t("Result"), 20), Column(t("Kept until"), 13)]
        columns += [Column(t("Form"), 8)] if many else []
        columns += [Column(t("Entry"), 9), Column(t("Number of the disclosure, of the package"), 34, is_code=True)]
        return Table(tuple(columns), tuple(self._row(each, many) for each in group.singles[: self._printed]))

    def _row(self, single: Single, many: bool) -> tuple[Value, ...]:
        say, t = self._say, self._t
        result = say.result(single.result)
        if single.turned_back:
            result += "; " + t("the recipient did not take this row")
        until = say.nothing() if single.kept_until is None else say.short_day(single.kept_until)
        ids: Value = single.id if single.handover is None else (single.id, single.handover)
        form = (say.words.number(single.form + 1),) if many else ()
        return (say.moment(single.at), result, until, *form, str(single.index), ids)

    # --- what did not leave, what is asked back ----------------------------------------------------

    def _reuses(self) -> tuple[tuple[Block, ...], tuple[Section, ...]] | None:
        say, t = self._say, self._t
        if not self._report.reuses:
            return None
        columns = (
            Column(t("Report of"), 2),
            Column(t("Purpose"), 3),
            Column(t("Asked by"), 2),
            Column(t("How often"), 3),
        )
        rows = tuple(
            (
                f"{say.party(each.recipient)}: {say.operation(each.operation)}",
                say.purpose(each.purpose),
                say.asker(each.caller),
                say.times(each.count, each.first, each.last),
            )
            for each in self._report.reuses
        )
        what = t(prose.REUSED)
        return (Text(what, "muted"), Table(columns, rows)), ()

    def _refusals(self) -> tuple[tuple[Block, ...], tuple[Section, ...]] | None:
        say, t = self._say, self._t
        if not self._report.refusals:
            return None
        columns = (Column(t("To whom, for what"), 5), Column(t("Why not"), 7), Column(t("How often"), 4))
        rows = tuple(
            (
                (
                    f"{say.party(each.recipient)}: {say.operation(each.operation)}",
                    say.purpose(each.purpose),
                    t("asked by: %(caller)s", caller=say.asker(each.caller)),
                ),
                tuple(self._why(each)),
                say.times(each.count, each.first, each.last),
            )
            for each in self._report.refusals
        )
        what = t(prose.REFUSED)
        return (Text(what, "muted"), Table(columns, rows)), ()

    def _why(self, refusals: Refusals) -> Iterator[str]:
        for each in refusals.why:
            law = "" if each.instrument is None else f", {self._say.instrument(each.instrument)}"
            says = self._say.of(each.expects or each.clause.says, each.guard)
            if each.is_gap:
                yield self._t("could not be told — %(clause)s: %(says)s", clause=each.clause.id + law, says=says)
            else:
                yield self._t("not met — %(clause)s: %(says)s", clause=each.clause.id + law, says=says)

    def _recalls(self) -> tuple[tuple[Block, ...], tuple[Section, ...]] | None:
        say, t = self._say, self._t
        if not self._report.recalls:
            return None
        columns = (
            Column(t("Recipient"), 4), Column(t("Why"), 4), Column(t("Asked"), 4), Column(t("Destroy by"), 4),
            Column(t("State"), 4), Column(t("Of the disclosure or package"), 7, is_code=True),
        )  # fmt: skip
        rows = tuple(
            (
                say.party(each.recipient), say.reason(each.reason), say.moment(each.asked_at),
                say.short_day(each.due_on), say.state(each.state), each.of,
            )
            for each in self._report.recalls
        )  # fmt: skip
        return (
            Text(t(prose.RECALLED), "muted"),
            Table(columns, rows),
        ), ()
