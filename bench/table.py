"""The table that is printed: each figure beside what it is compared with, and what it is to reach."""

from __future__ import annotations

from dataclasses import dataclass

from bench import findings
from bench.findings import Figure, Findings
from bench.listfleet import CONNECTIONS

#: Of the sender, a 1,000 signed messages.
MAX_SENDER_CPU_SECONDS = 0.9
#: Of answers at half of the highest rate.
MAX_P99_MS = 25
#: Of a mailing's statistics, however large it is.
MAX_STATISTICS_MS = 200
#: To count 100,000 members.
MAX_COUNT_SECONDS = 1
#: A node's peak, however many the recipients.
MAX_NODE_MEGABYTES = 150


@dataclass(frozen=True, slots=True)
class _Aim:
    """What a figure is to reach: so many times another one, which `name` names, or so many a second."""

    at_least: float
    to: Figure | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    figure: Figure
    cpu_seconds_per_1000: Figure | None = None
    aims: tuple[_Aim, ...] = ()


_LINES = (
    _Line("(a) the wire: smtp-source", findings.wire),
    _Line("(b) RSA-2048 signatures, all cores", findings.signatures),
    _Line("(c) Postfix, a transaction a recipient", findings.postfix, findings.postfix_cpu),
    _Line(
        "(d) Listfleet, unsigned",
        findings.unsigned,
        findings.unsigned_cpu,
        (_Aim(4, findings.postfix, "(c)"),),
    ),
    _Line(
        "(e) Listfleet, personal and RSA-signed",
        findings.signed,
        findings.signed_cpu,
        (_Aim(0.5, findings.signatures, "(b)"), _Aim(1.5, findings.postfix, "(c)")),
    ),
    _Line("(f) Postfix, 100 recipients together", findings.postfix_bulk, findings.postfix_bulk_cpu),
    _Line(
        "    Listfleet, 100 recipients together",
        findings.bulk,
        findings.bulk_cpu,
        (_Aim(2, findings.postfix_bulk, "Postfix"),),
    ),
    _Line(f"(g) outcomes recorded, {CONNECTIONS} a group", findings.recorded, aims=(_Aim(20_000),)),
    _Line("(h) 1 node, a sink of 100 ms latency", findings.by_nodes(1)),
    _Line("    2 nodes", findings.by_nodes(2), aims=(_Aim(1.9, findings.by_nodes(1), "1 node"),)),
    _Line("    4 nodes", findings.by_nodes(4), aims=(_Aim(3.6, findings.by_nodes(1), "1 node"),)),
    _Line("(j) Postfix accepts and queues, 5 kB", findings.postfix_accepting, findings.postfix_accepting_cpu),
    _Line(
        "    an ingress node accepts and stores",
        findings.accepting,
        findings.accepting_cpu,
        (_Aim(0.5, findings.postfix_accepting, "Postfix"),),
    ),
    _Line("(k) nginx, a plain 302, one core", findings.nginx, findings.nginx_cpu),
    _Line(
        "    a tracking node, one core",
        findings.redirects,
        findings.redirects_cpu,
        (_Aim(0.25, findings.nginx, "nginx"),),
    ),
    _Line("    1 node behind HAProxy, a part of a core", findings.one_behind),
    _Line("    2 nodes, a part each", findings.two_behind, aims=(_Aim(1.8, findings.one_behind, "1 node"),)),
    _Line("(m) a newsletter's recipients made", findings.reached, aims=(_Aim(50_000),)),
    _Line("(n) members imported through the API", findings.imported),
)


def show(found: Findings) -> None:
    """Prints what was measured."""
    print(f"\n{'medians of ' + str(len(found.rounds)):40}{'a second':>10}{'CPU s a 1,000':>16}   aims")
    for line in _LINES:
        _show_line(found, line)
    print(f"The sink of (a), (c), (d), (e) and the sizes: {found.sink}; that of (f) and (h) is our own.")
    if sender := sum(
        cpu
        for part, cpu in found.cpu_seconds_per_1000(findings.signed_mailing).items()
        if part.startswith("outbound_sender")
    ):
        verdict = _verdict(is_reached=sender <= MAX_SENDER_CPU_SECONDS)
        print(f"(e) costs the senders {sender:.3f} CPU s a 1,000, at most {MAX_SENDER_CPU_SECONDS}: {verdict}.")
    if p99_ms := found.median(findings.redirects_p99_ms):
        rate, verdict = found.median(findings.redirects_at_half), _verdict(is_reached=p99_ms <= MAX_P99_MS)
        by_cpu = found.ratio(findings.nginx_cpu, findings.redirects_cpu)
        print(f"(k) by the CPU time that they take, the tracking node makes {by_cpu:.2f} times nginx's redirects.")
        print(f"(k) at {rate:,.0f} a second 99 % of answers take {p99_ms:.1f} ms, at most {MAX_P99_MS}: {verdict}.")
    if told := found.told:
        verdict = _verdict(is_reached=told.milliseconds <= MAX_STATISTICS_MS)
        print(f"(l) statistics take {told.milliseconds:.0f} ms, at most {MAX_STATISTICS_MS}: {verdict}.")
    if count := found.median(findings.count_seconds):
        verdict = _verdict(is_reached=count < MAX_COUNT_SECONDS)
        print(f"(m) is counted in {count:.2f} s beforehand, less than {MAX_COUNT_SECONDS}: {verdict}.")
    for name, mailing in (("(d)", findings.unsigned_mailing), ("(e)", findings.signed_mailing)):
        if found.mailings(mailing):
            _show_parts(found, name, mailing)
    if found.sizes:
        _show_sizes(found)


def _show_line(found: Findings, line: _Line) -> None:
    per_second = found.median(line.figure)
    if per_second is None:
        print(f"{line.name:40}{'left out':>10}")
        return
    cpu = found.median(line.cpu_seconds_per_1000) if line.cpu_seconds_per_1000 else None
    aims = [text for aim in line.aims if (text := _reached(found, line.figure, aim))] or [""]
    print(f"{line.name:40}{per_second:>10,.0f}{f'{cpu:.3f}' if cpu else '':>16}   {aims[0]}".rstrip())
    for text in aims[1:]:
        print(f"{'':69}{text}")


def _reached(found: Findings, figure: Figure, aim: _Aim) -> str | None:
    """In words how far the aim is reached; `None` when what it is compared with was left out."""
    reached = found.ratio(figure, aim.to) if aim.to else found.median(figure)
    if reached is None:
        return None
    verdict = _verdict(is_reached=reached >= aim.at_least)
    if aim.to is None:
        return f"at least {aim.at_least:,.0f}: {verdict}"
    return f"{reached:.2f} times {aim.name}, at least {aim.at_least:g}: {verdict}"


def _verdict(*, is_reached: bool) -> str:
    return "reached" if is_reached else "missed"


def _show_parts(found: Findings, name: str, mailing: findings.Mailing) -> None:
    peaks, seconds = found.peak_megabytes(mailing), found.seconds(mailing)
    print(f"\n{name + ' by process':40}{'peak MB':>10}{'CPU s a 1,000':>16}")
    for part, cpu in found.cpu_seconds_per_1000(mailing).items():
        if part != "services":
            peak = peaks.get(part)
            print(f"{part:40}{f'{peak:.0f}' if peak else '':>10}{cpu:>16.3f}")
    print(f"{name + ' by stage (they overlap)':40}{'seconds':>10}{'of the whole':>16}")
    for stage, length in found.stage_seconds(mailing).items():
        print(f"{stage:40}{length:>10.2f}{length / seconds:>16.0%}")


def _show_sizes(found: Findings) -> None:
    print(f"\n{'(i) by size, unsigned, one run each':40}{'a second':>10}{'CPU s a 1,000':>16}   a node's peak MB")
    for measured in found.sizes:
        cpu, peak = measured.whole_cpu_seconds_per_1000, measured.node_peak_megabytes
        aim = f"at most {MAX_NODE_MEGABYTES}: {_verdict(is_reached=peak <= MAX_NODE_MEGABYTES)}"
        name = f"{measured.recipients:,} recipients"
        print(f"{name:40}{measured.per_second:>10,.0f}{cpu:>16.3f}   {peak:.0f}, {aim}")
