"""`qaqpa subject`: what concerns one person."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

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
    opened,
    read_document,
    run,
)
from qaqpa.cli.render import out, print_json
from qaqpa.ledger.erasure import Erased
from qaqpa.model.consent import ConsentingPerson
from qaqpa.model.request import parse

app = typer.Typer(help="Erase a person from the ledger (7.1(3)).", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Commands on one person."""


class _About(BaseModel):
    """A document that names a person: {"subject": {"iin": "..."}}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: ConsentingPerson


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
    """Delete a person's key. The document is {"subject": {"iin": "..."}}; an IIN is never given as an argument."""
    about = parse(_About, read_document(subject))

    async def work() -> Erased:
        async with opened(config, home) as gateway:
            return await gateway.compliance.erase(
                caller,
                about.subject.iin,
                person=person,
                reason=reason,
                duties_met=duties_met,
                instrument=instrument,
            )

    found = run(work)
    if as_json:
        print_json({"subject": found.subject, "entry": found.index, "state": "pending", "epoch": found.epoch})
        return
    out.print(
        f"[green]erased[/] subject {found.subject}, entry {found.index}: no gateway can read about them any more",
        soft_wrap=True,
    )
    out.print(
        f"[yellow]pending[/]: back-ups still hold the key, wrapped in epoch {found.epoch}. "
        "`qaqpa keys rotate` destroys that epoch and puts the erasure into effect",
        soft_wrap=True,
    )
