"""`make chaos`: faults at random moments of a mailing, and a ledger after each. chaos/README.md says what and how.

The exit code is 0 when every check of every seed held.
"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from chaos.faults import FAULTS
from chaos.report import Row, show, write
from chaos.runs import run
from deploy.local.child import StartFailedError
from deploy.local.rabbitmq_install import RabbitMQMissingError

SEEDS = 20
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # they end everything as Ctrl-C does
    wanted = _arguments()
    chosen = [fault for fault in FAULTS if not wanted.fault or fault.name in wanted.fault]
    rows: list[Row] = []
    failed: list[str] = []
    began_seconds = time.monotonic()
    try:
        for fault in chosen:
            row = Row(fault.name)
            rows.append(row)
            seeds = min(wanted.seeds, fault.at_most_seeds or wanted.seeds)
            failed += run(fault, range(wanted.first_seed, wanted.first_seed + seeds), row)
    except KeyboardInterrupt:
        print("\nchaos: ended; no process is left.", flush=True)
        raise SystemExit(130) from None
    except (StartFailedError, RabbitMQMissingError) as error:
        raise SystemExit(f"\n{error}") from None
    finally:
        show(rows, failed)
        write(rows, RESULTS)
    print(f"chaos: {time.monotonic() - began_seconds:.0f} s; written to {RESULTS}")
    raise SystemExit(1 if failed else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Faults in the middle of mailings, counted.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many for each fault ({SEEDS})")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them (1): to repeat one")
    parser.add_argument(
        "--fault",
        action="append",
        choices=[fault.name for fault in FAULTS],
        metavar="NAME",
        help="only this one; may be given again. One of: " + ", ".join(fault.name for fault in FAULTS),
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
