"""The policy as code and config: routes, guards, and the one function that decides.

Pure: facts come in, a decision goes out. What law always demands stands in `law`, what the operator adds in CEL
guards of the configuration; both are evaluated whole, so a refusal names every reason.
"""

from qaqpa.policy.bulk import BulkDecider
from qaqpa.policy.compile import Policy, Route, check_terms, compile_policy
from qaqpa.policy.decide import decide
from qaqpa.policy.facts import Checked, Facts, OnRecord, compared
from qaqpa.policy.shadow import difference, shadow_of

__all__ = [
    "BulkDecider",
    "Checked",
    "Facts",
    "OnRecord",
    "Policy",
    "Route",
    "check_terms",
    "compared",
    "compile_policy",
    "decide",
    "difference",
    "shadow_of",
]
