"""`qaqpa migrate`: bring the database to this version's schema."""

from __future__ import annotations

import typer

from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, existing_store, setup
from qaqpa.cli.render import out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Upgrade the database's schema to this version's. Make a back-up first."""
    revision = existing_store(setup(config, home)).migrate()
    out.print(f"[green]done[/]: the schema is at {revision}")
