"""The register of transfers in words: a document on wide pages, and a workbook."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import timedelta, tzinfo
from typing import Any

from qaqpa.model.words import Language, SealKind
from qaqpa.report.document import Block, Column, Document, Facts, Section, Table, Text, Value, shown
from qaqpa.report.saying import Saying
from qaqpa.report.transfers import FieldPassed, Gone, Transfer, TransferRegister, Way
from qaqpa.tables.safety import runs
from qaqpa.tables.writing import Sink, workbook
from qaqpa.translation import N_

_PERSONS = {
    "application_review": N_("applicants for a microcredit"),
    "debt_collection": N_("borrowers in breach of the contract"),
    "rights_protection": N_("borrowers in breach of the contract"),
    "cession": N_("borrowers whose debt is assigned"),
    "legal_duty": N_("borrowers"),
}
_OTHERS = N_("users of the service")
_SEALS = {
    SealKind.JWE: N_("JWE (RFC 7516), A256GCM"),
    SealKind.AGE: N_("age, X25519"),
    SealKind.CMS: N_("CMS AuthEnvelopedData (RFC 5083), AES-256-GCM"),
    SealKind.OPENPGP: N_("OpenPGP (RFC 9580)"),
    SealKind.TLS_ONLY: N_("TLS alone"),
}
_TRANSFORMS = {
    "mask": N_("masked"),
    "year_of": N_("the year alone"),
    "age_band": N_("age in bands of %(size)s years"),
    "region_of": N_("the region alone"),
    "bucket": N_("rounded down to %(size)s"),
    "pseudonym": N_("pseudonym, new for each package"),
}
_CELL = 32_000
"""Characters of a cell at most."""


def list_transfers(register: TransferRegister, language: Language, zone: tzinfo) -> Document:
    """The document; times are by the clock of `zone`."""
    return _Listing(register, Saying(language, zone)).document()


def write_workbook(sink: Sink, register: TransferRegister, language: Language, zone: tzinfo) -> None:
    """An XLSX of three sheets: routes, their fields, and what the register is. No cell is a formula or a link."""
    listing = _Listing(register, Saying(language, zone))
    stream = io.BytesIO()
    book = workbook(stream)
    sheets = _Sheets(book)
    t = listing.say.words.gettext
    sheets.add(t("Transfers"), listing.headings(), [listing.cells(each) for each in register.transfers])
    columns = (t("Route"), t("Field"), t("Path"), t("Sensitivity"), t("DPV term"), t("Clause"), t("How it is passed"))
    sheets.add(t("Fields"), columns, list(listing.field_rows()))
    sheets.add(t("About this register"), (t("Item"), t("Value")), [list(each) for each in listing.about()])
    book.close()
    sink.write(stream.getvalue())


class _Listing:
    """One register in one language."""

    def __init__(self, register: TransferRegister, say: Saying) -> None:
        self._register = register
        self.say = say
        self._t = say.words.gettext

    def document(self) -> Document:
        register, say, t = self._register, self.say, self._t
        return Document(
            language=say.language,
            title=t("Register of transfers of personal data"),
            subtitle=t("To whom, for what and on what ground personal data leave, and how often they did"),
            operator=say.operator(register.operator),
            drawn_at=register.drawn.at,
            head=Facts(tuple(self._head())),
            sections=(self._overview(), *(self._section(each) for each in register.transfers), *self._rest()),
            foot=say.checkpoint(register.drawn.checkpoint),
            is_wide=True,
        )

    def _head(self) -> Iterator[tuple[str, Value]]:
        drawn, say, t = self._register.drawn, self.say, self._t
        yield t("Period"), self._period()
        yield t("Drawn"), say.moment(drawn.at)
        yield t("Policy"), drawn.policy or say.nothing()
        yield (
            t("Made from"),
            t(
                "the configuration in force, and the disclosure ledger of %(count)s entries",
                count=say.words.number(drawn.entries),
            ),
        )

    def _period(self) -> str:
        span, say, t = self._register.span, self.say, self._t
        if span.since is None and span.until is None:
            return t("from the beginning until now")
        since = t("the beginning") if span.since is None else say.day(span.since)
        until = t("now") if span.until is None else say.day(span.until)
        return t("%(since)s to %(until)s, both days included", since=since, until=until)

    def _overview(self) -> Section:
        t = self._t
        columns = (
            Column(t("Recipient"), 5), Column(t("Operation"), 5), Column(t("Purpose"), 3), Column(t("Ground"), 2),
            Column(t("Asked by"), 3), Column(t("Fields"), 2), Column(t("Transfers"), 2), Column(t("Last"), 4),
        )  # fmt: skip
        rows = tuple(self._brief(each) for each in self._register.transfers)
        return Section(t("All routes"), (Table(columns, rows),))

    def _brief(self, each: Transfer) -> tuple[str, ...]:
        say = self.say
        return (
            say.party(each.recipient), say.operation(each.operation), self._clause_of(each),
            "" if each.ground_clause is None else each.ground_clause.id, say.asker(each.caller),
            say.words.number(len(each.fields)), say.words.number(each.used.left), self._last(each),
        )  # fmt: skip

    def _clause_of(self, each: Transfer) -> str:
        return each.purpose.name if each.purpose.clause is None else each.purpose.clause.id

    def _last(self, each: Transfer | Gone) -> str:
        return self.say.nothing() if each.used.last is None else self.say.moment(each.used.last)

    def _section(self, each: Transfer) -> Section:
        t = self._t
        columns = (
            Column(t("Field"), 6), Column(t("Path"), 6, is_code=True), Column(t("Sensitivity"), 4),
            Column(t("DPV term"), 6, is_code=True), Column(t("Clause"), 2), Column(t("How it is passed"), 4),
        )  # fmt: skip
        rows = tuple(tuple(self._field(one)) for one in each.fields)
        facts = tuple((name, value) for name, value in zip(self.headings(), self._values(each), strict=True))
        return Section(self._name(each), (Facts(facts), Table(columns, rows)))

    def _name(self, each: Transfer) -> str:
        say = self.say
        what = f"{say.party(each.recipient)}: {say.operation(each.operation)}"
        return f"{what} ({self._clause_of(each)}, {say.asker(each.caller)})"

    def _rest(self) -> Iterator[Section]:
        say, t = self.say, self._t
        register = self._register
        if register.gone:
            columns = (
                Column(t("Recipient"), 4), Column(t("Operation"), 4), Column(t("Purpose"), 6), Column(t("Asked by"), 3),
                Column(t("Transfers"), 2), Column(t("Last"), 4),
            )  # fmt: skip
            rows = tuple(
                (
                    say.party(each.recipient), say.operation(each.operation), say.purpose(each.purpose),
                    say.asker(each.caller), say.words.number(each.used.left), self._last(each),
                )
                for each in register.gone
            )  # fmt: skip
            yield Section(t("Used in the period, and no longer configured"), (Table(columns, rows),))
        if register.moved:
            months = ", ".join(f"{say.words.month(each.month)} ({shown(each.file)})" for each in register.moved)
            what = t("Entries of these months were moved to files and are not counted: %(months)s", months=months)
            yield Section(t("Not counted"), (Text(what),))

    # --- a route ---------------------------------------------------------------------------------

    def headings(self) -> tuple[str, ...]:
        """Names of what is said of each route."""
        t = self._t
        return (
            t("Recipient"), t("Kind"), t("BIN"), t("Address"), t("Country"), t("Agreement"), t("Operation"),
            t("Asked by"), t("Purpose"), t("Ground"), t("Clauses"), t("Law"), t("Categories of persons"), t("Data"),
            t("What comes back"), t("How it leaves"), t("Retention at the recipient"), t("Conditions"),
            t("Transfers"), t("Not sent"), t("Last"),
        )  # fmt: skip

    def cells(self, each: Transfer) -> list[str | int]:
        """What is said of a route, as cells."""
        values = ["\n".join(value) if isinstance(value, tuple) else value for value in self._values(each)]
        return [*values[:-3], each.used.left, each.used.not_sent, values[-1]]

    def _values(self, each: Transfer) -> tuple[Value, ...]:
        say, t, party = self.say, self._t, each.recipient
        country = say.country(party.country)
        if each.abroad:
            country += "; " + t("abroad (3.4(5))")
        ground = say.nothing() if each.ground_clause is None else say.clause(each.ground_clause)
        if each.service is not None:
            ground += f" ({shown(each.service)})"
        return (
            say.party(party), say.nothing() if party.kind is None else say.kind(party.kind), party.bin or say.nothing(),
            say.address(party), country, self._agreement(each), say.operation(each.operation), say.asker(each.caller),
            say.purpose(each.purpose), ground, tuple(say.clause(one) for one in each.clauses),
            "; ".join(map(say.instrument, each.instruments)) or say.nothing(), self._persons(each),
            self._data(each.fields), say.fields(each.returns), tuple(self._way(way) for way in each.ways),
            tuple(self._keeps(way) for way in each.ways), tuple(self._conditions(each)),
            say.words.number(each.used.left), say.words.number(each.used.not_sent), self._last(each),
        )  # fmt: skip

    def _agreement(self, each: Transfer) -> str:
        t, found = self._t, each.agreement
        if found is None:
            return t("none: nothing is sent (2.3(4))")
        signed = self.say.day(found.signed_on)
        if found.expires_on is None:
            return t("No. %(number)s of %(signed)s", number=shown(found.number), signed=signed)
        expires = self.say.day(found.expires_on)
        return t(
            "No. %(number)s of %(signed)s, until %(expires)s",
            number=shown(found.number),
            signed=signed,
            expires=expires,
        )

    def _persons(self, each: Transfer) -> str:
        t = self._t
        if each.is_deidentified:
            return t("nobody: rows are de-identified")
        found = t(_PERSONS.get(each.purpose.name, _OTHERS))
        if any(one.path.startswith("related.") for one in each.fields):
            found += "; " + t("their contact persons")
        return found

    def _data(self, fields: Sequence[FieldPassed]) -> str:
        return self.say.many_fields([each.path for each in fields])

    def _way(self, way: Way) -> str:
        seal = self._t(_SEALS[way.seal])
        if way.in_packages:
            return self._t("in packages: %(channel)s, %(seal)s", channel=way.channel.upper(), seal=seal)
        return self._t("one by one: %(channel)s, %(seal)s", channel=way.channel.upper(), seal=seal)

    def _keeps(self, way: Way) -> str:
        term = self._t("no term is agreed") if way.keep_for is None else self._term(way.keep_for)
        if way.in_packages:
            return self._t("packages: %(term)s", term=term)
        return self._t("one by one: %(term)s", term=term)

    def _term(self, term: timedelta) -> str:
        return self.say.words.counted("%(count)s day", "%(count)s days", term.days)

    def _conditions(self, each: Transfer) -> Iterator[str]:
        for one in each.conditions:
            law = "" if one.instrument is None else f", {self.say.instrument(one.instrument)}"
            yield f"{one.clause.id}{law}: {self.say.of(one.expects or one.clause.says, one.guard)}"

    def _field(self, field: FieldPassed) -> Iterator[str]:
        yield self.say.field(field.path)
        yield field.path
        yield self.say.sensitivity(field.sensitivity)
        yield field.dpv
        yield field.clause
        if field.transform is None:
            yield self._t("as it is")
        else:
            yield self._t(_TRANSFORMS[field.transform], size=self.say.words.number(field.size or 0))

    def field_rows(self) -> Iterator[list[str]]:
        """Every field of every route."""
        for each in self._register.transfers:
            for field in each.fields:
                yield [self._name(each), *self._field(field)]

    def about(self) -> Iterator[tuple[str, str]]:
        """What the register is, as rows."""
        checkpoint = self._register.drawn.checkpoint
        yield self._t("Operator"), self.say.operator(self._register.operator)
        for name, value in self._head():
            yield name, value if isinstance(value, str) else "\n".join(value)
        yield self._t("Checkpoint"), self.say.checkpoint(checkpoint)
        if checkpoint is not None:
            yield self._t("Root"), checkpoint.root
        for each in self._rest():
            yield each.title, "\n".join(_lines(each.blocks))


def _lines(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Text):
            yield block.text
        elif isinstance(block, Table):
            for row in block.rows:
                yield "; ".join(value if isinstance(value, str) else " ".join(value) for value in row)


class _Sheets:
    """Sheets of text and numbers, each with a heading that stays."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._head = book.add_format(
            {"bold": True, "bg_color": "#DDE6EE", "bottom": 1, "valign": "top", "text_wrap": True}
        )
        self._text = book.add_format({"text_wrap": True, "valign": "top"})
        self._quoted = book.add_format({"text_wrap": True, "valign": "top", "quote_prefix": True})
        self._number = book.add_format({"valign": "top", "num_format": "#,##0"})

    def add(self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
        """A sheet."""
        sheet = self._book.add_worksheet(title)
        for at, heading in enumerate(headings):
            sheet.write_string(0, at, heading, self._head)
            longest = max((len(part) for row in rows for part in str(row[at]).split("\n")), default=0)
            sheet.set_column(at, at, min(max(longest, len(heading), 8) + 2, 60))
        for number, row in enumerate(rows, start=1):
            for at, cell in enumerate(row):
                if isinstance(cell, int):
                    sheet.write_number(number, at, cell, self._number)
                else:
                    sheet.write_string(number, at, cell[:_CELL], self._quoted if runs(cell) else self._text)
        sheet.freeze_panes(1, 1)
        sheet.autofilter(0, 0, max(len(rows), 1), len(headings) - 1)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)
