"""Read a configuration folder: strict, all problems at once, each with file, line and key."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from qaqpa.config.base import File
from qaqpa.config.lines import Key, line_of, locate
from qaqpa.config.models import (
    CallerConfig,
    CallersFile,
    ClausesFile,
    Config,
    GatewayFile,
    GuardsFile,
    KeysConfig,
    LedgerConfig,
    OperatorConfig,
    PolicyFile,
    StoreConfig,
)
from qaqpa.config.recipients import RecipientFile
from qaqpa.errors import Problem
from qaqpa.model.words import SealKind

Shape = TypeVar("Shape", bound=File)

GATEWAY, CALLERS = "gateway.toml", "callers.toml"
POLICY, CLAUSES, GUARDS = "policy/policy.toml", "policy/clauses.toml", "policy/guards.toml"
RECIPIENTS = "recipients"
_TAGS = {"seal": frozenset(SealKind), "signer": frozenset({"rsa", "sidecar"})}


@dataclass(slots=True)
class Source:
    """A configuration folder while it is read: texts for line numbers, and the problems found so far."""

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def problem(self, file: str, key: Key, message: str) -> None:
        """Note a problem at `key` of `file`."""
        line = line_of(locate(self.texts.get(file, "")), key)
        self.problems.append(Problem(file, line, ".".join(str(part) for part in key), message))

    def read(self, file: str, shape: type[Shape]) -> Shape | None:
        """The file as `shape`, or None with its problems noted."""
        try:
            content = (self.folder / file).read_bytes()
            text = content.decode()
            document = _document(text)
        except OSError as error:
            self.problem(file, (), f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.problem(file, (), "is not UTF-8")
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+)", str(error))
            self.problems.append(Problem(file, int(at[1]) if at else 0, "", f"is not TOML: {error}"))
        else:
            self.digest.update(f"{file}\0{len(content)}\0".encode() + content)
            self.texts[file] = text
            return self._shaped(file, document, shape)
        return None

    def _shaped(self, file: str, document: dict[str, Any], shape: type[Shape]) -> Shape | None:
        try:
            return shape.model_validate(document)
        except ValidationError as error:
            all_found = error.errors(include_url=False, include_input=False)
            for found in all_found:
                # pydantic says of a list whose only item is wrong that it is empty, too.
                if found["type"] == "too_short" and any(
                    other is not found and other["loc"][: len(found["loc"])] == found["loc"] for other in all_found
                ):
                    continue
                key = tuple(part for part in found["loc"] if part != "[key]")
                if len(key) > 1 and key[1] in _TAGS.get(str(key[0]), ()):
                    key = (key[0], *key[2:])  # pydantic puts the union's tag into the path
                message = found["msg"].removeprefix("Value error, ")
                if found["type"] == "extra_forbidden":
                    message = "unknown key: look for a typing error, or remove it"
                elif found["type"] == "missing":
                    message = "is missing"
                self.problem(file, key, message)
            return None


def _document(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


_STAND_IN = GatewayFile(
    version=1,
    operator=OperatorConfig(name="unknown", bin="230340000017"),
    store=StoreConfig(url="sqlite:///qaqpa.db"),
    keys=KeysConfig(keyring="keyring.json"),
    ledger=LedgerConfig(origin="none.invalid"),
)
"""In the place of a gateway.toml that has problems; nothing opens with it."""


def load(folder: Path) -> tuple[Config, Source]:
    """The configuration in `folder` and its source, with the problems found so far: nothing opens with any."""
    source = Source(folder)
    gateway = source.read(GATEWAY, GatewayFile)
    callers = source.read(CALLERS, CallersFile)
    unread = {file for file, shaped in ((GATEWAY, gateway), (CALLERS, callers)) if shaped is None}
    config = _with_policy(source, gateway or _STAND_IN, callers.callers if callers else {}, unread)
    for name, caller in config.callers.items():
        if caller.recipient is not None and not (source.folder / RECIPIENTS / f"{caller.recipient}.toml").is_file():
            source.problem(CALLERS, ("callers", name, "recipient"), f"there is no {RECIPIENTS}/{caller.recipient}.toml")
    return config, source


def load_draft(folder: Path, in_force: Config) -> tuple[Config, Source]:
    """`in_force` with the policy and the recipients of `folder` in the place of its own; what else lies there is not
    read. Both stand there whole: what is absent from a draft is not taken from the policy in force.
    """
    source = Source(folder)
    config = _with_policy(source, in_force.gateway, in_force.callers, set())
    if not config.recipients and not source.problems:
        source.problem(RECIPIENTS, (), "holds no file: a draft has policy/ and recipients/ whole")
    return config, source


def _with_policy(source: Source, gateway: GatewayFile, callers: Mapping[str, CallerConfig], unread: set[str]) -> Config:
    policy = source.read(POLICY, PolicyFile)
    clauses = source.read(CLAUSES, ClausesFile)
    guards = source.read(GUARDS, GuardsFile)
    recipients: dict[str, RecipientFile] = {}
    for path in sorted((source.folder / RECIPIENTS).glob("*.toml")):
        recipient = source.read(f"{RECIPIENTS}/{path.name}", RecipientFile)
        if recipient is not None and recipient.id != path.stem:
            source.problem(f"{RECIPIENTS}/{path.name}", ("id",), f"must be {path.stem}, the file's name")
        if recipient is not None:
            recipients[path.stem] = recipient.model_copy(update={"id": path.stem})
    # What could not be read does not keep the rest from being checked: every problem is said at once.
    found = {POLICY: policy, CLAUSES: clauses, GUARDS: guards}
    return Config(
        gateway=gateway,
        callers=callers,
        versions=tuple(sorted(policy.versions, key=lambda version: version.effective)) if policy else (),
        clauses=clauses.clauses if clauses else {},
        guards=guards.guards if guards else {},
        recipients=recipients,
        digest=source.digest.hexdigest(),
        unread=frozenset(unread | {file for file, shaped in found.items() if shaped is None}),
    )
