"""What the broker could not take, on this node's disk until it can: bounded, in order, at least once.

A folder holds a folder for each process that uses it at one time, so that a node that is started again finds what it
left. In it are segments of one payload a line, in the form in which payloads travel. A line that was cut off when the
process or the machine died was told to nobody; it is always the last of its segment.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from shared.contracts.base import Payload, UnreadablePayload
from shared.contracts.topology import decode, encode

#: A segment is read whole.
SEGMENT_BYTES = 4 * 1024 * 1024
_SUFFIX = ".segment"
_SET_ASIDE = ".unreadable"


class JournalFull(Exception):
    """There is no room for more, on the disk or within the bound."""


class Journal:
    """Used by one process; no two of its methods at once."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._parent = folder
        self._max_bytes = max_bytes
        self._folder = folder
        self._lock: int | None = None
        self._segment: int | None = None
        self._segment_bytes = 0
        self._numbers = itertools.count(1)
        #: Of all segments that were not replayed.
        self.size_bytes = 0

    def open(self) -> None:
        """Take the first folder that no process has; raises `OSError`."""
        for number in itertools.count(1):
            folder = self._parent / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._folder, self._lock = folder, lock
            break
        segments = self.segments()
        self.size_bytes = sum(segment.stat().st_size for segment in segments)
        self._numbers = itertools.count(1 + max((int(segment.stem) for segment in segments), default=0))

    def append(self, payload: Payload) -> None:
        """Return when the payload is on the disk; `JournalFull` when there is no room for it."""
        line = encode(payload) + b"\n"
        if self.size_bytes + len(line) > self._max_bytes:
            raise JournalFull(f"the journal has {self.size_bytes} bytes")
        try:
            if self._segment is None:
                self._segment = os.open(
                    self._folder / f"{next(self._numbers):012d}{_SUFFIX}",
                    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
                    0o600,
                )
                self._sync_folder()
                self._segment_bytes = 0
            written = os.write(self._segment, line)
            self.size_bytes += written
            self._segment_bytes += written
            if written < len(line):
                raise OSError("the line was cut off")
            os.fdatasync(self._segment)
        except OSError as error:
            # What follows a line that was cut off would be part of it.
            self.end_segment()
            raise JournalFull(str(error)) from error
        if self._segment_bytes >= SEGMENT_BYTES:
            self.end_segment()

    def end_segment(self) -> None:
        """Whatever is appended from now on goes into another segment."""
        if self._segment is not None:
            os.close(self._segment)
            self._segment = None

    def segments(self) -> Sequence[Path]:
        """All segments, the oldest first."""
        return sorted(self._folder.glob(f"*{_SUFFIX}"))

    def read(self, segment: Path) -> Sequence[Payload]:
        """The payloads of a segment. One with a line that cannot be read, though it has an end, is set aside whole
        as well."""
        *lines, _cut_off = segment.read_bytes().split(b"\n")
        payloads: list[Payload] = []
        for line in lines:
            try:
                payloads.append(decode(line))
            except UnreadablePayload:
                copy = segment.with_suffix(_SET_ASIDE)
                copy.unlink(missing_ok=True)
                copy.hardlink_to(segment)
        return payloads

    def remove(self, segment: Path) -> None:
        """Forget a segment that was replayed."""
        size_bytes = segment.stat().st_size
        segment.unlink()
        self._sync_folder()
        self.size_bytes -= size_bytes

    def close(self) -> None:
        """Leave the folder to another process."""
        self.end_segment()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
