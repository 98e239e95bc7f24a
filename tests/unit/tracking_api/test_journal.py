from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from services.tracking_api import journal as journal_module
from services.tracking_api.journal import Journal, JournalFull
from shared.contracts.events import CopiesRead, ReadEvent

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def read(number: int) -> CopiesRead:
    return CopiesRead((ReadEvent(UUID(int=number), NOW, 7, number, None),))


def opened(folder: Path, max_bytes: int = 1_000_000) -> Journal:
    journal = Journal(folder, max_bytes=max_bytes)
    journal.open()
    return journal


def contents(journal: Journal) -> list[object]:
    return [payload for segment in journal.segments() for payload in journal.read(segment)]


def test_what_was_appended_is_there_after_a_kill(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(read(1))
    journal.append(read(2))
    journal.close()
    again = opened(tmp_path)
    assert contents(again) == [read(1), read(2)]
    again.append(read(3))
    assert contents(again) == [read(1), read(2), read(3)]
    assert again.size_bytes == sum(segment.stat().st_size for segment in again.segments())


def test_a_line_that_was_cut_off_is_left_out_and_nothing_is_put_behind_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(read(1))
    journal.append(read(2))
    journal.close()
    (segment,) = journal.segments()
    for size in range(1, segment.stat().st_size):
        os.truncate(segment, segment.stat().st_size - 1)
        again = opened(tmp_path)
        again.append(read(3))
        assert contents(again)[-1] == read(3)
        assert len(contents(again)) == (2 if again.read(segment) else 1)
        for added in again.segments()[1:]:
            again.remove(added)
        again.close()
        assert size


def test_beyond_the_bound_it_is_full_until_something_is_removed(tmp_path: Path) -> None:
    journal = opened(tmp_path, 300)
    journal.append(read(1))
    with pytest.raises(JournalFull):
        for number in range(2, 10):
            journal.append(read(number))
    assert journal.size_bytes <= 300
    journal.end_segment()
    for segment in journal.segments():
        journal.remove(segment)
    assert journal.size_bytes == 0
    journal.append(read(9))
    assert contents(journal) == [read(9)]


def test_a_disk_that_takes_nothing_makes_it_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    journal.append(read(1))

    def no_space(_file: int, _octets: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.write", no_space)
        with pytest.raises(JournalFull, match="No space"):
            journal.append(read(2))
    journal.append(read(3))
    assert contents(journal) == [read(1), read(3)]


def test_each_process_has_a_folder_of_its_own_and_takes_over_what_was_left(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.append(read(1))
    second.append(read(2))
    assert (contents(first), contents(second)) == ([read(1)], [read(2)])
    first.close()
    assert contents(opened(tmp_path)) == [read(1)]


def test_a_line_that_cannot_be_read_is_set_aside_and_holds_up_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(read(1))
    journal.end_segment()
    (segment,) = journal.segments()
    segment.write_bytes(b"\x00broken\n" + segment.read_bytes())
    assert contents(journal) == [read(1)]
    journal.remove(segment)
    assert contents(journal) == []
    (aside,) = segment.parent.glob("*.unreadable")
    assert aside.read_bytes().startswith(b"\x00broken\n")


def test_segments_are_ended_before_they_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 200)
    journal = opened(tmp_path)
    for number in range(10):
        journal.append(read(number))
    assert len(journal.segments()) > 2
    assert contents(journal) == [read(number) for number in range(10)]
