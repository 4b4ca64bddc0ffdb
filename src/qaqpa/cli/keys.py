"""`qaqpa keys`: the keyring."""

from __future__ import annotations

import typer

from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, setup
from qaqpa.cli.render import out
from qaqpa.ledger import Keyring

app = typer.Typer(
    help="Make the keyring, without which nobody can tell whom the ledger is about.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Commands on the keyring."""


@app.command()
def init(config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Make a new keyring (mode 0600). Never overwrites one."""
    made = setup(config, home)
    path = home / made.resolve(made.config.gateway.keys.keyring, "keys.keyring")
    keyring = Keyring.create(path)
    out.print(f"[green]made[/] keyring {keyring.id} at {path}")
    out.print("Keep a copy apart from the database's back-ups: whoever has both can read whom the ledger is about.")
