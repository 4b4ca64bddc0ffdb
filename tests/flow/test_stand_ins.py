"""Stand-ins in a process of their own, as programs ask them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import ROOT
from qaqpa.demo import stands
from qaqpa.errors import UsageError


def test_what_stand_ins_cannot_do_is_no_success(tmp_path: Path) -> None:
    with stands(ROOT / "config", tmp_path, "demo-collector") as third_parties:
        third_parties.fail_next("demo-collector", "server_error")
        for wrong in (
            lambda: third_parties.fail_next("demo-collector", "no_such_fault"),
            lambda: third_parties.acknowledge("demo-collector", "a-package-that-never-came.zip.age", {}),
            lambda: third_parties.opened("nobody"),
        ):
            with pytest.raises(UsageError, match="could not do this"):
                wrong()
        assert third_parties.opened("demo-collector") == {}
