"""Who is at the shell: by the operating system, not by the environment, which anybody sets."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

_NOBODY = 2**32 - 1
"""The kernel's login id of whoever never logged in: services, containers."""


def system_user() -> str:
    """Who runs this process by the operating system, and as whom that one logged in where it knows (`sudo`)."""
    uid = os.getuid()
    try:
        logged_in = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        logged_in = _NOBODY
    name = _name_of(uid)
    return name if logged_in in {uid, _NOBODY} else f"{name} ({_name_of(logged_in)})"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in many containers; not in decimal, where it could pass for a person's number
        return f"uid {uid:#x}"
