"""`qaqpa subject`: what concerns one person: their report, their erasure."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from pydantic import BaseModel, ConfigDict

from qaqpa.cli.asked import Told, say_asked, told
from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Caller,
    ConfigFolder,
    Document,
    Home,
    Json,
    Person,
    Reason,
    at_shell,
    opened,
    read_document,
    run,
)
from qaqpa.cli.render import print_json
from qaqpa.cli.reports import PdfFile, Speak, print_document, spoken, write_report
from qaqpa.model.consent import ConsentingPerson
from qaqpa.model.request import parse
from qaqpa.report.document import Document as Telling

app = typer.Typer(help="Tell a person what is held about them (7.1(1)), or erase them (7.1(3)).", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Commands on one person."""


class _About(BaseModel):
    """A document that names a person: {"subject": {"iin": "..."}}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: ConsentingPerson


@app.command()
def report(
    subject: Document,
    caller: Caller,
    pdf: PdfFile = None,
    language: Speak = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Everything that the ledger knows about a person. The document is {"subject": {"iin": "..."}}.

    Who nobody knows, or was erased, gets a report that says that nothing is held. A person's look is an entry.
    """
    about = parse(_About, read_document(subject))

    async def work() -> tuple[Telling, bytes, bytes | None]:
        async with opened(config, home) as gateway:
            reporting = gateway.reporting
            found = await reporting.subject_report(caller, about.subject.iin)
            told = reporting.document(found, spoken(language))
            as_text = await reporting.json(found, told.language) if as_json else b""
            return told, as_text, None if pdf is None else await reporting.pdf(told)

    told, as_text, printed = run(work)
    if pdf is not None and printed is not None:
        write_report(pdf, printed)
    if as_json:
        print_json(orjson.loads(as_text))
    elif pdf is None:
        print_document(told)


@app.command()
def erase(
    subject: Document,
    caller: Caller,
    person: Person,
    reason: Reason,
    duties_met: Annotated[
        bool,
        typer.Option("--duties-met/--duties-open", help="Whether every duty under the contract is met (7.1(3))."),
    ],
    instrument: Annotated[
        str | None, typer.Option(help="The law or act that demands it although duties are open; entered in the ledger.")
    ] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Ask for a person's key to be deleted; somebody else agrees (`qaqpa approval agree`), and only then it is.

    The document is {"subject": {"iin": "..."}}; an IIN is never given as an argument.
    """
    about = parse(_About, read_document(subject))

    async def work() -> Told:
        async with opened(config, home) as gateway:
            asked = await gateway.approvals.ask_erasure(
                caller, at_shell(person), about.subject.iin,
                duties_met=duties_met, instrument=instrument, reason=reason,
            )  # fmt: skip
            return told(gateway, asked)

    say_asked(run(work), caller, as_json=as_json)
