"""What is demanded of connections to the mail servers of a domain.

Revision ID: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TYPE tls_policy AS ENUM ('opportunistic', 'required')")
    op.execute(
        """
        CREATE TABLE tls_policies (
            domain text NOT NULL,
            policy tls_policy NOT NULL,
            updated_at timestamptz DEFAULT now() NOT NULL,
            PRIMARY KEY (domain)
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE tls_policies")
    op.execute("DROP TYPE tls_policy")
