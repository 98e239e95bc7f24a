"""Public names and addresses, for the DNS plan.

Revision ID: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE dns_hosts (
            host text NOT NULL,
            addresses text[] NOT NULL,
            mx_preference integer,
            is_tracking boolean NOT NULL,
            is_sending boolean NOT NULL,
            updated_at timestamptz DEFAULT now() NOT NULL,
            PRIMARY KEY (host)
        )
        """
    )


def downgrade() -> None:
    raise NotImplementedError("what was set would be lost: restore a backup instead")
