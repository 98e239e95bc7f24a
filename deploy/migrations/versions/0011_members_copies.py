"""What lists do to members' copies: prefix, texts, whom they are from and whom answers go to.

Revision ID: 0011
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels = None
depends_on = None

_COLUMNS = (
    "subject_prefix text DEFAULT '' NOT NULL",
    "header_text text DEFAULT '' NOT NULL",
    "footer_text text DEFAULT '' NOT NULL",
    "reply_to reply_to_policy DEFAULT 'author' NOT NULL",
    "reply_to_address text",
    "keeps_authors_reply_to boolean DEFAULT true NOT NULL",
    "anonymous boolean DEFAULT false NOT NULL",
)

_STATEMENTS = (
    "CREATE TYPE reply_to_policy AS ENUM ('author', 'list', 'address')",
    "CREATE TYPE dmarc_mitigation AS ENUM ('never', 'when_published', 'always')",
    *(f"ALTER TABLE {table} ADD COLUMN {column}" for table in ("mailing_lists", "mailings") for column in _COLUMNS),
    "ALTER TABLE mailing_lists ADD COLUMN dmarc_mitigation dmarc_mitigation DEFAULT 'never' NOT NULL",
    "ALTER TABLE mailings ADD COLUMN is_from_list boolean DEFAULT false NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("what was set would be lost: restore a backup instead")
