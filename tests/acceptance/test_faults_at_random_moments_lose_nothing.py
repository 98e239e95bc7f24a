"""One seed each of faults that no other story has, on one cluster; `make chaos` has all of them, many times."""

from __future__ import annotations

from chaos.faults import FAULTS
from chaos.ledger import Ledger
from chaos.rig import Shape, running_rig
from chaos.runs import run_seed

NAMES = ("scheduler-killed", "both-cut-off", "memory-alarm")
SEED = 3


def test_faults_at_random_moments_lose_nothing() -> None:
    with running_rig(Shape(recipients=1000, has_links=True), "acceptance-test") as rig:
        ledger = Ledger(rig)
        balances = {fault.name: run_seed(fault, SEED, rig, ledger) for fault in FAULTS if fault.name in NAMES}

    assert len(balances) == len(NAMES)
    assert all(balance.is_good for balance in balances.values()), balances
