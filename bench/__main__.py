"""`make bench`: the machine's limits, Postfix, nginx and Listfleet side by side in one run; bench/README.md says how.

QUICK=1: one round instead of five, without (i) and (l). ONLY=letters: nothing but these parts. MILLION=1: (i) ends with
a mailing to 1,000,000.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.findings import Findings
from bench.measuring import ALL_PARTS, QUICK_PARTS, Bench
from bench.results import write
from bench.table import show

ROUNDS = 5
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    is_quick = bool(os.environ.get("QUICK"))
    parts = os.environ.get("ONLY") or (QUICK_PARTS if is_quick else ALL_PARTS)
    if unknown := set(parts) - set(ALL_PARTS):
        raise SystemExit(f"ONLY={parts}: there are the parts {ALL_PARTS}, and no {''.join(sorted(unknown))}.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="listfleet-bench-")))
        folder.chmod(0o711)  # Postfix and PostgreSQL run as users of their own
        bench = Bench(stack, folder, parts)
        rounds = [bench.round(number) for number in range(1, 2 if is_quick else ROUNDS + 1)]
        sizes = bench.sizes(with_a_million=bool(os.environ.get("MILLION")))
        found = Findings(bench.sink.name, rounds, sizes, bench.told())
    show(found)
    write(found, RESULTS)
    print(f"bench: written to {RESULTS}")


if __name__ == "__main__":
    main()
