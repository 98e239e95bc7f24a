"""Servers of the field from Debian's packages, for stories that need a real one."""

from __future__ import annotations

import os

import pytest

from deploy.local import debian


def need(program: str, package: str, *, as_root: bool = False) -> None:
    """Have the program installed; the story is skipped, with why, where that cannot be, or it must run as root."""
    if as_root and os.geteuid() != 0:
        pytest.skip(f"{package} starts as root only")
    try:
        debian.find_or_install(program, package)
    except debian.NotInstalledError as error:
        pytest.skip(f"{package} is not here, and cannot be installed: {error}")
