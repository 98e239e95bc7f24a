"""Programs of Debian's packages: where they are, and how one that is missing is installed on Debian, as root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Asked by Debian's package scripts before they start a service: exit code 101 means "do not".
_POLICY = Path("/usr/sbin/policy-rc.d")
#: Where servers are, which is not on the path of ordinary users.
_MORE_FOLDERS = "/usr/local/sbin:/usr/sbin:/opt/homebrew/sbin"


class NotInstalledError(Exception):
    """A program is not here and may not be installed by us; the text is empty or says what failed."""


def find(program: str, *, first_in: str = "") -> Path | None:
    """The program's path; `None` where it is not installed."""
    found = shutil.which(program, path=f"{first_in}:{os.environ.get('PATH', '')}:{_MORE_FOLDERS}")
    return Path(found) if found else None


def find_or_install(program: str, package: str, *, first_in: str = "") -> Path:
    """The program's path, after installing its package where that is allowed. Raises NotInstalledError."""
    found = find(program, first_in=first_in)
    if found is None:
        with _one_at_a_time():
            if find(program, first_in=first_in) is None:
                _install(package)
        found = find(program, first_in=first_in)
    if found is None:
        raise NotInstalledError(f"{package} has no {program}.")
    return found


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Tests run in several processes, and each of them may miss the same package."""
    folder = os.open(Path(__file__).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _install(package: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not _is_allowed(package):
        raise NotInstalledError
    print(f"Installing {package} (apt-get) ...", flush=True)
    with _no_service_is_started():
        _apt_get(["update"])
        _apt_get(["install", "--yes", "--no-install-recommends", package])
    if shutil.which("systemctl"):  # nor at the next boot
        subprocess.run(["systemctl", "--quiet", "disable", package], capture_output=True, check=False)


def _apt_get(step: Sequence[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    ran = subprocess.run([*apt, *step], env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NotInstalledError(f"`apt-get {' '.join(step)}` failed:\n{ran.stderr}")


def _is_allowed(package: str) -> bool:
    if not sys.stdin.isatty():
        return True
    answer = input(f"Debian's package {package} is not installed. Install it now? [Y/n] ")
    return answer.strip().lower() in {"", "y", "yes"}


@contextmanager
def _no_service_is_started() -> Iterator[None]:
    """Debian's packages start their service at once; ours are private instances, so they shall not."""
    before = _POLICY.read_bytes() if _POLICY.exists() else None
    if before is None:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            _POLICY.unlink()
