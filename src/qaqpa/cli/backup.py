"""`qaqpa backup` and `qaqpa restore`."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Caller,
    ConfigFolder,
    Home,
    existing_store,
    make_private,
    opened,
    progress,
    run,
    say_nothing_outside,
    setup,
)
from qaqpa.cli.render import out
from qaqpa.errors import InvalidRequest
from qaqpa.gateway import Gateway, Setup
from qaqpa.gateway.compliance import check_loss_can_be_entered
from qaqpa.keys import Keyring
from qaqpa.ledger.backup import restore as restore_file
from qaqpa.ledger.checkpoints import Outside
from qaqpa.ledger.verify import Verified
from qaqpa.store import store_at


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="A new file; it is an SQLite database, whatever the engine.")],
    caller: Caller,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Write a consistent back-up while gateways run, and verify it. Keyring and checkpoint are not in it."""

    async def work() -> Verified:
        async with opened(config, home) as gateway:
            with progress("backing up") as advance:
                return (await gateway.compliance.back_up(caller, file, advance)).found

    made = setup(config, home)
    existing_store(made)
    found = run(work)
    out.print(f"[green]written[/] {found.size} entries to {file}, verified; root {found.root.hex()}", soft_wrap=True)
    out.print(f"Keep apart from it: {made.keyring_path} and {made.checkpoint_path}", soft_wrap=True)


def restore(
    file: Annotated[Path, typer.Argument(help="A back-up.")],
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Restore although entries are lost; that is entered.")
    ] = False,
    caller: Annotated[str | None, typer.Option(envvar="QAQPA_CALLER", help="Who asks, with --accept-loss.")] = None,
    person: Annotated[str | None, typer.Option(help="Who decides it, with --accept-loss.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, with --accept-loss; name no data subject.")] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Fill an empty database from a back-up. Refuses one that the checkpoint outside the database is newer than."""
    made = setup(config, home)
    if accept_loss:
        if not (caller and person and reason):
            raise InvalidRequest(["--accept-loss: needs --caller, --person and --reason, which are entered"])
        check_loss_can_be_entered(made, caller, person=person, reason=reason)
    make_private(home)
    if not made.checkpoint_path.exists():
        say_nothing_outside(made)
    store = store_at(made.store_url, made.home)
    accepted = {"caller": caller, "person": person, "reason": reason} if caller and person and reason else None
    with closing(Keyring.load(made.keyring_path, made.unlock)) as keyring, progress("restoring") as advance:
        outside = Outside(made.checkpoint_path, made.log_key)
        found = restore_file(file, store, keyring, outside, advance, accepted=accepted if accept_loss else None)
    run(lambda: _open(made))
    out.print(f"[green]restored[/] {found.found.size} entries; root {found.found.root.hex()}", soft_wrap=True)
    if found.unreadable:
        out.print(
            f"[yellow]unreadable[/]: the sealed parts about {found.unreadable} subjects, whose keys were destroyed "
            "when the keys were rotated after this back-up was made",
            soft_wrap=True,
        )
    if found.lost is not None:
        out.print(
            f"[yellow]lost[/]: what a checkpoint over {found.lost.size} entries was signed over; that is entered. It "
            f"is kept as {os.path.realpath(made.checkpoint_path)}.lost-{found.lost.size}; witnesses will refuse "
            "this ledger. What was entered after the back-up is gone, erasures, withdrawals and suspensions too: "
            "repeat them",
            soft_wrap=True,
        )


async def _open(made: Setup) -> None:
    """Once, so that a loss is entered and what was cut off is concluded."""
    async with Gateway.open(made):
        pass
