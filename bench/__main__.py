"""`make bench`: the wire, Postfix and Listfleet side by side in one run; then a mailing ten times as large, for memory.

With QUICK=1 there is one round instead of three, and no large mailing. bench/README.md says what is measured, and how.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import wire
from bench.listfleet import Listfleet, running_listfleet
from bench.post import compose
from bench.postfix_relay import relay, running_postfix
from bench.report import Comparison, Round, show, write
from bench.sink import Sink, running_sink

RECIPIENTS = 20_000
MANY_RECIPIENTS = 200_000
#: Outbound nodes: two cores shared with PostgreSQL, RabbitMQ and the sink have no work for a second one.
NODES = 1
#: To the sink, for Postfix and for each node alike.
CONNECTIONS = 80
ROUNDS = 3
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    is_quick = bool(os.environ.get("QUICK"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="listfleet-bench-")))
        folder.chmod(0o711)  # Postfix and PostgreSQL run as users of their own
        sink = stack.enter_context(running_sink(folder))
        tell("starting PostgreSQL, RabbitMQ and Postfix")
        postfix = stack.enter_context(running_postfix(folder / "postfix", sink, connections=CONNECTIONS))
        listfleet = stack.enter_context(running_listfleet(folder, sink, connections=CONNECTIONS))
        listfleet.make_list("members", RECIPIENTS)
        rounds = [one_round(number, sink, postfix, listfleet) for number in range(1, 2 if is_quick else ROUNDS + 1)]
        large = None
        if not is_quick:
            listfleet.make_list("many", MANY_RECIPIENTS)
            tell(f"Listfleet, {MANY_RECIPIENTS:,} recipients")
            large = listfleet.mail("many", MANY_RECIPIENTS, senders=NODES)
        comparison = Comparison(sink.name, NODES, rounds, large)
    show(comparison)
    write(comparison, RESULTS)
    tell(f"written to {RESULTS}")


def one_round(number: int, sink: Sink, postfix: tuple[int, int] | None, listfleet: Listfleet) -> Round:
    """All three, one after the other, so that whatever else the machine does meets them alike."""
    tell(f"round {number}: the wire")
    message = compose("members")
    wire_per_second = wire.messages_per_second(sink, len(message))
    relayed = None
    if postfix:
        tell(f"round {number}: Postfix, {RECIPIENTS:,} recipients")
        relayed = relay(*postfix, sink, message, RECIPIENTS)
    tell(f"round {number}: Listfleet, {RECIPIENTS:,} recipients")
    return Round(wire_per_second, relayed, listfleet.mail("members", RECIPIENTS, senders=NODES))


def tell(what: str) -> None:
    print(f"bench: {what}", flush=True)


if __name__ == "__main__":
    main()
