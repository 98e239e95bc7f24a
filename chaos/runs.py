"""The seeds of one fault, on one cluster; after a seed that failed the next has a new cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random

import httpx

from chaos.fault import Fault, NotAsItMustBe
from chaos.ledger import Balance, Ledger
from chaos.report import Row
from chaos.rig import Rig, running_rig, running_servers


def run(fault: Fault, seeds: Iterable[int], row: Row) -> list[str]:
    """Adds each seed to the row; a sentence for each that failed."""
    failed: list[str] = []
    for seed, balance, seconds in _balances(fault, seeds):
        row.add(balance)
        row.seconds += seconds
        what = f"{fault.name} seed {seed}: lost {balance.lost}, wrong {balance.wrong}, extra {balance.extra}"
        what = " | ".join([f"{what} of {balance.allowed_extra}, {seconds:.1f} s", *balance.complaints])
        print(f"chaos: {what}{'' if balance.is_good else '   FAILED'}", flush=True)
        if not balance.is_good:
            failed.append(what)
    return failed


def _balances(fault: Fault, seeds: Iterable[int]) -> Iterator[tuple[int, Balance, float]]:
    """Each seed, its balance, and how long it took."""
    remaining = list(seeds)
    while remaining:
        began_seconds = time.monotonic()
        with ExitStack() as stack:
            servers = stack.enter_context(running_servers(fault.shape))
            rig = stack.enter_context(running_rig(servers, fault.shape, f"{fault.name}-{remaining[0]}"))
            ledger, is_good = Ledger(rig), True
            while remaining and is_good:
                seed = remaining.pop(0)
                balance = run_seed(fault, seed, rig, ledger)
                is_good = balance.is_good
                yield seed, balance, time.monotonic() - began_seconds
                began_seconds = time.monotonic()


def run_seed(fault: Fault, seed: int, rig: Rig, ledger: Ledger) -> Balance:
    """One seed, up to its balance; everything runs again when this returns."""
    first, allowed_extra = len(rig.mailings), 0
    complaints: list[str] = []
    with _noted(complaints):
        allowed_extra = fault.strike(rig, Random(f"{fault.name}/{seed}"))  # noqa: S311 - to be repeatable
    with _noted(complaints):
        for mailing in rig.mailings[first:]:
            rig.wait_until_finished(mailing)
    complaints += [f"{service.name} ended with code {service.exit_code}" for service in rig.crashed()]
    rig.revive()
    return ledger.balance(allowed_extra, tuple(complaints))


@contextmanager
def _noted(complaints: list[str]) -> Iterator[None]:
    """What goes wrong becomes a complaint."""
    try:
        yield
    # OSError is TimeoutError and SMTPException, too.
    except (NotAsItMustBe, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
        complaints.append(f"{type(error).__name__}: {error}")
