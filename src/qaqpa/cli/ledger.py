"""`qaqpa ledger`: list entries, show one, verify all, prove and export. A person's look is itself an entry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from qaqpa.cli import ledger_acts, ledger_find, ledger_verify
from qaqpa.cli.ledger_verify import bodies, outside
from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Archives,
    Caller,
    ConfigFolder,
    Home,
    Json,
    existing_store,
    opened,
    progress,
    run,
    setup,
)
from qaqpa.cli.render import out, print_json, table
from qaqpa.errors import InvalidRequest, NotFound, NotPossible
from qaqpa.ledger.checkpoints import last_note, proof_of
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.export import Exported
from qaqpa.ledger.read import Entry, Wanted, size_of

app = typer.Typer(help="Read, verify, prove and export the disclosure log.", no_args_is_help=True)
ledger_acts.register(app)
ledger_find.register(app)
ledger_verify.register(app)

Index = Annotated[int, typer.Argument(min=0, max=2**63 - 1, help="The entry's index.")]


@app.command()
def show(
    caller: Caller,
    index: Annotated[
        int | None, typer.Argument(min=0, max=2**63 - 1, help="Show this entry whole; the latest ones when absent.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100_000, help="How many of the latest.")] = 20,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only about this recipient.")] = None,
    before: Annotated[int | None, typer.Option(min=0, help="Only entries before this index: the next page.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The one entry's very bytes, as they were hashed.")] = False,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Show the latest entries, or one whole. Who an entry is about stays sealed; that you looked is entered."""
    wanted = Wanted(kind=kind.value if kind else None, recipient=recipient, before=before)
    if raw and index is None:
        raise InvalidRequest(["--raw: goes with the index of one entry"])

    async def work() -> list[Entry]:
        async with opened(config, home) as gateway:
            if index is not None:
                return [await gateway.compliance.entry(caller, index)]
            return await gateway.compliance.entries(caller, count, wanted)

    existing_store(setup(config, home))
    listed = run(work)
    shown = [{"index": entry.index, "leaf": entry.leaf.hex(), "entry": entry.content} for entry in listed]
    if raw:
        sys.stdout.buffer.write(listed[0].body)
    elif index is not None:
        print_json(shown[0])
    elif as_json:
        print_json(shown)
    else:
        _print(listed)


def _print(listed: list[Entry]) -> None:
    shown = table("index", "time", "kind", "who → to whom", "what", "clauses")
    for entry in listed:
        shown.add_row(*(escape(cell) for cell in _row(entry)))
    out.print(shown)


def _row(entry: Entry) -> tuple[str, ...]:
    content = entry.content
    who = f"{content['caller']} → {content['recipient']}" if "operation" in content else content.get("recipient", "")
    return (
        str(entry.index),
        content["time"],
        content["kind"],
        who or content.get("caller", ""),
        _what(content),
        ", ".join(content.get("clauses", [])),
    )


def _what(content: dict[str, Any]) -> str:
    draft = f"; draft: {content['shadow']['result']}" if "shadow" in content else ""
    return _said(content) + draft


def _said(content: dict[str, Any]) -> str:
    kind = content["kind"]
    if kind == Kind.INTENT and "package" in content:
        rows = content.get("rows", content.get("disclosures"))
        return f"{content['operation']}, a package of {rows:,}, {content['seal']}"
    if kind == Kind.INTENT:
        count = len(content["fields"])
        return f"{content['operation']}, {count} field{'s' if count != 1 else ''}, {content['seal']}"
    if kind == Kind.REUSED:
        return f"{content['operation']}, the report of …{content['disclosure'][-12:]} again"
    if kind == Kind.RECEIPT:
        about = content.get("handover") or content.get("recall", "")
        return f"{content['result']}, {content.get('rejected', 0):,} rejected, of …{about[-12:]}"
    if kind == Kind.RECALL:
        return f"of …{content['of'][-12:]} ({content['reason']}), due {content['due_on']}"
    if kind == Kind.OUTCOME:
        return f"{content['result']} ({content['code']}) of …{content['intent'][-12:]}"
    if kind == Kind.REFUSAL:
        reasons = (name for reason in content["reasons"] for name in reason["findings"] or [reason["guard"]])
        return f"{content['operation']}: {content['result']} ({', '.join(reasons)})"
    if kind == Kind.CONSENT:
        return f"for {', '.join(content['terms']['purposes'])}, by {content['evidence']}"
    if kind == Kind.WITHDRAWAL:
        return f"{content['state']} of …{content['consent'][-12:]}"
    if kind == Kind.CONTROL:
        return f"{content['act']} by {content['person']}: {content['reason']}"
    if kind == Kind.ERASURE:
        return f"subject …{content['subject'][-12:]} by {content['person']}: {content['reason']}"
    if kind == Kind.REVIEW:
        return " ".join([content["act"], *(f"{name} {value}" for name, value in content["selection"].items())])
    return ", ".join(version["id"] for version in content.get("versions", []))


@app.command()
def checkpoint(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """Print the last checkpoint: a signed note that whoever keeps it can hold against the ledger later."""
    made = setup(config, home)
    with existing_store(made).snapshot() as connection:
        note, size = last_note(connection, made.log_key, outside(made)), size_of(connection)
    if note is None:
        raise NotFound("the ledger has no checkpoint yet")
    if as_json:
        print_json({"checkpoint": note.decode(), "vkey": str(made.log_key), "entries": size})
        return
    sys.stdout.write(note.decode())


@app.command()
def prove(
    index: Index,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it here instead of printing it.")] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Prove that an entry stands in the ledger (C2SP tlog-proof). It holds nothing of the entry itself."""
    made = setup(config, home)
    with existing_store(made).snapshot() as connection:
        proof = proof_of(connection, made.log_key, index, outside(made))
    if output is None:
        sys.stdout.write(proof.decode())
        return
    try:
        output.write_bytes(proof)
    except OSError as error:
        raise NotPossible([f"{output}: cannot be written: {error.strerror}"]) from None
    out.print(f"[green]written[/] {output}; the verifier key is {made.log_key}", soft_wrap=True)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    caller: Caller,
    archives: Archives = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Write a folder that verifies by itself: entries, tiles, checkpoints, key, and a verifier in plain Python."""

    async def work() -> Exported:
        async with opened(config, home) as gateway:
            with progress("exporting") as advance:
                return await gateway.compliance.export(caller, folder, advance, bodies(archives))

    existing_store(setup(config, home))
    found = run(work)
    out.print(f"[green]written[/]  {found.size} entries to {found.folder}", soft_wrap=True)
    out.print(f"key      {found.vkey}", soft_wrap=True)
    out.print(f"Whoever gets it runs: python3 {found.folder}/verify.py {found.folder} --vkey KEY", soft_wrap=True)
    out.print("and has KEY from you by another way than the folder.")
