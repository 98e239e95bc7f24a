"""The table that is printed, and results.json (its keys: chaos/README.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.ledger import Balance


@dataclass(slots=True)
class Row:
    """One fault, summed over its seeds."""

    fault: str
    seeds: int = 0
    lost: int = 0
    wrong: int = 0
    extra: int = 0
    allowed_extra: int = 0
    #: All seeds and the starts of their clusters together.
    seconds: float = 0.0

    def add(self, balance: Balance) -> None:
        self.seeds += 1
        self.lost += balance.lost
        self.wrong += balance.wrong
        self.extra += balance.extra
        self.allowed_extra += balance.allowed_extra


def show(rows: Sequence[Row], failed: Sequence[str]) -> None:
    """Prints the table, and the seeds that failed."""
    print(f"\n{'fault':20}{'seeds':>7}{'lost':>7}{'wrong':>7}{'extra':>7}{'allowed':>9}{'seconds':>9}")
    for row in rows:
        print(
            f"{row.fault:20}{row.seeds:>7}{row.lost:>7}{row.wrong:>7}{row.extra:>7}{row.allowed_extra:>9}{row.seconds:>9.0f}"
        )
    for seed in failed:
        print(f"FAILED  {seed}")


def write(rows: Sequence[Row], file: Path) -> None:
    """Writes results.json."""
    file.write_text(json.dumps([asdict(row) | {"seconds": round(row.seconds, 1)} for row in rows], indent=2) + "\n")
