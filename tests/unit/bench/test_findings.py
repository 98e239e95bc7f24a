"""Figures of several rounds come to medians, and ratios are taken within a round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench
from bench import findings, results, table
from bench.findings import Findings, Round
from bench.listfleet import Measured
from bench.postfix_relay import Relayed
from bench.redirects import Redirected
from bench.statistics import Told

README = (Path(bench.__file__).parent / "README.md").read_text()


def measured(per_second: float, *, recipients: int = 1000, peak: float = 80.0) -> Measured:
    return Measured(
        recipients=recipients,
        seconds=recipients / per_second,
        cpu_seconds_per_1000={"outbound_sender-1": 0.2, "services": 0.2, "postgresql": 0.1, "rabbitmq": 0.01},
        peak_megabytes={"outbound_sender-1": peak},
        stage_seconds={"sending": 1.0},
    )


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    rounds = [
        Round(postfix=Relayed(100, 0.6), unsigned=measured(400)),
        Round(postfix=Relayed(1000, 0.6), unsigned=measured(2000)),
        Round(postfix=Relayed(200, 0.6), unsigned=measured(600)),
    ]
    found = Findings("a sink", rounds, [])
    assert found.median(findings.unsigned) == pytest.approx(600)
    assert found.ratio(findings.unsigned, findings.postfix) == pytest.approx(3)


def test_memory_grows_from_the_smallest_mailing_to_the_largest() -> None:
    sizes = [measured(400, peak=80.0), measured(400, peak=70.0), measured(400, recipients=2000, peak=100.0)]
    assert Findings("a sink", [], sizes).memory_growth == pytest.approx(1.25)


def test_what_was_left_out_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings("a sink", [Round(unsigned=measured(400))], [])
    results.write(found, tmp_path / "results.json")
    table.show(found)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["listfleet_unsigned_per_s"] == 400
    assert written["postfix_per_s"] is written["listfleet_times_postfix"] is written["memory_growth"] is None
    lines = capsys.readouterr().out.splitlines()
    assert "left out" in next(line for line in lines if line.startswith("(c)"))
    assert "times" not in next(line for line in lines if line.startswith("(d)"))


def test_the_table_says_which_aims_are_reached(capsys: pytest.CaptureFixture[str]) -> None:
    scaling = {1: measured(100), 2: measured(191), 4: measured(350)}
    table.show(Findings("a sink", [Round(scaling=scaling, recorded_per_second=20_000.0)], []))
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("    2 nodes")).endswith("at least 1.9: reached")
    assert next(line for line in lines if line.startswith("    4 nodes")).endswith("at least 3.6: missed")
    assert next(line for line in lines if line.startswith("(g)")).endswith("at least 20,000: reached")


def test_the_table_says_how_redirects_and_statistics_did(capsys: pytest.CaptureFixture[str]) -> None:
    redirected = Redirected(80_000, 0.0125, 24_000, 0.04, 12.0, 12_500, 6_000, 11_000)
    table.show(Findings("a sink", [Round(redirected=redirected)], [], Told(210.0, 300.0, 4.0)))
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("    a tracking node")).endswith("at least 0.25: reached")
    assert next(line for line in lines if line.startswith("    2 nodes, a part")).endswith("at least 1.8: reached")
    assert any("at 12,500 a second" in line and line.endswith("at most 25: reached.") for line in lines)
    assert any(line.startswith("(l)") and line.endswith("at most 200: missed.") for line in lines)


def test_every_key_is_explained(tmp_path: Path) -> None:
    results.write(Findings("a sink", [Round()], []), tmp_path / "results.json")
    unexplained = {key for key in json.loads((tmp_path / "results.json").read_text()) if f"`{key}`" not in README}
    assert not unexplained
