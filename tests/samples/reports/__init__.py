"""Reports as servers and providers of many kinds write them, and mail that is no report, with what each says.

Every line is written for this folder, after the formats; names are invented and domains reserved (RFC 2606).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Expected:
    """One finding; what is `None`, but for the recipient, is left open."""

    kind: str
    recipient: str | None
    bounce_class: str | None = None
    is_hard: bool | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A message and what it reports."""

    name: str
    content: bytes
    expected: tuple[Expected, ...]
    #: Whether `expected` is known; else the message is only read.
    is_judged: bool = True


def samples() -> list[Sample]:
    """All of the folder's, by name."""
    folder = Path(__file__).parent
    table = json.loads((folder / "expected.json").read_text())
    return [
        Sample(
            name,
            (folder / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n"),
            tuple(
                Expected(row["kind"], row["recipient"], row.get("class"), row.get("hard"), row.get("status"))
                for row in rows
            ),
        )
        for name, rows in sorted(table.items())
    ]
