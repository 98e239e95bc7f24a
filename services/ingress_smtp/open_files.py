"""How many sessions the open files of this process leave room for."""

from __future__ import annotations

import resource

#: More than so many open files are not asked for.
MOST_FILES = 65_536
#: This part of them is spare: for connections that are taken only to be refused, and for database, broker and logs.
SPARE_PART = 0.25


def sessions_by_open_files() -> int:
    """How many sessions there may be, after the soft limit on open files was raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)
    return max(1, int(files * (1 - SPARE_PART)))
