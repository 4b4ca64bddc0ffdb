"""`qaqpa breach`: what the authority is told when data came into wrong hands (5.5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, Person, opened, run
from qaqpa.cli.render import print_json
from qaqpa.cli.reports import PdfFile, Speak, print_document, spoken, write_report
from qaqpa.gateway.compliance import acting
from qaqpa.model.open_text import check_open_text
from qaqpa.report.breach import Scope
from qaqpa.report.document import Document
from qaqpa.report.notice import plain_breach

app = typer.Typer(help="The notice of a breach to the authority, within one business day (5.5).", no_args_is_help=True)
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


@app.callback()
def _group() -> None:
    """Breaches of personal data."""


@app.command()
def draft(
    since: Annotated[datetime, typer.Option(formats=_FORMATS, help="The period's beginning, by the operator's clock.")],
    caller: Caller,
    person: Person,
    until: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="Its end, not included; else now.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only what left to this recipient.")] = None,
    asker: Annotated[str | None, typer.Option("--of", help="Only what this caller asked for.")] = None,
    alert: Annotated[str | None, typer.Option(help="The alert with which it came to light.")] = None,
    pdf: PdfFile = None,
    language: Speak = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Draft the notice from the ledger: who was concerned, which data, to whom, when, what was done since.

    Nobody is named in it. That it was drafted, and by whom, is an entry.
    """
    check_open_text(person=person)

    async def work() -> tuple[Document, dict[str, Any], bytes | None]:
        async with opened(config, home) as gateway:
            zone, reporting = gateway.policy.operator.time_zone, gateway.reporting
            end = gateway.ledger.clock() + timedelta(seconds=1) if until is None else until.replace(tzinfo=zone)
            scope = Scope(since.replace(tzinfo=zone), end, asker, recipient, alert)
            with acting(person):
                found = await reporting.breach(caller, scope)
            told = reporting.notice(found, spoken(language))
            return told, plain_breach(found), None if pdf is None else await reporting.pdf(told)

    told, plain, printed = run(work)
    if pdf is not None and printed is not None:
        write_report(pdf, printed)
    if as_json:
        print_json(plain)
    elif pdf is None:
        print_document(told)
