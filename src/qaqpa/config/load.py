"""Read a configuration folder: strict, all problems at once, each with file, line and key."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from qaqpa.config.lines import Key, line_of, locate
from qaqpa.config.models import (
    CallersFile,
    ClausesFile,
    Config,
    File,
    GatewayFile,
    GuardsFile,
    PolicyFile,
    RecipientFile,
)
from qaqpa.errors import ConfigError, Problem

Shape = TypeVar("Shape", bound=File)

GATEWAY, CALLERS = "gateway.toml", "callers.toml"
POLICY, CLAUSES, GUARDS = "policy/policy.toml", "policy/clauses.toml", "policy/guards.toml"
RECIPIENTS = "recipients"


@dataclass(slots=True)
class Source:
    """A configuration folder while it is read: texts for line numbers, and the problems found so far."""

    folder: Path
    lines: dict[str, dict[Key, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def problem(self, file: str, key: Key, message: str) -> None:
        """Note a problem at `key` of `file`."""
        line = line_of(self.lines.get(file, {}), key)
        self.problems.append(Problem(file, line, ".".join(str(part) for part in key), message))

    def read(self, file: str, shape: type[Shape]) -> Shape | None:
        """The file as `shape`, or None with its problems noted."""
        try:
            content = (self.folder / file).read_bytes()
            text = content.decode()
            document = tomllib.loads(text)
        except OSError as error:
            self.problem(file, (), f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.problem(file, (), "is not UTF-8")
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+)", str(error))
            self.problems.append(Problem(file, int(at[1]) if at else 0, "", f"is not TOML: {error}"))
        else:
            self.digest.update(f"{file}\0{len(content)}\0".encode() + content)
            self.lines[file] = locate(text)
            return self._shaped(file, document, shape)
        return None

    def _shaped(self, file: str, document: dict[str, Any], shape: type[Shape]) -> Shape | None:
        try:
            return shape.model_validate(document)
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False):
                key = tuple(part for part in found["loc"] if part != "[key]")
                message = found["msg"].removeprefix("Value error, ")
                if found["type"] == "extra_forbidden":
                    message = "unknown key: look for a typing error, or remove it"
                elif found["type"] == "missing":
                    message = "is missing"
                self.problem(file, key, message)
            return None


def load(folder: Path) -> tuple[Config, Source]:
    """The configuration in `folder`, and its source for problems found later. Raises ConfigError."""
    source = Source(folder)
    gateway = source.read(GATEWAY, GatewayFile)
    callers = source.read(CALLERS, CallersFile)
    policy = source.read(POLICY, PolicyFile)
    clauses = source.read(CLAUSES, ClausesFile)
    guards = source.read(GUARDS, GuardsFile)
    recipients: dict[str, RecipientFile] = {}
    for path in sorted((folder / RECIPIENTS).glob("*.toml")):
        recipient = source.read(f"{RECIPIENTS}/{path.name}", RecipientFile)
        if recipient is not None and recipient.id != path.stem:
            source.problem(f"{RECIPIENTS}/{path.name}", ("id",), f"must be {path.stem}, the file's name")
        if recipient is not None:
            recipients[recipient.id] = recipient
    if gateway is None or callers is None or policy is None or clauses is None or guards is None:
        raise ConfigError(source.problems)
    config = Config(
        gateway=gateway,
        callers=callers.callers,
        versions=tuple(sorted(policy.versions, key=lambda version: version.effective)),
        clauses=clauses.clauses,
        guards=guards.guards,
        recipients=recipients,
        digest=source.digest.hexdigest(),
    )
    return config, source
