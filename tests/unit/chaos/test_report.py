"""What `make chaos` writes, and that the page about reliability tells of every fault."""

from __future__ import annotations

import json
import re
from pathlib import Path

import chaos
from chaos.__main__ import SEEDS
from chaos.faults import FAULTS
from chaos.ledger import Balance
from chaos.report import Row, write

PROJECT = Path(chaos.__file__).parents[1]
_ROW = re.compile(r"^\| `([a-z-]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| \d+ \|$", re.MULTILINE)


def test_a_row_is_the_sum_of_its_seeds(tmp_path: Path) -> None:
    row = Row("sender-killed", seconds=3.14159)
    row.add(Balance(lost=0, wrong=0, extra=2, allowed_extra=7))
    row.add(Balance(lost=1, wrong=2, extra=1, allowed_extra=8))
    write([row], tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {
            "fault": "sender-killed",
            "seeds": 2,
            "lost": 1,
            "wrong": 2,
            "extra": 3,
            "allowed_extra": 15,
            "seconds": 3.1,
        }
    ]


def test_the_page_has_a_row_for_every_fault_with_all_its_seeds() -> None:
    page = (PROJECT / "docs" / "reliability.md").read_text()
    rows = {name: tuple(map(int, figures)) for name, *figures in _ROW.findall(page)}
    assert list(rows) == [fault.name for fault in FAULTS]
    for fault in FAULTS:
        seeds, lost, wrong, extra, allowed = rows[fault.name]
        assert seeds >= (fault.at_most_seeds or SEEDS), fault.name
        assert (lost, wrong) == (0, 0), fault.name
        assert extra <= allowed, fault.name


def test_every_fault_is_explained() -> None:
    readme = (PROJECT / "chaos" / "README.md").read_text()
    assert [fault.name for fault in FAULTS if f"`{fault.name}`" not in readme] == []
