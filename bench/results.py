"""What is written to results.json; bench/README.md says what each key means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench import findings
from bench.findings import Findings
from bench.listfleet import Measured


def write(found: Findings, file: Path) -> None:
    """Figures are medians; `null` or empty for what was left out."""
    unsigned, signed = findings.unsigned_mailing, findings.signed_mailing
    results = {
        "sink": found.sink,
        "rounds": len(found.rounds),
        "wire_per_s": found.median(findings.wire),
        "rsa_signs_per_s": found.median(findings.signatures),
        "postfix_per_s": found.median(findings.postfix),
        "postfix_cpu_s_per_1000": found.median(findings.postfix_cpu),
        "listfleet_unsigned_per_s": found.median(findings.unsigned),
        "listfleet_times_postfix": found.ratio(findings.unsigned, findings.postfix),
        "cpu_s_per_1000": found.median(findings.unsigned_cpu),
        "cpu_s_per_1000_by_part": found.cpu_seconds_per_1000(unsigned),
        "peak_mb": found.peak_megabytes(unsigned),
        "stage_s": found.stage_seconds(unsigned),
        "listfleet_signed_per_s": found.median(findings.signed),
        "signed_times_rsa": found.ratio(findings.signed, findings.signatures),
        "signed_times_postfix": found.ratio(findings.signed, findings.postfix),
        "signed_cpu_s_per_1000": found.median(findings.signed_cpu),
        "signed_cpu_s_per_1000_by_part": found.cpu_seconds_per_1000(signed),
        "signed_peak_mb": found.peak_megabytes(signed),
        "signed_stage_s": found.stage_seconds(signed),
        "postfix_bulk_per_s": found.median(findings.postfix_bulk),
        "listfleet_bulk_per_s": found.median(findings.bulk),
        "bulk_times_postfix": found.ratio(findings.bulk, findings.postfix_bulk),
        "recorder_per_s": found.median(findings.recorded),
        "one_node_per_s": found.median(findings.by_nodes(1)),
        "scaling_2": found.ratio(findings.by_nodes(2), findings.by_nodes(1)),
        "scaling_4": found.ratio(findings.by_nodes(4), findings.by_nodes(1)),
        "postfix_accepts_per_s": found.median(findings.postfix_accepting),
        "postfix_accepts_cpu_s_per_1000": found.median(findings.postfix_accepting_cpu),
        "ingress_per_s": found.median(findings.accepting),
        "ingress_cpu_s_per_1000": found.median(findings.accepting_cpu),
        "ingress_times_postfix": found.ratio(findings.accepting, findings.postfix_accepting),
        "nginx_redirects_per_s": found.median(findings.nginx),
        "nginx_redirects_cpu_s_per_1000": found.median(findings.nginx_cpu),
        "redirects_per_s": found.median(findings.redirects),
        "redirects_cpu_s_per_1000": found.median(findings.redirects_cpu),
        "redirects_times_nginx": found.ratio(findings.redirects, findings.nginx),
        "redirects_per_cpu_s_times_nginx": found.ratio(findings.nginx_cpu, findings.redirects_cpu),
        "redirects_at_half_per_s": found.median(findings.redirects_at_half),
        "redirects_p99_ms_at_half": found.median(findings.redirects_p99_ms),
        "redirects_scaling_2": found.ratio(findings.two_behind, findings.one_behind),
        "statistics_ms": found.told and found.told.milliseconds,
        "statistics_slowest_ms": found.told and found.told.slowest_milliseconds,
        "roll_up_s": found.told and found.told.roll_up_seconds,
        "expansion_per_s": found.median(findings.reached),
        "count_s": found.median(findings.count_seconds),
        "import_per_s": found.median(findings.imported),
        "sizes": [_size(measured) for measured in found.sizes],
        "memory_growth": found.memory_growth,
    }
    file.write_text(json.dumps(_rounded(results), indent=2) + "\n")


def _size(measured: Measured) -> Mapping[str, object]:
    return {
        "recipients": measured.recipients,
        "per_s": measured.per_second,
        "cpu_s_per_1000": measured.whole_cpu_seconds_per_1000,
        "peak_mb": measured.peak_megabytes,
    }


def _rounded(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 3) if isinstance(value, float) else value
