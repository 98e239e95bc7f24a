"""Whom newsletters go to: what activity is found by, how far an expansion over several lists is, limits on newsletters.

Revision ID: 0016
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision: str | None = "0015"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TYPE delivery_state ADD VALUE 'recently_mailed'",
    """
    ALTER TABLE mailing_lists
        ADD COLUMN recency_newsletters INTEGER,
        ADD COLUMN recency_days INTEGER DEFAULT 7 NOT NULL
    """,
    "ALTER TABLE mailings ADD COLUMN expanded_lists INTEGER DEFAULT 0 NOT NULL",
    "CREATE INDEX ix_mailings_created_at_newsletters ON mailings (created_at) WHERE list_ids IS NOT NULL",
    "ALTER TABLE deliveries ADD COLUMN is_newsletter boolean DEFAULT false NOT NULL",
    "CREATE INDEX ix_deliveries_member_id ON deliveries (member_id, mailing_created_at) WHERE is_newsletter",
    "ALTER TABLE tracking_events ADD COLUMN member_id BIGINT",
    """
    UPDATE tracking_events e SET member_id = d.member_id FROM mailings m, deliveries d
    WHERE m.id = e.mailing_id AND d.id = e.delivery_id AND d.mailing_created_at = m.created_at
    """,
    """
    CREATE INDEX ix_tracking_events_member_id ON tracking_events (member_id, at)
        WHERE member_id IS NOT NULL AND judged IS NULL
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("what was counted would be lost: restore a backup instead")
