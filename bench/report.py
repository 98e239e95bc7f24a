"""What a run found: the table that is printed, and results.json (its keys: bench/README.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.listfleet import Measured
from bench.postfix_relay import Relayed


@dataclass(frozen=True, slots=True)
class Round:
    """One round of all three; `None` for what is not installed."""

    wire_per_second: float | None
    postfix: Relayed | None
    listfleet: Measured


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole run; its figures are medians of the rounds."""

    sink: str
    nodes: int
    rounds: list[Round]
    #: The large mailing; `None` in a quick run.
    large: Measured | None

    @property
    def wire_per_second(self) -> float | None:
        return _median(turn.wire_per_second for turn in self.rounds)

    @property
    def postfix_per_second(self) -> float | None:
        return _median(turn.postfix.per_second if turn.postfix else None for turn in self.rounds)

    @property
    def postfix_cpu_seconds_per_1000(self) -> float | None:
        return _median(turn.postfix.cpu_seconds_per_1000 if turn.postfix else None for turn in self.rounds)

    @property
    def listfleet_per_second(self) -> float:
        return median(turn.listfleet.per_second for turn in self.rounds)

    @property
    def times_postfix(self) -> float | None:
        """Listfleet's rate by Postfix's in the same round."""
        return _median(
            turn.listfleet.per_second / turn.postfix.per_second if turn.postfix else None for turn in self.rounds
        )

    @property
    def cpu_seconds_per_1000(self) -> Mapping[str, float]:
        return _medians([turn.listfleet.cpu_seconds_per_1000 for turn in self.rounds])

    @property
    def peak_megabytes(self) -> Mapping[str, float]:
        return _medians([turn.listfleet.peak_megabytes for turn in self.rounds])

    @property
    def stage_seconds(self) -> Mapping[str, float]:
        return _medians([turn.listfleet.stage_seconds for turn in self.rounds])

    @property
    def memory_growth(self) -> float | None:
        """A node's peak for the large mailing by its peak for the small one, the worst node."""
        if self.large is None:
            return None
        return max(
            peak / self.peak_megabytes[name]
            for name, peak in self.large.peak_megabytes.items()
            if name.startswith("outbound_sender")
        )


def show(found: Comparison) -> None:
    """Prints the table."""
    cpu, nodes = found.cpu_seconds_per_1000, f"{found.nodes} node{'s' * (found.nodes > 1)}"
    print(f"\n{'messages a second':36}{'':>10}   CPU s a 1,000")
    _line("the wire (smtp-source)", found.wire_per_second)
    _line("Postfix, relaying", found.postfix_per_second, found.postfix_cpu_seconds_per_1000)
    _line(f"Listfleet, unsigned, {nodes}", found.listfleet_per_second, _all_parts(cpu))
    if found.times_postfix:
        print(f"Listfleet is {found.times_postfix:.1f} times as fast as Postfix. The sink: {found.sink}.")
    print(f"\n{'Listfleet, by process':36}{'peak MB':>10}   CPU s a 1,000")
    for part, seconds in cpu.items():
        if part != "services":
            peak = found.peak_megabytes.get(part)
            print(f"{part:36}{f'{peak:.0f}' if peak else '':>10}   {seconds:.3f}")
    whole = median(turn.listfleet.seconds for turn in found.rounds)
    print(f"\n{'Listfleet, by stage (they overlap)':36}{'seconds':>10}   share of the whole")
    for stage, seconds in found.stage_seconds.items():
        print(f"{stage:36}{seconds:>10.2f}   {seconds / whole:.0%}")
    if found.large and found.memory_growth:
        recipients = found.rounds[0].listfleet.recipients
        print(
            f"\nA node's peak memory for {found.large.recipients:,} recipients is {found.memory_growth:.2f} times"
            f" that for {recipients:,}; {found.large.per_second:,.0f} messages a second."
        )


def write(found: Comparison, file: Path) -> None:
    """Writes results.json."""
    large = found.large
    results = {
        "sink": found.sink,
        "nodes": found.nodes,
        "rounds": len(found.rounds),
        "recipients": found.rounds[0].listfleet.recipients,
        "wire_per_s": found.wire_per_second,
        "postfix_per_s": found.postfix_per_second,
        "postfix_cpu_s_per_1000": found.postfix_cpu_seconds_per_1000,
        "listfleet_unsigned_per_s": found.listfleet_per_second,
        "listfleet_times_postfix": found.times_postfix,
        "cpu_s_per_1000": _all_parts(found.cpu_seconds_per_1000),
        "cpu_s_per_1000_by_part": found.cpu_seconds_per_1000,
        "peak_mb": found.peak_megabytes,
        "stage_s": found.stage_seconds,
        "large_recipients": large and large.recipients,
        "large_per_s": large and large.per_second,
        "large_peak_mb": large and large.peak_megabytes,
        "memory_growth": found.memory_growth,
    }
    file.write_text(json.dumps(_rounded(results), indent=2) + "\n")


def _line(name: str, per_second: float | None, cpu_seconds_per_1000: float | None = None) -> None:
    rate = (
        "   left out: not installed, or started by others than root" if per_second is None else f"{per_second:>10,.0f}"
    )
    print(f"{name:36}{rate}{'' if cpu_seconds_per_1000 is None else f'   {cpu_seconds_per_1000:.3f}'}")


def _all_parts(cpu: Mapping[str, float]) -> float:
    return cpu["services"] + cpu["postgresql"] + cpu["rabbitmq"]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _medians(rounds: list[Mapping[str, float]]) -> Mapping[str, float]:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}


def _rounded(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    return round(value, 3) if isinstance(value, float) else value
