"""Rows of a handover that did not go or came back, as a file: by their numbers in the register, without a person."""

from __future__ import annotations

from collections.abc import Mapping

from qaqpa.config.models import GuardConfig
from qaqpa.console.files import Sheet
from qaqpa.gateway.handover_answers import RESULTS, reason_lines
from qaqpa.model.handover import Finding
from qaqpa.model.words import Language
from qaqpa.translation import N_

_COLUMNS = {"row": N_("Row"), "result": N_("Result"), "codes": N_("Codes"), "reasons": N_("Reasons")}


def rows_of(handover: str, guards: Mapping[str, GuardConfig], language: Language) -> Sheet[Finding]:
    """How those of one handover are written."""

    def row(each: Finding) -> dict[str, object]:
        return {
            "row": each.number,
            "result": RESULTS[each.result].in_language(language),
            "codes": ", ".join(str(reason["code"]) for reason in each.reasons),
            "reasons": " / ".join(reason_lines(each, guards, language)),
        }

    return Sheet(f"rows-{handover}", _COLUMNS, row)
