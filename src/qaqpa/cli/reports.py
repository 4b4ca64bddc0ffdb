"""Reports on a terminal and in files: what the commands that make them share, and `qaqpa policy transfers`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.markup import escape

from qaqpa import files
from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, opened, run
from qaqpa.cli.render import err, out, speech, table
from qaqpa.errors import InvalidRequest
from qaqpa.ledger.span import Span
from qaqpa.model.words import Language
from qaqpa.report.document import Document, Facts, Section, Text, Value

PdfFile = Annotated[Path | None, typer.Option("--pdf", help="Write it to this file as PDF.")]
Speak = Annotated[str | None, typer.Option("--language", help="ru, kk or en; else the language of the configuration.")]
_LANGUAGES: tuple[Language, ...] = get_args(Language)


def spoken(language: str | None) -> Language:
    """The language asked for. Raises InvalidRequest."""
    if language is None:
        return speech.language
    for each in _LANGUAGES:
        if each == language:
            return each
    raise InvalidRequest(["--language: is ru, kk or en"])


def write_report(path: Path, content: bytes) -> None:
    """A file that only its owner may read, whole or not at all. Raises InvalidRequest."""
    try:
        files.replace(path, content)
    except OSError as error:
        raise InvalidRequest([f"{path} cannot be written: {error.strerror}"]) from None
    err.print(f"[green]written[/]: {escape(str(path))}", soft_wrap=True)


def print_document(document: Document) -> None:
    """A document, for people."""
    out.print(f"[bold]{escape(document.title)}[/]  [dim]{escape(document.operator)}[/]", soft_wrap=True)
    out.print(f"[dim]{escape(document.subtitle)}[/]", soft_wrap=True)
    _facts(document.head)
    for section in document.sections:
        _section(section, "")
    out.print(f"\n[dim]{escape(document.foot)}[/]", soft_wrap=True)


def _section(section: Section, above: str) -> None:
    title = f"{above} / {section.title}" if above else section.title
    out.print(f"\n[bold]{escape(title)}[/]", soft_wrap=True)
    for block in section.blocks:
        if isinstance(block, Text):
            out.print(escape(block.text), soft_wrap=True)
        elif isinstance(block, Facts):
            _facts(block)
        else:
            made = table(*(column.heading for column in block.columns))
            for row in block.rows:
                made.add_row(*(escape(_text(value, "\n")) for value in row))
            out.print(made)
    for part in section.parts:
        _section(part, section.title)


def _facts(facts: Facts) -> None:
    for name, value in facts.rows:
        out.print(f"  [dim]{escape(name)}:[/] {escape(_text(value, '; '))}", soft_wrap=True)


def _text(value: Value, between: str) -> str:
    return value if isinstance(value, str) else between.join(value)


def transfers(
    caller: Caller,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Count transfers from this day on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Count transfers up to this day, it included.")
    ] = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", help="Write it to this file as a workbook.")] = None,
    pdf: PdfFile = None,
    language: Speak = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """The register of transfers: every route, what it rests on and passes, and how often it was used.

    Made from configuration and ledger, which is read whole. That you looked is entered.
    """
    span = Span(_day(since), _day(until))
    if span.since is not None and span.until is not None and span.until < span.since:
        raise InvalidRequest(["--until: lies before --since"])

    async def work() -> tuple[Document, bytes, bytes]:
        async with opened(config, home) as gateway:
            reporting = gateway.reporting
            register = await reporting.transfers(caller, span)
            told = reporting.register(register, spoken(language))
            book = b"" if xlsx is None else await reporting.workbook(register, told.language)
            return told, book, b"" if pdf is None else await reporting.pdf(told)

    told, book, printed = run(work)
    for path, content in ((xlsx, book), (pdf, printed)):
        if path is not None:
            write_report(path, content)
    if xlsx is None and pdf is None:
        print_document(told)


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()
