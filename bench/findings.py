"""What a run found: its rounds, their medians, and what is compared with what, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.audience import Reached
from bench.incoming import Accepted
from bench.listfleet import Measured
from bench.postfix_relay import Relayed
from bench.redirects import Redirected
from bench.statistics import Told


@dataclass(frozen=True, slots=True)
class Round:
    """One round; `None` for what is not installed or was left out."""

    wire_per_second: float | None = None
    signatures_per_second: float | None = None
    postfix: Relayed | None = None
    unsigned: Measured | None = None
    signed: Measured | None = None
    postfix_bulk: Relayed | None = None
    bulk: Measured | None = None
    recorded_per_second: float | None = None
    #: By how many nodes sent.
    scaling: Mapping[int, Measured] = field(default_factory=dict)
    postfix_accepting: Accepted | None = None
    accepting: Accepted | None = None
    reached: Reached | None = None
    imported_per_second: float | None = None
    redirected: Redirected | None = None


#: A figure of one round.
Figure = Callable[[Round], float | None]
#: A mailing of one round.
Mailing = Callable[[Round], Measured | None]


@dataclass(frozen=True, slots=True)
class Findings:
    """A whole run; its figures are medians of the rounds."""

    sink: str
    rounds: Sequence[Round]
    #: Mailings of growing size, each run once.
    sizes: Sequence[Measured]
    #: Asked for once.
    told: Told | None = None

    def median(self, figure: Figure) -> float | None:
        known = [value for value in map(figure, self.rounds) if value is not None]
        return median(known) if known else None

    def ratio(self, figure: Figure, to: Figure) -> float | None:
        """The one by the other within a round, so that whatever else the machine did met both."""

        def within(turn: Round) -> float | None:
            above, below = figure(turn), to(turn)
            return above / below if above and below else None

        return self.median(within)

    def mailings(self, mailing: Mailing) -> Sequence[Measured]:
        """That of each round."""
        return [measured for measured in map(mailing, self.rounds) if measured]

    def cpu_seconds_per_1000(self, mailing: Mailing) -> Mapping[str, float]:
        return _medians([measured.cpu_seconds_per_1000 for measured in self.mailings(mailing)])

    def peak_megabytes(self, mailing: Mailing) -> Mapping[str, float]:
        return _medians([measured.peak_megabytes for measured in self.mailings(mailing)])

    def stage_seconds(self, mailing: Mailing) -> Mapping[str, float]:
        return _medians([measured.stage_seconds for measured in self.mailings(mailing)])

    def seconds(self, mailing: Mailing) -> float:
        return median(measured.seconds for measured in self.mailings(mailing))

    @property
    def memory_growth(self) -> float | None:
        """A node's peak for the largest mailing of (i) by its peak for the smallest."""
        if not self.sizes:
            return None
        return self.sizes[-1].node_peak_megabytes / self.sizes[0].node_peak_megabytes


def _medians(rounds: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]} if rounds else {}


def wire(turn: Round) -> float | None:
    return turn.wire_per_second


def signatures(turn: Round) -> float | None:
    return turn.signatures_per_second


def recorded(turn: Round) -> float | None:
    return turn.recorded_per_second


def reached(turn: Round) -> float | None:
    return turn.reached.recipients_per_second if turn.reached else None


def count_seconds(turn: Round) -> float | None:
    return turn.reached.count_seconds if turn.reached else None


def imported(turn: Round) -> float | None:
    return turn.imported_per_second


def unsigned_mailing(turn: Round) -> Measured | None:
    return turn.unsigned


def signed_mailing(turn: Round) -> Measured | None:
    return turn.signed


def _rate(of: Callable[[Round], Relayed | Measured | Accepted | None]) -> Figure:
    return lambda turn: found.per_second if (found := of(turn)) else None


def _cpu(of: Callable[[Round], Relayed | Measured | Accepted | None]) -> Figure:
    return lambda turn: found.whole_cpu_seconds_per_1000 if (found := of(turn)) else None


def by_nodes(count: int) -> Figure:
    """The rate of so many nodes."""
    return _rate(lambda turn: turn.scaling.get(count))


postfix = _rate(lambda turn: turn.postfix)
postfix_cpu = _cpu(lambda turn: turn.postfix)
unsigned = _rate(unsigned_mailing)
unsigned_cpu = _cpu(unsigned_mailing)
signed = _rate(signed_mailing)
signed_cpu = _cpu(signed_mailing)
postfix_bulk = _rate(lambda turn: turn.postfix_bulk)
postfix_bulk_cpu = _cpu(lambda turn: turn.postfix_bulk)
bulk = _rate(lambda turn: turn.bulk)
bulk_cpu = _cpu(lambda turn: turn.bulk)
postfix_accepting = _rate(lambda turn: turn.postfix_accepting)
postfix_accepting_cpu = _cpu(lambda turn: turn.postfix_accepting)
accepting = _rate(lambda turn: turn.accepting)
accepting_cpu = _cpu(lambda turn: turn.accepting)


def _redirects(of: Callable[[Redirected], float]) -> Figure:
    return lambda turn: of(turn.redirected) if turn.redirected else None


nginx = _redirects(lambda found: found.nginx_per_second)
nginx_cpu = _redirects(lambda found: found.nginx_cpu_seconds_per_1000)
redirects = _redirects(lambda found: found.per_second)
redirects_cpu = _redirects(lambda found: found.cpu_seconds_per_1000)
redirects_at_half = _redirects(lambda found: found.half_per_second)
redirects_p99_ms = _redirects(lambda found: found.p99_ms)
one_behind = _redirects(lambda found: found.one_behind_per_second)
two_behind = _redirects(lambda found: found.two_behind_per_second)
