"""The parts of a run, (a) to (n): what they need is started once, and a round goes through them in turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from bench import rsa, wire
from bench.audience import AudienceAlone
from bench.findings import Round
from bench.importing import running_import
from bench.incoming import Accepted, postfix_accepts, running_ingress
from bench.list_kinds import PERSONAL, PLAIN, SHARED, ListKind
from bench.listfleet import CONNECTIONS, Listfleet, Measured, running_broker, running_postgres
from bench.post import compose
from bench.postfix_relay import Postfix, Relayed, relay, running_postfix
from bench.recorder import RecorderAlone
from bench.redirects import Redirected, Redirects, running_redirects
from bench.sink import Sink, running_catcher, running_sink
from bench.statistics import Told, tell_statistics
from deploy.local.debian import NotInstalledError

ALL_PARTS = "abcdefghijklmn"
#: Without those that take long, and are run once.
QUICK_PARTS = "abcdefghjkmn"
RECIPIENTS = 20_000
#: (d) to (f): a process of Python uses one core, so an operator starts a sending node for each.
CORES = os.cpu_count() or 1
#: (f): recipients of a transaction, as many as Listfleet gives it at most (RFC 5321 §4.5.3.1.8), and of the mailing,
#: which would be over too soon with fewer.
TOGETHER = 100
BULK_RECIPIENTS = 40_000
#: (h): a message takes two of the slow replies, so 40 connections make 200 a second, far from what the machine can do.
LATENCY_SECONDS = 0.1
SLOW_CONNECTIONS = 40
SLOW_RECIPIENTS = 5_000
SLOW_WARM_UP_RECIPIENTS = 200
NODE_COUNTS = (1, 2, 4)
#: (i), besides the rounds' own.
SIZES = (10_000, 200_000)
MILLION = 1_000_000

_Figure = TypeVar("_Figure")


class Bench:
    """One run. Whatever it starts, `stack` ends."""

    def __init__(self, stack: ExitStack, folder: Path, parts: str) -> None:
        """`parts` are the letters of those that shall run."""
        self._stack, self._folder, self._parts = stack, folder, set(parts)
        tell("starting what is to be measured")
        self.sink = stack.enter_context(running_sink(folder))
        self._catcher = stack.enter_context(running_catcher(folder))
        self._slow_catcher = stack.enter_context(running_catcher(folder, latency_seconds=LATENCY_SECONDS))
        # One recipient in each, as a mailing list needs it whose return paths name the recipient.
        self._postfix = self._start_postfix("postfix", self.sink) if "c" in parts else None
        self._postfix_bulk = (
            self._start_postfix("postfix-bulk", self._catcher, together=TOGETHER) if "f" in parts else None
        )
        if self._parts & set("defghijlmn"):
            self._database = database = stack.enter_context(running_postgres(folder))
        if self._parts & set("defhijkln"):
            self._broker = broker = stack.enter_context(running_broker(folder))
        if self._parts & set("defhij"):
            self._listfleet = Listfleet(folder, database, broker)
        if "g" in parts:
            self._recorder = RecorderAlone(folder, database, RECIPIENTS)
        if "j" in parts:
            self._ingress = stack.enter_context(running_ingress(folder, database, broker))
            self._keeping_postfix = self._start_postfix("postfix-keeping", self.sink, only_accepts=True)
        if "k" in parts:
            self._redirects = self._start_redirects()
        if "m" in parts:
            self._audience = AudienceAlone(folder, database)
        if "n" in parts:
            self._import = stack.enter_context(running_import(folder, database, broker))

    def round(self, number: int) -> Round:
        """All parts but (i) and (l), one after the other, so that whatever else the machine does meets them alike."""
        tell(f"round {number}")
        return Round(
            wire_per_second=self._run("a", lambda: wire.messages_per_second(self.sink, len(_message()))),
            signatures_per_second=self._run("b", rsa.signatures_per_second),
            postfix=self._run("c", lambda: _relayed(self._postfix, RECIPIENTS)),
            unsigned=self._run("d", lambda: self._mail(PLAIN, RECIPIENTS, self.sink)),
            signed=self._run("e", lambda: self._mail(PERSONAL, RECIPIENTS, self.sink)),
            postfix_bulk=self._run("f", lambda: _relayed(self._postfix_bulk, BULK_RECIPIENTS)),
            bulk=self._run("f", lambda: self._mail(SHARED, BULK_RECIPIENTS, self._catcher)),
            recorded_per_second=self._run("g", lambda: self._recorder.outcomes_per_second()),
            scaling=self._run("h", lambda: {count: self._mail_slowly(count) for count in NODE_COUNTS}) or {},
            postfix_accepting=self._run("j", lambda: _accepted_by(self._keeping_postfix)),
            accepting=self._run("j", lambda: self._ingress.accept() if self._keeping_postfix else None),
            redirected=self._run("k", self._redirect),
            reached=self._run("m", lambda: self._audience.reach()),
            imported_per_second=self._run("n", lambda: self._import.members_per_second()),
        )

    def sizes(self, *, with_a_million: bool) -> Sequence[Measured]:
        """(i): unsigned mailings of growing size, each once."""
        sizes = (*SIZES, MILLION) if with_a_million else SIZES
        return self._run("i", lambda: [self._listfleet.mail(PLAIN, size, self.sink) for size in sizes]) or []

    def told(self) -> Told | None:
        """(l), once."""
        return self._run("l", lambda: tell_statistics(self._folder, self._database, self._broker))

    def _redirect(self) -> Redirected | None:
        return self._redirects.round() if self._redirects else None

    def _start_redirects(self) -> Redirects | None:
        try:
            return self._stack.enter_context(running_redirects(self._folder / "redirects", self._broker))
        except NotInstalledError:
            return None

    def _run(self, part: str, measure: Callable[[], _Figure]) -> _Figure | None:
        """`None` when the part is not to run."""
        if part not in self._parts:
            return None
        tell(f"({part})")
        return measure()

    def _mail(self, kind: ListKind, recipients: int, sink: Sink) -> Measured:
        """By a sending node a core, with as many connections in all as Postfix has."""
        return self._listfleet.mail(kind, recipients, sink, nodes=CORES, connections=CONNECTIONS // CORES)

    def _mail_slowly(self, nodes: int) -> Measured:
        """To a sink that holds its replies back, so that the nodes' limits of connections are all that holds them."""
        return self._listfleet.mail(
            PLAIN,
            SLOW_RECIPIENTS,
            self._slow_catcher,
            nodes=nodes,
            connections=SLOW_CONNECTIONS,
            warm_up_recipients=SLOW_WARM_UP_RECIPIENTS,
        )

    def _start_postfix(self, name: str, sink: Sink, *, together: int = 1, only_accepts: bool = False) -> Postfix | None:
        return self._stack.enter_context(
            running_postfix(
                self._folder / name,
                sink,
                connections=CONNECTIONS,
                recipients_per_transaction=together,
                only_accepts=only_accepts,
            )
        )


def _relayed(postfix: Postfix | None, recipients: int) -> Relayed | None:
    return relay(postfix, _message(), recipients) if postfix else None


def _accepted_by(postfix: Postfix | None) -> Accepted | None:
    return postfix_accepts(postfix) if postfix else None


def _message() -> bytes:
    return compose(PLAIN, PLAIN.name)


def tell(what: str) -> None:
    print(f"bench: {what}", flush=True)
