"""A domain with 5 % of the recipients takes connections and lets them wait: the others keep their rate."""

from __future__ import annotations

from random import Random

from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Mailing, Rig, Shape
from chaos.tarpit_server import running_tarpit

_ORDINARY = tuple(f"domain-{number}.test" for number in range(1, 20))
#: One for each seed: a host that kept a node waiting is left alone for minutes.
_TARPITS = {f"tarpit-{number}.test": f"127.0.2.{number}" for number in range(1, 101)}
_SPARE = "spare.test"
_RECIPIENTS_A_DOMAIN = 100
_KEPT_SHARE = 0.9


def wait_in_a_tarpit(rig: Rig, _chance: Random) -> int:
    """The same recipients once with a domain more that answers, and once with one more that does not."""
    tarpit = next(domain for domain in _TARPITS if not any(address.startswith(domain) for address in rig.lists))
    mailing = rig.post(_list(rig, "without", _SPARE))
    rig.wait_until_finished(mailing)
    before = _rate(rig, mailing)
    with running_tarpit(_TARPITS[tarpit], rig.sink.port, byte_seconds=1.0):
        mailing = rig.post(_list(rig, tarpit, tarpit))
        rig.wait_for_share(mailing, 1 - 1 / (len(_ORDINARY) + 1))
    rate = _rate(rig, mailing)
    rig.cancel(mailing)  # Those in the tarpit would be tried for days.
    if rate < _KEPT_SHARE * before:
        raise NotAsItMustBe(f"the others went at {rate:.0f} a second instead of {before:.0f}: {rate / before:.0%}")
    return 0


def _list(rig: Rig, name: str, last_domain: str) -> str:
    members = frozenset(
        f"member-{number}@{domain}" for domain in (*_ORDINARY, last_domain) for number in range(_RECIPIENTS_A_DOMAIN)
    )
    found = next((address for address, there in rig.lists.items() if there == members), None)
    return found or rig.create_list(name, members)


def _rate(rig: Rig, mailing: Mailing) -> float:
    """Copies a second of those in ordinary domains, from the first to the last."""
    times = sorted(
        copy.received_seconds
        for copy in list(rig.sink.copies)
        if copy.subject == mailing.subject and copy.recipient.partition("@")[2] in _ORDINARY
    )
    return len(times) / (times[-1] - times[0])


FAULTS = (
    Fault(
        "tarpit",
        wait_in_a_tarpit,
        Shape(
            recipients=1,
            limits={"max_connections": 24, "max_connections_per_host": 2},
            latency_seconds=0.1,
            mail_servers={
                **{domain: f"127.0.1.{number}" for number, domain in enumerate((*_ORDINARY, _SPARE), start=1)},
                **_TARPITS,
            },
            # 300 s otherwise.
            settings={"command_timeout_seconds": "4"},
        ),
    ),
)
