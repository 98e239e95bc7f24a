"""Ingress nodes: their kind, why they are busy, and settings by kind and name.

Revision ID: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TYPE node_kind ADD VALUE 'ingress'",
    "ALTER TABLE nodes ADD COLUMN busy JSONB",
    # What was set until now is of outbound nodes, unless a node of the name says otherwise.
    "ALTER TABLE node_settings ADD COLUMN kind node_kind DEFAULT 'outbound' NOT NULL",
    "UPDATE node_settings s SET kind = n.kind FROM nodes n WHERE n.name = s.node_name",
    "ALTER TABLE node_settings ALTER COLUMN kind DROP DEFAULT",
    "ALTER TABLE node_settings DROP CONSTRAINT node_settings_pkey, ADD PRIMARY KEY (node_name, kind)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("what was set for ingress nodes would be lost: restore a backup instead")
