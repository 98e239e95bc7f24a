"""`make accuracy`: how well reports are read, on our own samples and on those that flufl.bounce publishes.

Prints the table that stands in docs/bounces.md; ends with 1 when a promise of that page is not kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.mail.dsn import Finding, read
from tests.accuracy import published
from tests.samples import reports
from tests.samples.reports import Expected, Sample

MIN_EXACT = 0.97
MIN_HARD_PRECISION = 0.99
MAX_SECONDS = 0.050
#: The processor's time, the best of so many: what else the machine does is not the reader's time.
_RUNS = 3


@dataclass(slots=True)
class Tally:
    """What was found out about one collection."""

    name: str
    reports: int = 0
    exact: int = 0
    others: int = 0
    false_bounces: int = 0
    called_hard: int = 0
    rightly_hard: int = 0
    classes: int = 0
    right_classes: int = 0
    raised: int = 0
    seconds: list[float] = field(default_factory=list)
    misread: list[str] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether the reader did as the documentation promises."""
        return (
            self.exact >= MIN_EXACT * self.reports
            and self.rightly_hard >= MIN_HARD_PRECISION * self.called_hard
            and not self.false_bounces
            and not self.raised
            and max(self.seconds) < MAX_SECONDS
        )

    def add(self, sample: Sample) -> None:
        """Read one sample and judge what was found."""
        try:
            findings, seconds = _timed(sample.content)
        except Exception:
            self.raised += 1
            self.misread.append(f"{sample.name}: raised")
            return
        self.seconds.append(seconds)
        if not sample.is_judged:
            return
        self._judge_recipients(sample, findings)
        wanted = {expected.recipient: expected for expected in sample.expected}
        for finding in findings:
            self._judge_diagnosis(finding, wanted.get(finding.recipient))

    def _judge_recipients(self, sample: Sample, findings: Sequence[Finding]) -> None:
        wanted = _who((expected.kind, expected.recipient) for expected in sample.expected)
        found = _who((finding.kind.value, finding.recipient) for finding in findings)
        is_right = wanted == found
        if any(expected.kind in ("bounce", "delay", "complaint") for expected in sample.expected):
            self.reports += 1
            self.exact += is_right
        else:
            self.others += 1
            self.false_bounces += any(kind == "bounce" for kind, _ in found)
        if not is_right:
            self.misread.append(f"{sample.name}: expected {sorted(map(str, wanted))}, found {sorted(map(str, found))}")

    def _judge_diagnosis(self, finding: Finding, expected: Expected | None) -> None:
        if finding.is_hard:
            self.called_hard += 1
            self.rightly_hard += expected is not None and expected.kind == "bounce" and expected.is_hard is not False
        if expected is not None and expected.bounce_class is not None:
            self.classes += 1
            self.right_classes += finding.bounce_class == expected.bounce_class

    def row(self) -> str:
        """The collection's row of the table."""
        slowest = 1000 * max(self.seconds)
        return (
            f"| {self.name} | {self.exact} of {self.reports} ({_percent(self.exact, self.reports)}) "
            f"| {self.rightly_hard} of {self.called_hard} ({_percent(self.rightly_hard, self.called_hard)}) "
            f"| {self.right_classes} of {self.classes} | {self.false_bounces} of {self.others} | {self.raised} "
            f"| {1000 * sum(self.seconds) / len(self.seconds):.1f} ms | {slowest:.0f} ms |"
        )


def main() -> int:
    tallies = []
    for name, samples in (("our own samples", reports.samples()), ("flufl.bounce's", published.samples())):
        tally = Tally(name)
        for sample in samples:
            tally.add(sample)
        tallies.append(tally)
    print("| messages | exact recipients | called hard, rightly | class | false bounces | raised | mean | slowest |")
    print("|---|---|---|---|---|---|---|---|")
    for tally in tallies:
        print(tally.row())
    for tally in tallies:
        print("".join(f"\n{line}" for line in tally.misread))
    return 0 if all(tally.is_kept for tally in tallies) else 1


def _timed(content: bytes) -> tuple[Sequence[Finding], float]:
    best = float("inf")
    for _ in range(_RUNS):
        began = time.thread_time()
        findings = read(content).findings
        best = min(best, time.thread_time() - began)
    return findings, best


def _who(pairs: object) -> set[tuple[str, str | None]]:
    return {(kind, recipient and recipient.lower()) for kind, recipient in pairs}  # type: ignore[attr-defined]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


if __name__ == "__main__":
    sys.exit(main())
