"""`qaqpa keys`: the keyring."""

from __future__ import annotations

import typer

from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Caller,
    ConfigFolder,
    Home,
    Person,
    Reason,
    make_private,
    opened,
    progress,
    run,
    setup,
)
from qaqpa.cli.render import out
from qaqpa.keys import Keyring
from qaqpa.ledger.rotation import Rotated

app = typer.Typer(
    help="Make and rotate the keyring, without which nobody can tell whom the ledger is about.", no_args_is_help=True
)


@app.command()
def init(config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Make a new keyring. Never overwrites one."""
    made = setup(config, home)
    make_private(home)
    keyring = Keyring.create(made.keyring_path, made.unlock)
    keyring.close()
    out.print(f"[green]made[/] keyring {keyring.id} at {made.keyring_path}", soft_wrap=True)
    out.print(f"The ledger's verifier key, for whoever shall verify it:\n  {made.log_key}", soft_wrap=True)
    out.print("Keep a copy apart from the database's back-ups: whoever has both can read whom the ledger is about.")


@app.command()
def show(config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Print the ledger's verifier key. It is public."""
    out.print(str(setup(config, home).log_key), soft_wrap=True)


@app.command()
def rotate(caller: Caller, person: Person, reason: Reason, config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Begin a new epoch: wrap the living subjects' keys anew and destroy the old epoch's. Erasures take effect.

    Gateways go on meanwhile. Cut off, it goes on when it is run again.
    """

    async def work() -> Rotated:
        async with opened(config, home) as gateway:
            with progress("re-wrapping") as advance:
                return await gateway.compliance.rotate_keys(caller, person=person, reason=reason, progress=advance)

    found = run(work)
    epochs = ", ".join(map(str, found.destroyed)) or "none"
    out.print(
        f"[green]rotated[/] to epoch {found.epoch}: {found.subjects} subjects' keys, destroyed epochs: {epochs}",
        soft_wrap=True,
    )
    if found.pending:
        out.print(
            f"[yellow]{found.pending} erasures are still pending[/]: they came after this epoch had begun, in a "
            "rotation that was cut off. Run `qaqpa keys rotate` once more",
            soft_wrap=True,
        )
    out.print(
        f"Erasures in effect: {found.erasures}. [yellow]Older back-ups of the database can't be read any more[/]: take "
        "a new one now (`qaqpa backup`), and a new copy of the keyring; destroy the old copies of the keyring.",
        soft_wrap=True,
    )
