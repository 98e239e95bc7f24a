"""Members who are held are reminded so many times, and then a list may remove them; fewer mails of one list's asking.

Revision ID: 0020
Revises: 0016
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision: str | None = "0019"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE mailing_lists ADD COLUMN removes_held_members boolean DEFAULT true NOT NULL",
    "ALTER TABLE members ADD COLUMN held_reminders integer DEFAULT 0 NOT NULL",
    "ALTER TABLE members ADD COLUMN held_reminded_at timestamptz",
    """
    CREATE INDEX ix_members_held_told_at ON members ((coalesce(held_reminded_at, held_at, joined_at)))
    WHERE status = 'held'
    """,
    """
    CREATE INDEX ix_subscription_requests_pending_email_key ON subscription_requests (list_id, email_key)
    WHERE state = 'pending'
    """,
    """
    CREATE INDEX ix_subscription_requests_pending_changed_at ON subscription_requests (changed_at)
    WHERE state = 'pending'
    """,
    """
    CREATE INDEX ix_notices_confirmations ON notices (list_id, created_at) WHERE counted_as = 'confirmation'
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("who was reminded would be forgotten: restore a backup instead")
