"""The sink of the faults: it also writes down each copy, before and after it answers, and does harm when told to."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from deploy.local.catching_smtp import CaughtMessage, serve
from deploy.local.sink import Sink, node_of


class RecordingSink(Sink):
    """Writes `TIME taken|answered RETURN-PATH RECIPIENT` a line, the first before its 250 and the second after it.

    The return path names the delivery. What was taken and not answered may be sent again; what was answered may not.
    """

    def __init__(self, record: Path, *, latency_seconds: float) -> None:
        super().__init__(latency_seconds=latency_seconds)
        #: The recipients that have a copy, by subject.
        self.reached: defaultdict[str, set[str]] = defaultdict(set)
        self._path = record
        self._record: TextIO | None = None
        self._slow: frozenset[str] = frozenset()
        self._slow_seconds = 0.0
        self._deadly: str | None = None
        self._kill: Callable[[str], None] = lambda _node: None

    def start(self) -> None:
        self._record = self._path.open("w", buffering=1)
        super().start()

    def stop(self) -> None:
        super().stop()
        if self._record is not None:
            self._record.close()

    def listen_at(self, host: str) -> None:
        """Listens at this address too, at the same port."""
        asyncio.run_coroutine_threadsafe(serve(self, host, self.port), self._loop).result(10)

    def answer_slowly(self, recipients: frozenset[str], seconds: float) -> None:
        """From now on the final dot of these is answered after so long; nobody's with an empty set."""
        self._slow_seconds, self._slow = seconds, recipients

    def be_deadly_for(self, recipient: str | None, kill: Callable[[str], None]) -> None:
        """Calls `kill`, with the node's name and in the sink's thread, when this one's message has come, and takes it
        not; with `None` no message is deadly any more."""
        self._kill, self._deadly = kill, recipient

    def reply_to_message(self, message: CaughtMessage) -> str | None:
        if self._deadly is not None and self._deadly in message.recipients:
            self._kill(node_of(message.session))
            return "421 4.3.2 Nobody is left to read this"
        return super().reply_to_message(message)

    def hold_seconds(self, messages: Sequence[CaughtMessage]) -> float:
        if any(not self._slow.isdisjoint(message.recipients) for message in messages):
            return self._slow_seconds
        return self.latency_seconds

    def caught(self, message: CaughtMessage) -> None:
        self._write("taken", message)
        super().caught(message)
        for copy in self.copies[-len(message.recipients) :]:
            self.reached[copy.subject].add(copy.recipient)

    def answered(self, message: CaughtMessage) -> None:
        self._write("answered", message)

    def _write(self, event: str, message: CaughtMessage) -> None:
        if self._record is not None:
            for recipient in message.recipients:
                self._record.write(f"{time.monotonic():.6f} {event} {message.sender} {recipient}\n")
