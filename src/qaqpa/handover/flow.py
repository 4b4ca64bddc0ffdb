"""The flow of a handover, from a register to a receipt, in the order that the policy demands.

    take in · [read · decide · minimise · intend each row · write] · seal · intend the package · send · conclude · receipt

A register with one row that must not be in it is a breach, and one sent twice or half is a dispute: so every row is
decided and in the ledger on its own, the package goes as one, and its last step is asked of the ledger first. Each turn
may be cut off anywhere, by a kill too, and is begun again from what the database says.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from qaqpa import log
from qaqpa.config.packages import Packages
from qaqpa.errors import (
    DecisionOutdated,
    InvalidRequest,
    NotConfigured,
    NotPossible,
    NotSent,
    PackageChanged,
    QaqpaError,
    RegisterRefused,
    StoreUnavailable,
    ThirdPartyError,
)
from qaqpa.handover import records
from qaqpa.handover.deciding import Deciding, Packing, dry_run, lines_of
from qaqpa.handover.judge import Judged
from qaqpa.handover.manifest import manifest, packages_key, signature
from qaqpa.handover.package import PackageBuilder, sums_of
from qaqpa.handover.records import Handover, Order
from qaqpa.handover.spool import SpoolWriter, open_spool
from qaqpa.jobs import Run
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.handovers import (
    Entered,
    RowEntries,
    conclude_package,
    entered_chunks,
    intend_package,
    moved,
)
from qaqpa.model.handover import FINAL, HandoverIntent, HandoverState, Package, PackageIntent, RowResult, SealedPackage
from qaqpa.model.disclosure import Json
from qaqpa.model.identifiers import HandoverId, RecipientId, uuid7
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.policy import Policy, Route
from qaqpa.seal import PackageKey
from qaqpa.store import Connection
