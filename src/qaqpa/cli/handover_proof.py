"""`qaqpa handover`, what proves: the manifest and its signature, the key, and the states drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, opened, read_document, run
from qaqpa.cli.render import out, print_json, table
from qaqpa.errors import InvalidRequest, VerificationFailed
from qaqpa.gateway.handover_answers import NEXT
from qaqpa.model.handover import HandoverState

Id = Annotated[str, typer.Argument(help="The handover's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (manifest, verify, key, states):
        app.command()(command)


def manifest(
    handover: Id,
    caller: Caller = "collections",
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Write manifest.json and manifest.sig into this folder.")
    ] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Print the manifest of a package, or write it with its signature."""
    from qaqpa.handover.manifest import NAME, SIGNATURE  # noqa: PLC0415

    async def work() -> tuple[bytes, bytes]:
        async with opened(config, home) as gateway:
            content = await gateway.handovers.manifest(caller, handover)
            return content, await gateway.handovers.signature(caller, handover)

    content, note = run(work)
    if out_folder is None:
        typer.echo(content, nl=False)
        return
    try:
        out_folder.mkdir(parents=True, exist_ok=True)
        (out_folder / NAME).write_bytes(content)
        (out_folder / SIGNATURE).write_bytes(note)
    except OSError as error:
        raise InvalidRequest([f"--out {out_folder} cannot be written to: {error.strerror}"]) from None
    key = orjson.loads(content)["verifier_key"]
    out.print(f"qaqpa handover verify {out_folder / NAME} {out_folder / SIGNATURE} --key {key}", soft_wrap=True)


def verify(
    manifest_file: Annotated[str, typer.Argument(metavar="MANIFEST", help="manifest.json of a package.")],
    signature_file: Annotated[str, typer.Argument(metavar="SIGNATURE", help="manifest.sig beside it.")],
    key: Annotated[str, typer.Option(help="The operator's verifier key, got by a way of its own; not the manifest's.")],
    as_json: Json = False,
) -> None:
    """Check the operator's signature over a manifest. Needs no configuration and no network."""
    from qaqpa.handover.manifest import verified  # noqa: PLC0415
    from qaqpa.tlog.notes import VerifierKey  # noqa: PLC0415

    content, note = read_document(manifest_file), read_document(signature_file)
    if not note.strip():
        raise VerificationFailed("there is no signature in the file")
    said = verified(content, note, VerifierKey.parse(key.strip()))
    if as_json:
        print_json(said)
        return
    what = f"the notice of recall {said['notice']}" if "notice" in said else said["handover"]
    out.print(f"[green]verified[/]: {said['operator']['name']} signed the manifest of {what}", soft_wrap=True)
    register = said["register"]
    for member in (register, *said["others"]):
        out.print(f"  {member['file']}: {member['bytes']:,} bytes, sha256 {member['sha256']}", soft_wrap=True)
    rows = said["disclosures"] if "notice" in said else said["rows"]["go"]
    out.print(f"  {rows:,} rows; compare the files of the package with these digests (sha256sum)")


def key(config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Print the key that recipients check manifests with; give it to them by a way of its own."""

    async def work() -> str:
        async with opened(config, home) as gateway:
            return str(gateway.handovers.flow.packer.key)

    typer.echo(run(work))


STATES = """\
queued ──▶ deciding ──▶ packaged ──▶ sending ──▶ sent ──▶ acknowledged
   │           │            │           │          └────▶ rejected
   │           │            │           └──▶ unknown ──▶ sent | rejected | cancelled (a person found out)
   └───────────┴────────────┴───────────┴──▶ cancelled (nothing was sent)"""
_MEANING = {
    HandoverState.QUEUED: "the register is here, encrypted; nothing is decided yet",
    HandoverState.DECIDING: "row by row: decided, entered in the ledger, cut, written into the package",
    HandoverState.PACKAGED: "the package is whole and sealed; it waits for the recipient's window and its turn",
    HandoverState.SENDING: "it is in the ledger that the package leaves; bytes of it may have left",
    HandoverState.SENT: "the recipient's machine has all of it; a receipt is awaited",
    HandoverState.ACKNOWLEDGED: "the receipt came; single rows may be rejected",
    HandoverState.REJECTED: "the receipt rejects the package as a whole",
    HandoverState.UNKNOWN: "it may have arrived; it is never sent again without a person (`qaqpa ledger settle`)",
    HandoverState.CANCELLED: "nothing of it was sent, and nothing will be",
}


def states(as_json: Json = False) -> None:
    """Draw where a handover can stand, and what follows what."""
    if as_json:
        print_json({state.value: [each.value for each in follows] for state, follows in NEXT.items()})
        return
    out.print(STATES, soft_wrap=True, markup=False)
    out.print()
    made = table("state", "means", "then")
    for state, follows in NEXT.items():
        made.add_row(state.value, _MEANING[state], ", ".join(each.value for each in follows) or "nothing")
    out.print(made)
