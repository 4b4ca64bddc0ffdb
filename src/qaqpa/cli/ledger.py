"""`qaqpa ledger`: list entries, show one, verify all. Needs no key; sealed parts stay sealed."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, existing_store, opened, run
from qaqpa.cli.render import err, out, print_json, table
from qaqpa.errors import VerificationFailed
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.merkle import EMPTY_ROOT
from qaqpa.ledger.read import Entry, entry_at, latest, size_and_root
from qaqpa.ledger.verify import verify as verify_snapshot

app = typer.Typer(help="Read and verify the disclosure log.", no_args_is_help=True)


@app.command()
def show(
    index: Annotated[
        int | None, typer.Argument(min=0, max=2**63 - 1, help="Show this entry whole; the latest ones when absent.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many of the latest.")] = 20,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Show the latest entries, or one whole. Who an entry is about stays sealed."""
    with existing_store(config, home).snapshot() as connection:
        if index is not None:
            entry = entry_at(connection, index)
            print_json({"index": entry.index, "leaf": entry.leaf.hex(), "entry": entry.content})
            return
        listed = latest(connection, count, kind=kind.value if kind else None)
        state = size_and_root(connection)
    if as_json:
        print_json([{"index": entry.index, "leaf": entry.leaf.hex(), "entry": entry.content} for entry in listed])
        return
    shown = table("index", "time", "kind", "who → to whom", "what", "clauses")
    for entry in listed:
        shown.add_row(*(escape(cell) for cell in _row(entry)))
    out.print(shown)
    size, root = state or (0, EMPTY_ROOT)
    out.print(f"\n{size} entries, root {root.hex()}")


def _row(entry: Entry) -> tuple[str, ...]:
    content = entry.content
    who = f"{content['caller']} → {content['recipient']}" if "operation" in content else content.get("recipient", "")
    return (
        str(entry.index),
        content["time"],
        content["kind"],
        who,
        _what(content),
        ", ".join(content.get("clauses", [])),
    )


def _what(content: dict[str, Any]) -> str:
    kind = content["kind"]
    if kind == Kind.INTENT:
        count = len(content["fields"])
        return f"{content['operation']}, {count} field{'s' if count != 1 else ''}, {content['seal']}"
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
    return ", ".join(version["id"] for version in content.get("versions", []))


@app.command("accept-clock")
def accept_clock(
    caller: Caller,
    person: Annotated[str, typer.Option(help="Who decides this; entered in the ledger.")],
    reason: Annotated[str, typer.Option(help="Why; entered in the ledger, so name no data subject.")],
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Go on from the clock as it is, where it had run ahead before and the ledger now holds a later time."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await gateway.accept_clock(caller, person=person, reason=reason)

    run(work)
    out.print("[green]accepted[/]: the ledger goes on from the clock as it is now; that is entered, too")


@app.command()
def verify(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """Hash every entry again, rebuild the tree and compare. Says the first bad entry."""
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn())
    with existing_store(config, home).snapshot() as connection, Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        try:
            found = verify_snapshot(connection, lambda done, size: bar.update(task, completed=done, total=size))
        except VerificationFailed as error:
            if as_json:
                print_json({"verified": False, "index": error.index, "detail": str(error)})
                raise typer.Exit(error.exit_code) from None
            raise
    if as_json:
        print_json(
            {
                "verified": True,
                "size": found.size,
                "root": found.root.hex(),
                "kinds": found.kinds,
                "open_intents": list(found.open_intents),
            }
        )
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    out.print(f"[green]verified[/]  {found.size} entries ({kinds})\nroot      {found.root.hex()}")
    if found.open_intents:
        out.print(
            f"[yellow]{len(found.open_intents)} intents have no outcome[/]: being sent now, or cut off by a crash; "
            "their data may have left:"
        )
        for disclosure in found.open_intents[:20]:
            out.print(f"  {disclosure}")
