"""`python -m shared.mail.dsn FILE.eml`: what a message reports, as JSON on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from shared.mail.dsn import Finding, read


def as_json(finding: Finding) -> dict[str, Any]:
    """The finding under the names of the printed form."""
    return {
        "recipient": finding.recipient,
        "kind": finding.kind.value,
        "class": finding.bounce_class.value if finding.bounce_class else None,
        "hard": finding.is_hard,
        "status": finding.status,
        "reply": finding.reply,
    }


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m shared.mail.dsn FILE.eml\n")
        return 2
    reading = read(Path(sys.argv[1]).read_bytes())
    sys.stdout.write(
        json.dumps([as_json(finding) for finding in reading.findings], ensure_ascii=False, indent=2) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
