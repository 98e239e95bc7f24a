"""One seed each of faults that no other story has, on one cluster; `make chaos` has all of them, many times."""

from __future__ import annotations

from chaos.faults import FAULTS
from chaos.ledger import Ledger
from chaos.rig import Servers, Shape, running_rig
from chaos.runs import run_seed
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ

#: Each with a seed of its own.
SEEDS = {"both-cut-off": 7, "memory-alarm": 3}


def test_faults_at_random_moments_lose_nothing(
    postgres_server: Postgres, rabbitmq_server: RabbitMQ, database_url: str, broker_url: str
) -> None:
    servers = Servers(postgres_server, rabbitmq_server, database_url, broker_url)
    with running_rig(servers, Shape(senders=2, recipients=600, has_links=True), "acceptance-test") as rig:
        ledger = Ledger(rig)
        balances = {
            fault.name: run_seed(fault, SEEDS[fault.name], rig, ledger) for fault in FAULTS if fault.name in SEEDS
        }

    assert balances.keys() == SEEDS.keys()
    assert all(balance.is_good for balance in balances.values()), balances
