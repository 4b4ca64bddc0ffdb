"""What a careful recipient does with a package: open it, hold each file against the signed manifest, count the rows."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qaqpa.handover.manifest import NAME, SIGNATURE, verified
from qaqpa.testing.opening import Pair
from qaqpa.tlog.notes import VerifierKey

IDS = "disclosures.csv"


@dataclass(frozen=True, slots=True)
class Checked:
    """A package that holds what its manifest says."""

    handover: str
    operation: str
    rows: int
    files: tuple[str, ...]
    operator_key: str
    """With which its manifest is signed, as the manifest says: to be compared with the one that was agreed."""


def checker(pair: Pair) -> Callable[[Path], Checked]:
    """Opens packages sealed to `pair`; raises ValueError for one that does not hold what its manifest says."""

    def check(path: Path) -> Checked:
        with tempfile.TemporaryFile() as plain:
            with path.open("rb") as sealed:
                pair.open_file(sealed, plain)
            with zipfile.ZipFile(plain) as package:
                return _checked(package)

    return check


def _checked(package: zipfile.ZipFile) -> Checked:
    content = package.read(NAME)
    key = str(orjson.loads(content)["verifier_key"])
    said = verified(content, package.read(SIGNATURE), VerifierKey.parse(key))
    members: list[dict[str, Any]] = [said["register"], *said["others"]]
    names = {each["file"] for each in members}
    if names | {NAME, SIGNATURE} != set(package.namelist()):
        raise ValueError("the package holds other files than its manifest says")
    for member in members:
        with package.open(member["file"]) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        if digest != member["sha256"] or package.getinfo(member["file"]).file_size != member["bytes"]:
            raise ValueError(f"{member['file']} is not what the manifest says")
    ids = len(package.read(IDS).splitlines()) - 1
    if not ids == said["register"]["rows"] == said["rows"]["go"]:
        raise ValueError("another number of rows than the manifest says")
    return Checked(said["handover"], said["operation"], ids, tuple(sorted(names)), key)
