"""`qaqpa demo`: the jobs of scoring and collections on synthetic people, and what came of them."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from qaqpa.cli.handover_check import alike_lines, print_reasons
from qaqpa.cli.options import CONFIG, ConfigFolder, Json
from qaqpa.cli.options import run as run_async
from qaqpa.cli.render import err, out, print_json, table
from qaqpa.demo import AT_ONCE, Summary
from qaqpa.demo import run as run_demo
from qaqpa.demo_handovers import Handed
from qaqpa.errors import VerificationFailed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    people: Annotated[int, typer.Option(min=10, help="How many synthetic applicants.")] = 200,
    debtors: Annotated[int, typer.Option(min=0, help="How many rows a register has; 0 for none.")] = 2_000,
    home: Annotated[Path | None, typer.Option(help="Keep database, keys and logs here; thrown away if absent.")] = None,
    config: ConfigFolder = CONFIG,
    as_json: Json = False,
) -> None:
    """Run the shipped sample: real sockets, TLS and disk, synthetic people. Ends by itself."""
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        _demo(config, home, people, debtors, as_json=as_json)
        return
    with tempfile.TemporaryDirectory(prefix="qaqpa-demo-") as folder:
        _demo(config, Path(folder), people, debtors, as_json=as_json)


def _demo(config: Path, home: Path, people: int, debtors: int, *, as_json: bool) -> None:
    columns = (TextColumn("scoring and collections"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        summary = run_async(lambda: run_demo(config, home, count=people, debtors=debtors, progress=tell))
    if as_json:
        print_json(_as_data(summary))
    else:
        _print(summary)
    if not summary.outsider.get("verified"):
        raise VerificationFailed("the exported ledger does not verify without us")
    if summary.unaccounted:
        raise VerificationFailed(f"{summary.unaccounted} requests arrived that the ledger does not account for")


def _milliseconds(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=20)
    return {"p50": round(cuts[9], 2), "p95": round(cuts[18], 2)}


def _as_data(summary: Summary) -> dict[str, object]:
    found = summary.verified
    return {
        "people": summary.people,
        "left": [
            {"recipient": key[0], "operation": key[1], "clauses": key[2].split(", "), "fields": key[3], "count": count}
            for key, count in sorted(summary.left.items())
        ],
        "withheld": dict(sorted(summary.withheld.items())),
        "cut": dict(sorted(summary.cut.items())),
        "refused": [
            {"result": key[0], "reason": key[1], "clause": key[2], "count": count}
            for key, count in sorted(summary.refused.items())
        ],
        "malformed": dict(summary.malformed),
        "third_party_failed": dict(summary.failed),
        "handovers": [
            {
                "recipient": one.recipient,
                "operation": one.operation,
                "state": one.state,
                "rows": one.rows,
                "bytes": one.bytes,
                "tried": None if one.tried is None else one.tried.as_data(),
                "not_sent_or_rejected": None if one.tally is None else one.tally.as_data(),
                "alike": one.alike,
                "receipt": one.receipt,
                "opened": one.opened,
                "seconds": round(one.seconds, 2),
            }
            for one in summary.handed
        ],
        "uploaded": None if summary.uploaded is None else asdict(summary.uploaded),
        "recalled": None if summary.recalled is None else asdict(summary.recalled),
        "added_ms": _milliseconds(summary.added_ms),
        "third_party_ms": _milliseconds(summary.wire_ms),
        "received": summary.received,
        "unaccounted": summary.unaccounted,
        "ledger": {"size": found.size, "root": found.root.hex(), "kinds": found.kinds} if found else None,
        "verified": found is not None,
        "verified_by_outsider": summary.outsider.get("verified", False),
        "seconds": round(summary.seconds, 2),
    }


def _print(summary: Summary) -> None:
    out.print(f"\n[bold]What left[/], of {summary.people} synthetic people, and under which clause")
    left = table("to whom", "what for", "fields", "times")
    for (recipient, operation, clauses, fields), count in sorted(summary.left.items()):
        left.add_row(recipient, f"{operation}\n{clauses}", _names(fields), str(count))
    out.print(left)

    out.print("\n[bold]What was withheld[/]: handed in, but not passed by the route that was asked for")
    out.print("  " + _grouped(summary.withheld), soft_wrap=True)
    out.print("[bold]What was cut from answers[/]: came back, but the purpose does not need it")
    out.print("  " + _grouped(summary.cut), soft_wrap=True)

    refusals = summary.verified.kinds.get("refusal", 0) if summary.verified else 0
    out.print(
        f"\n[bold]What was refused, and why[/]: {refusals} refusal entries, those of "
        "registers (below) included, some with several reasons; "
        "what was malformed was not even decided. Not a byte left"
    )
    refused = table("result", "reason", "clause", "times")
    for (result, reason, clause), count in sorted(summary.refused.items()):
        colour = "red" if result == "deny" else "yellow"
        refused.add_row(f"[{colour}]{result}[/]", reason, clause, str(count))
    for problem, count in sorted(summary.malformed.items()):
        refused.add_row("[yellow]malformed[/]", problem, "", str(count))
    out.print(refused)

    out.print("\n[bold]What the third party did not serve[/]: it left, the caller got an error, the ledger says so")
    out.print("  " + (", ".join(f"{code} ×{count}" for code, count in sorted(summary.failed.items())) or "nothing"))
    for note, count in summary.notes.items():
        out.print(f"[bold]Said beside a permit[/] ×{count}: {note}")

    _print_handed(summary.handed)
    if summary.uploaded is not None:
        told = summary.uploaded
        out.print(
            f"[green]{told.state}[/] state-credit-bureau, contract_upload: {told.contracts} contracts in one document, "
            f"{told.rejected} rejected"
        )
    if summary.recalled is not None:
        asked = summary.recalled
        out.print(
            f"[green]{asked.state}[/] recall of one row to {asked.recipient}: a signed notice of ids alone; destroy by "
            f"{asked.due_on} ({asked.disclosure})",
            soft_wrap=True,
        )
    added, wire = _milliseconds(summary.added_ms), _milliseconds(summary.wire_ms)
    out.print(
        f"\n[bold]Time[/] added by the gateway: median {added['p50']} ms, 95% under {added['p95']} ms "
        f"(third party: {wire['p50']} ms; {AT_ONCE} at once, two durable ledger entries each)"
    )
    if summary.verified is None:
        return
    found = summary.verified
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds.items()))
    out.print(f"[bold]Ledger[/] {found.size} entries ({kinds})")
    out.print(f"  root {found.root.hex()}")
    in_packages = sum(one.rows + 1 for one in summary.handed)  # each row, and each package as a whole
    in_packages += 0 if summary.uploaded is None else summary.uploaded.contracts + 1
    in_packages += 0 if summary.recalled is None else 1
    out.print(
        f"  third parties received {summary.received} requests and {len(summary.handed)} packages; the ledger holds "
        f"{found.kinds['intent'] - in_packages} intents of single disclosures and {in_packages} of rows and packages, "
        f"{len(found.open_intents)} of them open"
    )
    out.print(
        f"  bytes that bureaus and pension centre received and no intent's digest matches: "
        f"[{'red' if summary.unaccounted else 'green'}]{summary.unaccounted}[/]"
    )
    out.print(f"  checkpoint signed over {found.in_tree} entries, kept outside the database too")
    out.print(
        f"  exported, and verified by a program that needs Python and the public key only: {summary.outsider['size']} "
        "entries, every tile and the signature"
    )
    out.print(f"[green]verified[/] in {summary.seconds:.1f} s")


def _print_handed(handed: Sequence[Handed]) -> None:
    """Whole registers: what the dry run said, what went, what stayed behind, what was acknowledged."""
    for one in handed:
        if one.tried is not None:
            held, total = one.tried.held, sum(one.tried.results.values())
            out.print(f"\n[bold]A register of {total:,} debtors, tried dry[/]: {held:,} of its rows must not go")
            print_reasons(one.tried)
            out.print(
                "\n[bold]Whole registers[/]: every row decided, in the ledger, and in one package sealed with age"
            )
        out.print(
            f"[green]{one.state}[/] {one.recipient}, {one.operation}: {one.rows:,} rows in {one.bytes / 1000:,.0f} kB "
            f"by SFTP after {one.seconds:.1f} s; the recipient opened it, held every file against the signed manifest "
            f"and counted {(one.opened or {}).get('rows', 0):,} rows",
            soft_wrap=True,
        )
        if one.alike is not None:
            for line in alike_lines(one.alike):
                out.print(f"  {line}", soft_wrap=True)
        if one.tally is not None:
            results = {result.name.lower(): count for result, count in sorted(one.tally.results.items())}
            out.print("  stayed behind or came back: " + ", ".join(f"{name} {n:,}" for name, n in results.items()))
        if one.receipt is not None:
            said = "signed receipt" if one.receipt["signed"] else "receipt"
            out.print(f"  {said}: {one.receipt['result']}, {one.receipt['rejected']} rows rejected")


def _names(fields: tuple[str, ...]) -> str:
    return ", ".join(fields) if len(fields) <= 6 else f"{', '.join(fields[:5])} and {len(fields) - 5} more"


def _grouped(counts: dict[str, int]) -> str:
    groups: dict[str, list[str]] = {}
    for path in sorted(counts):
        group, _, rest = path.partition(".")
        groups.setdefault(group, []).append(rest)
    return "; ".join(f"[bold]{group}[/]: {', '.join(names)}" for group, names in groups.items()) or "nothing"
