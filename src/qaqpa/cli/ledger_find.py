"""`qaqpa ledger find`: disclosures, each with what came of it. A person's look is itself an entry."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict
from rich.markup import escape

from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Caller,
    ConfigFolder,
    Home,
    Json,
    existing_store,
    opened,
    read_document,
    setup,
)
from qaqpa.cli.options import run as run_command
from qaqpa.cli.render import out, print_json, table
from qaqpa.ledger.disclosures import DisclosureResult, Listed, Page, Query
from qaqpa.model.consent import ConsentingPerson
from qaqpa.model.request import parse


class _About(BaseModel):
    """A document that names a person: {"subject": {"iin": "..."}}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: ConsentingPerson


def find(
    caller: Caller,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From this legal day on, in the operator's zone.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Up to this day, it included.")] = None,
    by: Annotated[str | None, typer.Option(help="Only what this caller asked for.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only to this recipient.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only this operation.")] = None,
    purpose: Annotated[str | None, typer.Option(help="Only for this purpose.")] = None,
    ground: Annotated[str | None, typer.Option(help="Only on this ground.")] = None,
    clause: Annotated[str | None, typer.Option(help="Only where the decision cites this clause.")] = None,
    field: Annotated[str | None, typer.Option(help="Only where this field left: its path.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only refusals for this guard.")] = None,
    handover: Annotated[str | None, typer.Option(help="Only rows of this handover.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only about this person: the random id in the ledger.")] = None,
    about: Annotated[
        str | None,
        typer.Option(help='Only about the person in this document, {"subject": {"iin": "..."}}; - for standard input.'),
    ] = None,
    result: Annotated[DisclosureResult | None, typer.Option(help="Only with this result.")] = None,
    rejected_row: Annotated[
        bool, typer.Option("--rejected-row", help="Only rows that arrived and that the recipient's receipt rejects.")
    ] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many of the latest.")] = 20,
    before: Annotated[int | None, typer.Option(min=0, help="Only entries before this index: the next page.")] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Find disclosures: intents, rows of handovers, refusals, reports that served again. No IIN is an argument."""
    query = Query(
        since=since and since.date(), until=until and until.date(), caller=by, recipient=recipient, operation=operation,
        purpose=purpose, ground=ground, clause=clause, field=field, reason=reason, handover=handover, subject=subject,
        result=result, rejected_row=rejected_row or None, before=before,
    )  # fmt: skip
    iin = None if about is None else parse(_About, read_document(about)).subject.iin

    async def work() -> Page:
        async with opened(config, home) as gateway:
            return await gateway.reviewing.search(caller, query, count, iin=iin)

    existing_store(setup(config, home))
    page = run_command(work)
    if as_json:
        print_json(_document(page))
        return
    shown = table("index", "time", "result", "who → to whom", "operation", "clauses")
    for each in page.listed:
        shown.add_row(*(escape(cell) for cell in _row(each)))
    out.print(shown)
    if not page.is_whole:
        out.print(f"[yellow]the search ended early[/]: go on with --before {page.before}", soft_wrap=True)
    if page.in_files:
        files = escape(", ".join(page.in_files))
        out.print(f"[yellow]not looked into[/]: months that were moved to files ({files})", soft_wrap=True)


def _document(page: Page) -> dict[str, object]:
    return {
        "disclosures": [
            {
                "index": each.entry.index,
                "entry": each.entry.content,
                "result": each.result,
                "outcome": None if each.outcome is None else each.outcome.index,
                "settlement": None if each.settlement is None else each.settlement.index,
                "rejected": each.rejected,
            }
            for each in page.listed
        ],
        "next_before": page.before,
        "whole": page.is_whole,
        "behind": page.behind,
        "in_files": page.in_files,
    }


def _row(listed: Listed) -> tuple[str, ...]:
    content = listed.entry.content
    result = "in a file" if listed.result is None else listed.result.value
    if listed.rejected is not None:
        result += ", row rejected"
    who = f"{content['caller']} → {content['recipient']}"
    clauses = ", ".join(content["clauses"])
    return (str(listed.entry.index), content["time"], result, who, content["operation"], clauses)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(find)
