"""How often the handling of a message was broken off: one that kills its schedulers is set aside.

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision: str | None = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE messages ADD COLUMN broken_off smallint DEFAULT 0 NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE messages DROP COLUMN broken_off")
