"""The draft beside the flow. It is asked after the decision, notes where it differs, and changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from qaqpa import log
from qaqpa.gateway.setup import Drafted
from qaqpa.model.decision import Decision
from qaqpa.policy import Facts, Route, shadow_of

_log = log.get("shadow")


class ShadowPolicy:
    """A draft that every decision is also tried under; does nothing without one, or with one that has problems."""

    def __init__(self, drafted: Drafted | None) -> None:
        self._drafted = drafted
        self.differences = 0
        """Decisions so far on which the draft differs."""
        self.failures: Counter[str] = Counter()
        """Decisions that the draft failed on, by the type of the exception; what one says may be personal."""
        if drafted is not None and drafted.problems:
            _log.error("the draft is not evaluated: `qaqpa check` lists its problems", count=len(drafted.problems))

    def __call__(self, decision: Decision, route: Route | None, facts: Facts) -> Decision:
        """`decision`, with the draft's where it differs. Raises nothing."""
        if self._drafted is None or self._drafted.policy is None:
            return decision
        try:
            shadow = shadow_of(decision, route, facts, self._drafted.policy, self._drafted.digest)
        except Exception as error:  # noqa: BLE001 - whatever a draft does, the decision in force stands
            kind = type(error).__name__
            self.failures[kind] += 1
            if self.failures[kind] == 1:  # once of each type: a broken draft must not flood the log
                _log.error("the draft failed on a decision; it goes on without", error_type=kind)
            return decision
        if shadow is None:
            return decision
        self.differences += 1
        return replace(decision, shadow=shadow)
