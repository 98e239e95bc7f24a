"""What became of a mailing's deliveries by domain and hour, and which mailings had events purged.

Revision ID: 0019
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision: str | None = "0018"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE roll_ups (
        mailing_id BIGINT NOT NULL,
        counted_at timestamptz DEFAULT now() NOT NULL,
        PRIMARY KEY (mailing_id)
    )
    """,
    """
    CREATE TABLE delivery_counts (
        mailing_id BIGINT NOT NULL,
        counted_by counted_by NOT NULL,
        key text NOT NULL,
        delivered BIGINT NOT NULL,
        refused BIGINT NOT NULL,
        waiting BIGINT NOT NULL,
        bounced BIGINT NOT NULL,
        PRIMARY KEY (mailing_id, counted_by, key)
    )
    """,
    """
    CREATE TABLE purged_readings (
        mailing_id BIGINT NOT NULL,
        PRIMARY KEY (mailing_id)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("what was counted would be lost: restore a backup instead")
