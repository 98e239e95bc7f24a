"""Limits of recipient domains and of lists, and batches that keep to them.

Revision ID: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE domain_limits (
        pattern text NOT NULL,
        connections INTEGER,
        messages_per_minute INTEGER,
        messages_per_connection INTEGER,
        next_start_at timestamptz,
        turn_mailing_id BIGINT DEFAULT 0 NOT NULL,
        updated_at timestamptz DEFAULT now() NOT NULL,
        PRIMARY KEY (pattern)
    )
    """,
    """
    CREATE TABLE destinations (
        domain text NOT NULL,
        domain_limit text NOT NULL,
        resolved_at timestamptz DEFAULT now() NOT NULL,
        PRIMARY KEY (domain)
    )
    """,
    "ALTER TABLE outstanding ADD COLUMN domain_limit text DEFAULT '' NOT NULL",
    "DROP INDEX ix_outstanding_waiting",
    """
    CREATE INDEX ix_outstanding_waiting ON outstanding (mailing_id, domain_limit, due_at, delivery_id)
    WHERE batch_id IS NULL
    """,
    """
    CREATE INDEX ix_outstanding_limited ON outstanding (domain_limit, mailing_id)
    WHERE batch_id IS NULL AND domain_limit <> ''
    """,
    """
    ALTER TABLE batches
        ADD COLUMN is_limited BOOLEAN DEFAULT false NOT NULL,
        ADD COLUMN domain_limit text DEFAULT '' NOT NULL,
        ADD COLUMN starts_at timestamptz,
        ADD COLUMN start_interval_seconds FLOAT
    """,
    """
    CREATE INDEX ix_batches_limited_out ON batches (domain_limit)
    WHERE domain_limit <> '' AND state IN ('released', 'claimed')
    """,
    """
    ALTER TABLE mailing_lists
        ADD COLUMN lane lane DEFAULT 'posts' NOT NULL,
        ADD COLUMN max_messages_per_hour INTEGER,
        ADD COLUMN next_start_at timestamptz
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("what was given a limit cannot go back to having none: restore the database instead")
