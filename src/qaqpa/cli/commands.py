"""What commands there are, and where each is. A module is imported when its command is given, and not before: most of
them open a gateway, and what that takes to import would be waited for by everybody who asks for help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("demo", "Run the shipped sample: real sockets, TLS and disk, synthetic people."),
    "serve": ("serve", "Serve /v1 to internal callers until interrupted; a stop finishes what is under way."),
    "check": (
        "check",
        "Check the configuration: print every problem, or the register of routes, fields, clauses and guards.",
    ),
    "doctor": ("doctor", "Look at everything this installation needs, and say what is wrong and what to do."),
    "disclose": (
        "disclose",
        "Disclose one person's data to one recipient for one purpose, if the policy permits, and print the answer.",
    ),
    "answer": ("disclose", "Print what a disclosure was answered; where its recipient answers later, wait for it."),
    "decide": ("disclose", "Say what would be decided on a request."),
    "migrate": ("migrate", "Upgrade the database's schema to this version's."),
    "approval": ("approval", "What takes two persons: see what is asked for, agree or refuse."),
    "backup": ("backup", "Write a consistent back-up while gateways run, and verify it."),
    "restore": ("backup", "Fill an empty database from a back-up."),
    "sandbox": ("sandbox", "Run stand-ins of the third parties until interrupted, and say how a gateway finds them."),
    "alert": ("alert", "Alerts: unusual volume, bursts of refusals, late checkpoints (5.5)."),
    "breach": ("breach", "The notice of a breach to the authority, within one business day (5.5)."),
    "consent": ("consent", "Record, show and withdraw consents (clauses 6.1 and 7.1(3))."),
    "console": ("console", "Let people into the web console of `qaqpa serve`."),
    "handover": ("handover", "Hand whole registers over: every row decided on its own, one sealed package."),
    "ledger": ("ledger", "Read, verify, prove and export the disclosure log."),
    "policy": ("policy", "What the policy allows, and what a draft of it would change."),
    "recipient": ("recipient", "List recipients; suspend or resume one."),
    "recall": ("recall", "Ask recipients to stop and destroy what left (5.5, 7.1(3))."),
    "subject": ("subject", "Tell a person what is held about them (7.1(1)), or erase them (7.1(3))."),
    "keys": ("keys", "Make and rotate the keyring, without which nobody can tell whom the ledger is about."),
    "token": ("token", "Make, list and revoke the API tokens of callers."),
}
"""By name, in the order of the help: the module, and the first sentence of the command's own help."""


class _Loading(MutableMapping[str, Any]):
    """Every command by its name, made when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module = import_module(f"qaqpa.cli.{COMMANDS[name][0]}")
            one = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
            if hasattr(module, "app"):
                one.add_typer(module.app, name=name)
            else:
                module.register(one)
            self._made |= typer.main.get_group(one).commands
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]


class Commands(TyperGroup):
    """`qaqpa` itself."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": None})
        self.commands = _Loading()

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of a help, as typer makes it, with nothing imported for it."""
        lines = [TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()]
        TyperGroup(name=self.name, commands=lines).format_commands(ctx, formatter)
