"""Every sample is read as it is meant: recipients, kinds, and class, hardness and status where they are given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.mail.dsn import read
from tests.samples import reports
from tests.samples.reports import Sample

SAMPLES = reports.samples()


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_a_sample_says_what_it_says(sample: Sample) -> None:
    found = {finding.recipient: finding for finding in read(sample.content).findings}
    assert set(found) == {expected.recipient for expected in sample.expected}
    for expected in sample.expected:
        finding = found[expected.recipient]
        assert finding.kind.value == expected.kind
        if expected.bounce_class is not None:
            assert finding.bounce_class == expected.bounce_class
        if expected.is_hard is not None:
            assert finding.is_hard is expected.is_hard
        if expected.status is not None:
            assert finding.status == expected.status


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_make_no_difference(line_end: bytes) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "postfix_unknown_user")
    [finding] = read(sample.content.replace(b"\r\n", line_end)).findings
    assert finding.recipient == "m.okafor@example.org"


def test_the_returned_messages_header_comes_with_the_findings() -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "arf_hotmail_like")
    assert b"Return-Path: <b+0000@lists.example>" in read(sample.content).returned_header


def test_the_command_prints_the_findings_of_a_file_as_json() -> None:
    path = Path(reports.__file__).with_name("qmail.eml")
    printed = subprocess.run([sys.executable, "-m", "shared.mail.dsn", str(path)], check=True, capture_output=True)
    assert json.loads(printed.stdout)[0] == {
        "recipient": "ivan.p@example.net",
        "kind": "bounce",
        "class": "no_such_user",
        "hard": True,
        "status": "5.1.1",
        "reply": "Sorry, no mailbox here by that name. (#5.1.1)",
    }
