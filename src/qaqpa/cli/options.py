"""Options that commands share, and the way from them to an open gateway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qaqpa.cli.render import err, speech
from qaqpa.errors import InvalidRequest, NotConfigured, NotFound, StoreError
from qaqpa.gateway import Gateway, Setup, load_setup
from qaqpa.gateway.shell import system_user
from qaqpa.ledger.checkpoints import latest_note
from qaqpa.model.actors import SHELL, Actor, called
from qaqpa.store import Store, store_at

Result = TypeVar("Result")

ConfigFolder = Annotated[
    Path, typer.Option("--config", envvar="QAQPA_CONFIG", help="Folder of the configuration.", show_default=True)
]
Home = Annotated[
    Path, typer.Option("--home", envvar="QAQPA_HOME", help="Folder of database, keyring and keys.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Caller = Annotated[str, typer.Option("--caller", envvar="QAQPA_CALLER", help="Who asks: a name in callers.toml.")]
Person = Annotated[str, typer.Option(help="Who decides this; entered in the ledger.")]
Reason = Annotated[str, typer.Option(help="Why; entered in the ledger, so name no data subject.")]
Document = Annotated[str, typer.Argument(help="File with the JSON document, or - for standard input.")]
Archives = Annotated[Path | None, typer.Option(help="Folder of the months that were moved to files.")]

CONFIG = Path("config")
HOME = Path("var")


def setup(config: Path, home: Path) -> Setup:
    """The configuration, checked. Raises ConfigError or NotConfigured."""
    if not config.is_dir():
        raise NotConfigured(
            f"there is no configuration folder {config}: run in the folder that holds config/, or give --config"
        )
    made = load_setup(config, home=home)
    speech.language = made.config.gateway.language
    return made


@asynccontextmanager
async def opened(config: Path, home: Path) -> AsyncIterator[Gateway]:
    """An open gateway."""
    make_private(home)
    made = setup(config, home)
    if not made.checkpoint_path.exists() and _has_checkpoints(made):
        say_nothing_outside(made)
    async with Gateway.open(made) as gateway:
        yield gateway


def _has_checkpoints(made: Setup) -> bool:
    with suppress(StoreError):  # opening says it
        store = store_at(made.store_url, made.home)
        if store.exists():
            with store.snapshot() as connection:
                return latest_note(connection) is not None
    return False


def say_nothing_outside(made: Setup) -> None:
    """On standard error: the database is held against nothing but itself."""
    err.print(
        f"[yellow]caution[/]: {escape(str(made.checkpoint_path))} is missing, so nothing outside the database tells "
        "whether it was set back. Right once on a new machine; else ask who removed it. It is made again",
        soft_wrap=True,
    )


def make_private(home: Path) -> None:
    """A new home belongs to its owner alone."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotConfigured(f"the home folder {home} cannot be made: {error.strerror}; give --home") from None


def run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run one asynchronous command."""
    return asyncio.run(work())


def at_shell(person: str) -> Actor:
    """A person who gives their name here, with whoever the operating system says runs this."""
    return called(person, SHELL, system_user())


def read_document(name: str) -> bytes:
    """The bytes of a file, or of standard input for `-`. Raises InvalidRequest."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidRequest([f"{name} cannot be read: {error.strerror}"]) from None


def existing_store(made: Setup) -> Store:
    """The store without keys, for reading what is public; never makes one. Raises NotFound, StoreUnavailable."""
    store = store_at(made.store_url, made.home)
    if not store.exists():
        raise NotFound(f"there is no ledger in {store.engine.describe()}; the first disclosure or consent makes one")
    return store


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error that goes away when it is done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
