"""What a node says of its limits with every sign of life.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE nodes
            ADD COLUMN megabits_per_second FLOAT DEFAULT 0 NOT NULL,
            ADD COLUMN lanes text[],
            ADD COLUMN held_back JSONB DEFAULT '[]' NOT NULL
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE nodes DROP COLUMN megabits_per_second, DROP COLUMN lanes, DROP COLUMN held_back")
