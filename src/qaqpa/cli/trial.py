"""`qaqpa serve --sandbox`: beside stand-ins of the third parties, ready to be tried. Synthetic people only."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from qaqpa.cli.options import opened, run, setup
from qaqpa.cli.render import out
from qaqpa.config.models import ConsoleRole
from qaqpa.console.sessions import make_link
from qaqpa.keys import Keyring
from qaqpa.service import tokens

CALLERS = ("loan-scoring", "collections", "compliance")
_DAYS = 1


def prepare(config: Path, home: Path, url: str) -> None:
    """A keyring if there is none, a token for each caller, and lines to try."""
    made = setup(config, home)
    if not made.keyring_path.exists():
        Keyring.create(made.keyring_path, made.unlock).close()

    async def make() -> dict[str, str]:
        async with opened(config, home) as gateway:
            return {
                of: (
                    await tokens.make_for(
                        gateway, of, caller="compliance", person="whoever tries this", reason="a trial",
                        lifetime=timedelta(days=_DAYS),
                    )
                )[1]
                for of in CALLERS
            }  # fmt: skip

    async def links() -> list[str]:
        """Two persons, because some acts take two."""
        async with opened(config, home) as gateway:
            made = [
                await make_link(gateway, ConsoleRole, caller="compliance", person=person, reason="a trial")
                for person in ("Trying One", "Trying Two")
            ]
        return [f"{url}/console/signin/link/{secret}" for secret, _ in made]

    examples = home / "sandbox" / "examples"
    out.print(f"Stand-ins of the third parties run beside it; tokens for {_DAYS} day:")
    for of, text in run(make).items():
        out.print(f"  {of:13} {text}", soft_wrap=True)
    out.print("The console, as two persons with every role; each link signs in once, within ten minutes:")
    for link in run(links):
        out.print(f"  {link}", soft_wrap=True)
    ask = f'curl -s {url}/v1/{{}} -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json"'
    out.print("For example, with TOKEN set to that of loan-scoring:")
    out.print(f"  {ask.format('consents')} -d @{examples}/consent.json", soft_wrap=True)
    out.print(f'  {ask.format("disclosures")} -H "Idempotency-Key: first" -d @{examples}/request.json', soft_wrap=True)
    where = f"{url}/v1/handovers?recipient=demo-collector&operation=handover&purpose=debt_collection"
    out.print("With that of collections, a whole register, which its Location tells of:")
    out.print(
        f'  curl -si \'{where}\' -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: register-1" '
        f'-H "Content-Type: text/csv" --data-binary @{examples}/debtors.csv',
        soft_wrap=True,
    )
