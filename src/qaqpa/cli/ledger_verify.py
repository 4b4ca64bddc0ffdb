"""`qaqpa ledger verify`: whether the ledger is what was entered and signed; that somebody verified is remembered."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from qaqpa.cli.options import CONFIG, HOME, Archives, ConfigFolder, Home, Json, existing_store, progress, setup
from qaqpa.cli.render import err, out, print_json
from qaqpa.errors import NotPossible, VerificationFailed
from qaqpa.gateway import Setup
from qaqpa.gateway.verifying import verify_and_remember
from qaqpa.ledger.archive import Bodies, from_folder
from qaqpa.ledger.checkpoints import opened as opened_note
from qaqpa.ledger.verify import Verified
from qaqpa.model.open_text import check_open_text
from qaqpa.tlog.notes import VerifierKey


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that somebody kept; may be given several times.")
    ] = None,
    archives: Archives = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Fail (6) also where not everything could be read: for a nightly job.")
    ] = False,
    person: Annotated[
        str | None, typer.Option(help="Who verifies, to be remembered; the user of this machine when absent.")
    ] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Hash every entry again, rebuild tree and registers, check every checkpoint. Says the first bad entry."""
    if person is not None:
        check_open_text(person=person)
    made = setup(config, home)
    kept_outside, given, is_remembered = outside(made), list[bytes](), False

    def kept() -> list[bytes]:
        if kept_outside is None:
            return given
        _require_checkpoint(made.checkpoint_path, kept_outside, made.log_key)
        return [*given, kept_outside]

    try:
        given += [_given(path, made.log_key) for path in checkpoint or ()]
        with progress("verifying") as advance:
            run = verify_and_remember(made, existing_store(made), person or _user(), kept, bodies(archives), advance)
        is_remembered = run.is_remembered
        if not is_remembered:
            err.print("[yellow]not remembered[/]: the database cannot be written from here", soft_wrap=True)
        found = _found(run.found, whole=whole)
    except VerificationFailed as error:
        if as_json:
            failed = {"verified": False, "index": error.index, "detail": str(error), "remembered": is_remembered}
            print_json(failed)
            raise typer.Exit(error.exit_code) from None
        raise
    outside_size = None if kept_outside is None else opened_note(kept_outside, made.log_key)[1].size
    if as_json:
        print_json(
            {
                "verified": True,
                "size": found.size,
                "in_tree": found.in_tree,
                "root": found.root.hex(),
                "kinds": dict(found.kinds),
                "checkpoints": found.checkpoints,
                "last_checkpoint": found.last_checkpoint,
                "checkpoint_outside": outside_size,
                "open_intents": len(found.open_intents),
                "unknown": len(found.unknown),
                "unread": found.unread,
                "whole": not found.unread,
                "compared_outside": bool(given or kept_outside),
                "remembered": is_remembered,
            }
        )
        return
    _print_verified(found)
    if not given and kept_outside is None:
        out.print(
            f"[yellow]nothing outside the database to compare with[/]: {escape(str(made.checkpoint_path))} is missing; "
            "whether the whole was set back nobody can tell here. Give a --checkpoint that somebody kept",
            soft_wrap=True,
        )
    if outside_size is not None and outside_size > found.last_checkpoint:
        out.print(
            f"[yellow]the database's last checkpoint is over {found.last_checkpoint} entries[/], that in "
            f"{made.checkpoint_path} over {outside_size}: a gateway was cut off, or somebody removed checkpoints "
            "from the database. The entries are those that the one outside was signed over",
            soft_wrap=True,
        )


def _found(found: Verified | VerificationFailed, *, whole: bool) -> Verified:
    if isinstance(found, VerificationFailed):
        raise found
    if whole and found.unread:
        raise VerificationFailed(
            f"{found.unread} entries lie in files and were not read: give --archives and the folder that holds them"
        )
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _given(path: Path, key: VerifierKey) -> bytes:
    """A checkpoint that somebody names: one of another ledger is their mistake, and says nothing of this one."""
    note = _read(path)
    _require_checkpoint(path, note, key)
    return note


def _require_checkpoint(path: Path, note: bytes, key: VerifierKey) -> None:
    try:
        opened_note(note, key)
    except VerificationFailed as error:
        raise VerificationFailed(f"{path} is not a checkpoint of this ledger: {error}") from None


def _print_verified(found: Verified) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    word = "[yellow]partly verified[/]" if found.unread else "[green]verified[/]"
    out.print(f"{word}  {found.size} entries ({kinds}), {found.checkpoints} checkpoints")
    out.print(f"root      {found.root.hex()}")
    if found.in_tree < found.size:
        out.print(
            f"[yellow]{found.size - found.in_tree} entries are not in the tree yet[/]; a running gateway adds them",
            soft_wrap=True,
        )
    if found.unread:
        out.print(
            f"[yellow]{found.unread} entries lie in files[/]: neither their bodies nor the registers were checked; "
            "give --archives",
            soft_wrap=True,
        )
    if found.open_intents:
        out.print(
            f"[yellow]disclosures without an outcome yet: {len(found.open_intents)}[/]; `qaqpa ledger open` lists them",
            soft_wrap=True,
        )
    if found.unknown:
        out.print(
            f"[yellow]disclosures that ended unknown: {len(found.unknown)}[/]; their data may have left; `qaqpa ledger "
            "open` lists them",
            soft_wrap=True,
        )


def bodies(folder: Path | None) -> Bodies | None:
    """What opens months that were moved to files."""
    return None if folder is None else from_folder(folder)


def outside(made: Setup) -> bytes | None:
    """The checkpoint that this machine keeps outside the database."""
    return _read(made.checkpoint_path) if made.checkpoint_path.exists() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotPossible([f"{path}: cannot be read: {error.strerror}"]) from None
