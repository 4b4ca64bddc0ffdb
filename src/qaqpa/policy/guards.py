"""Named conditions in CEL: type-checked when the configuration loads, evaluated whole for each request.

An expression that errors, or whose variable is absent, is a gap; it never passes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import cel_expr_python.cel as cel  # the package has no __init__: a plain import is found by type checkers

from qaqpa.config.models import GuardConfig
from qaqpa.model.decision import GuardResult, Result
from qaqpa.policy.facts import VARIABLES
from qaqpa.policy.sentences import UNDECIDABLE, lacking

_TEXTS = re.compile(r"""("|')(?:\\.|(?!\1).)*\1""", re.DOTALL)
_NAMES = re.compile("|".join(rf"(?<![\w.]){re.escape(name)}(?!\w)" for name in VARIABLES))
_LEADING_DOT = re.compile(r"(?<![\w)\]}'\s])\s*\.\s*[A-Za-z_]")
ENVIRONMENT = cel.NewEnv(variables=VARIABLES)


@dataclass(frozen=True, slots=True)
class Guard:
    """A compiled guard."""

    name: str
    config: GuardConfig
    expression: cel.Expression
    needs: tuple[str, ...]
    """Variables that the expression names."""

    def in_force(self, day: date) -> bool:
        """Whether it applies on `day`."""
        begun = self.config.effective is None or self.config.effective <= day
        return begun and (self.config.until is None or day <= self.config.until)

    def speaks_of(self, prefix: str) -> bool:
        """Whether the expression names a variable that begins with `prefix`."""
        return any(name.startswith(prefix) for name in self.needs)

    def evaluate(self, activation: cel.Activation, values: Mapping[str, Any]) -> GuardResult:
        """Permit on true, deny on false, gap on anything else."""
        value = self.expression.eval(activation)
        missing = tuple(name for name in self.needs if name not in values)
        holds = value.type() == cel.Type.BOOL and value.plain_value() is True
        # `a || b` is true in CEL though `a` is absent: what is absent never passes.
        if value.type() == cel.Type.BOOL and not (holds and missing):
            missing = ()
            result = Result.PERMIT if holds else Result.DENY
            message = self.config.expect if holds else self.config.otherwise
        else:
            result, message = Result.GAP, lacking(missing) if missing else UNDECIDABLE
        return GuardResult(self.name, self.config.clause, message, result, self.config.instrument, missing)


def _names(expression: str) -> list[str]:
    """Variables that `expression` names, outside texts, however it is spaced."""
    return _NAMES.findall(re.sub(r"\s*\.\s*", ".", _TEXTS.sub("''", expression)))


def compile_guard(name: str, config: GuardConfig) -> Guard:
    """Raises ValueError with what CEL says against the expression."""
    if _LEADING_DOT.search(_TEXTS.sub("''", config.when)):
        # CEL would read `.a.b` as `a.b`, but then it could not be seen which facts the guard needs.
        raise ValueError("a name begins with a dot; write it without")
    try:
        expression = ENVIRONMENT.compile(config.when)
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0].removeprefix("INVALID_ARGUMENT: ERROR: <input>:")
        known = ", ".join(sorted(VARIABLES)) if "undeclared reference" in first_line else ""
        raise ValueError(f"CEL: {first_line}" + (f" (known: {known})" if known else "")) from None
    if expression.return_type() != cel.Type.BOOL:
        raise ValueError(f"must be true or false, but its type is {expression.return_type().name()}")
    return Guard(name, config, expression, tuple(dict.fromkeys(_names(config.when))))
