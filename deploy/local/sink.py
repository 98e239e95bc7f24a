"""The counting sink: where all mail goes that tests and faults are about, and what it saw from outside.

It runs in a thread of its own. The node that opened a session is known by its EHLO name, `<node>.nodes.test`.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import uvloop

from deploy.local.catching_smtp import CaughtMessage, MailCatcher, Session, serve
from deploy.local.ports import LOOPBACK, free_port

_SUBJECT = re.compile(rb"^Subject:[ \t]*(.*?)\r?$", re.IGNORECASE | re.MULTILINE)
NODE_DOMAIN = ".nodes.test"


@dataclass(slots=True)
class Rule:
    """An answer other than 250 for recipients that match, given as often as `times` says."""

    recipient: re.Pattern[str]
    reply: str
    is_after_content: bool
    times: float


@dataclass(frozen=True, slots=True)
class Copy:
    """One message that the sink took for one recipient. Times are seconds of the monotonic clock."""

    recipient: str
    subject: str
    caught: CaughtMessage

    @property
    def node(self) -> str:
        return node_of(self.caught.session)

    @property
    def sender(self) -> str:
        """The envelope sender."""
        return self.caught.sender

    @property
    def content(self) -> bytes:
        """Header and body as they came; empty unless the sink keeps contents."""
        return self.caught.content

    @property
    def received_seconds(self) -> float:
        return self.caught.received_seconds

    @property
    def answered_seconds(self) -> float | None:
        """When our 250 was written; `None` when the connection was gone before."""
        return self.caught.answered_seconds


#: How often the sink looks at the clock while it notes arrivals.
TICK_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Arrival:
    """Some bytes of a message's content, which came after one moment and by another, in seconds of the monotonic clock.

    The two are close together, unless the machine had no time for the sink: then nobody knows when the bytes came.
    """

    after_seconds: float
    by_seconds: float
    size_bytes: int
    node: str


class Sink(MailCatcher):
    """Counts what it takes. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        latency_seconds: float = 0.0,
        keeps_contents: bool = False,
        host: str = LOOPBACK,
        port: int | None = None,
    ) -> None:
        self.host = host
        self.port = port or free_port()
        self._open: dict[int, Session] = {}
        #: When each connection was opened and closed, by its session's id.
        self._spans: dict[int, tuple[float, float]] = {}
        self.reset()
        self.latency_seconds = latency_seconds
        self.keeps_contents = keeps_contents
        #: The content that came since `note_arrivals`.
        self.arrivals: list[Arrival] = []
        self._ticked_seconds: float | None = None
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    @property
    def address(self) -> str:
        """What LISTFLEET_RELAY is set to."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(serve(self, self.host, self.port), self._loop).result(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def answer(self, recipient: str, reply: str, *, after_content: bool = False, times: float = float("inf")) -> None:
        """Answers `reply` to recipients that match the expression, or to their final dot; the newest rule wins."""
        self._rules.insert(0, Rule(re.compile(recipient), reply, after_content, times))

    def reset(self) -> None:
        """Counts anew and answers everything with 250 at once; connections stay open."""
        self.latency_seconds = 0.0
        self.keeps_contents = False
        self.copies: list[Copy] = []
        #: How many connections were open at one moment, at most, of all nodes together.
        self.most_open_connections = len(self._open)
        self._most_open: Counter[str] = Counter()
        self._spans = {session: self._spans[session] for session in list(self._open)}
        self._rules: list[Rule] = []
        #: Each so many-th message is taken, and its connection dropped without an answer.
        self.drops_every: int | None = None
        self.dropped: list[CaughtMessage] = []
        self._taken = 0

    def take_everything(self) -> None:
        """No rule holds any more."""
        self._rules = []

    def note_arrivals(self) -> None:
        """From now on it is noted when content comes."""
        self._loop.call_soon_threadsafe(self._tick)

    # What was seen

    def copies_per_recipient(self, subject: str | None = None) -> Counter[str]:
        """How many copies each recipient got, of all messages or of those with this subject (a part of it)."""
        return Counter(copy.recipient for copy in list(self.copies) if subject is None or subject in copy.subject)

    def copies_per_node(self) -> Counter[str]:
        return Counter(copy.node for copy in list(self.copies))

    def copies_of(self, node: str) -> list[Copy]:
        return [copy for copy in list(self.copies) if copy.node == node]

    def extra_copies(self, *subjects: str) -> int:
        """How many copies more than one a recipient and subject, of all subjects or of these."""
        counted = [copy for copy in list(self.copies) if not subjects or copy.subject in subjects]
        pairs = Counter((copy.recipient, copy.subject) for copy in counted)
        return sum(count - 1 for count in pairs.values())

    def open_connections_of(self, node: str) -> int:
        return sum(node_of(session) == node for session in list(self._open.values()))

    def most_open_connections_of(self, node: str) -> int:
        """The highest number that was open at one moment."""
        return self._most_open[node]

    def most_open_connections_to(self, *domains: str) -> int:
        """The highest number that was open at one moment, of connections that carried mail for these domains."""
        sessions = {
            copy.caught.session.id for copy in list(self.copies) if copy.recipient.rpartition("@")[2] in domains
        }
        spans = [self._spans[session] for session in sessions]
        return max(sum(opened <= at < closed for opened, closed in spans) for at, _ in spans)

    def messages_a_connection_to(self, domain: str) -> Counter[int]:
        """How many messages for the domain each connection carried."""
        return Counter(copy.caught.session.id for copy in list(self.copies) if copy.recipient.endswith(f"@{domain}"))

    def times_of(self, domain: str) -> list[float]:
        """When the domain's messages came, in order."""
        return sorted(copy.received_seconds for copy in list(self.copies) if copy.recipient.endswith(f"@{domain}"))

    def highest_rate_of(self, node: str, *, since_seconds: float = 0.0, window_seconds: float = 1.0) -> int:
        """The most messages of a node in any window of that length."""
        times = sorted(copy.received_seconds for copy in self.copies_of(node) if copy.received_seconds >= since_seconds)
        most, first = 0, 0
        for last, at in enumerate(times):
            while at - times[first] >= window_seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def most_bytes_of(self, node: str, *, window_seconds: float = 1.0) -> int:
        """The most content of a node that surely came within any window of that length."""
        arrivals = [arrival for arrival in self.arrivals if arrival.node == node]
        sums = [0, *accumulate(arrival.size_bytes for arrival in arrivals)]
        most = 0
        for number, first in enumerate(arrivals):
            after_last = bisect_left(arrivals, first.after_seconds + window_seconds, key=lambda a: a.by_seconds)
            most = max(most, sums[after_last] - sums[number])
        return most

    def wait_until(self, is_true: Callable[[Sink], bool], timeout_seconds: float) -> None:
        """Returns when it is true. Raises TimeoutError with the counts when it is not in time."""
        deadline = time.monotonic() + timeout_seconds
        while not is_true(self):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true after {timeout_seconds} s; copies by node: {self.copies_per_node()}")
            time.sleep(0.02)

    def wait_for_recipients(self, count: int, timeout_seconds: float, *, subject: str | None = None) -> None:
        """Returns when that many different recipients got a copy."""
        self.wait_until(lambda sink: len(sink.copies_per_recipient(subject)) >= count, timeout_seconds)

    # What the server asks

    def opened(self, session: Session) -> None:
        self._open[session.id] = session
        self._spans[session.id] = (time.monotonic(), float("inf"))
        self.most_open_connections = max(self.most_open_connections, len(self._open))

    def closed(self, session: Session) -> None:
        del self._open[session.id]
        self._spans[session.id] = (self._spans[session.id][0], time.monotonic())

    def content_came(self, session: Session, size_bytes: int) -> None:
        if self._ticked_seconds is not None:
            self.arrivals.append(Arrival(self._ticked_seconds, time.monotonic(), size_bytes, node_of(session)))

    def reply_to_recipient(self, recipient: str) -> str | None:
        return self._rule_for(recipient, after_content=False)

    def reply_to_message(self, message: CaughtMessage) -> str | None:
        return self._rule_for(message.recipients[0], after_content=True)

    def caught(self, message: CaughtMessage) -> None:
        node = node_of(message.session)
        self._most_open[node] = max(self._most_open[node], self.open_connections_of(node))
        found = _SUBJECT.search(message.content, 0, 16_384)
        subject = found.group(1).decode("utf-8", "replace") if found else ""
        if not self.keeps_contents:
            message.content = b""
        self.copies += [Copy(recipient, subject, message) for recipient in message.recipients]

    def _tick(self) -> None:
        self._ticked_seconds = time.monotonic()
        self._loop.call_later(TICK_SECONDS, self._tick)

    def drops_after(self, message: CaughtMessage) -> bool:
        self._taken += 1
        if not self.drops_every or self._taken % self.drops_every:
            return False
        self.dropped.append(message)
        return True

    def _rule_for(self, recipient: str, *, after_content: bool) -> str | None:
        for rule in self._rules:
            if rule.is_after_content is after_content and rule.times > 0 and rule.recipient.search(recipient):
                rule.times -= 1
                return rule.reply
        return None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()


def node_of(session: Session) -> str:
    """The node's name from the EHLO name; the whole EHLO name when it is not one of ours."""
    return session.client.removesuffix(NODE_DOMAIN)
