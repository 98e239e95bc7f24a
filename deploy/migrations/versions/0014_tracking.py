"""What lists keep of opens and clicks, the events, and what they come to.

Revision ID: 0014
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision: str | None = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE TYPE tracking_policy AS ENUM ('off', 'anonymous', 'full')",
    """
    ALTER TABLE mailing_lists
        ADD COLUMN tracking tracking_policy DEFAULT 'off' NOT NULL,
        ADD COLUMN tracks_plain_text boolean DEFAULT false NOT NULL
    """,
    """
    ALTER TABLE mailings
        ADD COLUMN tracking tracking_policy DEFAULT 'off' NOT NULL,
        ADD COLUMN tracks_plain_text boolean DEFAULT false NOT NULL
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("what was counted would be lost: restore a backup instead")
