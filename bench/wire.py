"""The wire's limit: how many messages a second a C client hands to the sink, with nothing behind it."""

from __future__ import annotations

import subprocess
import time

from bench.sink import Sink, postfix_tool

MESSAGES = 20_000
CONNECTIONS = 20


def messages_per_second(sink: Sink, message_bytes: int) -> float | None:
    """`None` when `smtp-source` is not installed."""
    source = postfix_tool("smtp-source")
    if source is None:
        return None
    expected = sink.copies + MESSAGES
    began_at = time.time()
    keeps_connections, shape = "-d", ["-s", str(CONNECTIONS), "-m", str(MESSAGES), "-l", str(message_bytes)]
    envelope = ["-f", "sender@bench.test", "-t", "recipient@bench.test"]
    subprocess.run([source, keeps_connections, *shape, *envelope, sink.address], check=True)
    return MESSAGES / (sink.wait_for(expected, 60) - began_at)
