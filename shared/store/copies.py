"""What is done to members' copies: columns of a list, and of each of its mailings as they were when it was made."""

from __future__ import annotations

from sqlmodel import Field, SQLModel

from shared.core.copies import CopySettings, ReplyToPolicy
from shared.store.columns import enum_type
from shared.store.engine import Record


class CopyColumns(SQLModel):
    """The columns that both tables have."""

    subject_prefix: str = Field(default="", sa_column_kwargs={"server_default": ""})
    header_text: str = Field(default="", sa_column_kwargs={"server_default": ""})
    footer_text: str = Field(default="", sa_column_kwargs={"server_default": ""})
    reply_to: ReplyToPolicy = Field(
        default=ReplyToPolicy.AUTHOR,
        sa_type=enum_type(ReplyToPolicy, "reply_to_policy"),
        sa_column_kwargs={"server_default": ReplyToPolicy.AUTHOR.value},
    )
    reply_to_address: str | None = None
    keeps_authors_reply_to: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    anonymous: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


#: Their names, for statements; `is_from_list` is a mailing's alone.
COPY_COLUMNS = tuple(CopyColumns.model_fields)


def copy_settings(row: Record) -> CopySettings:
    """The settings that a mailing's row holds."""
    return CopySettings(
        subject_prefix=row["subject_prefix"],
        header_text=row["header_text"],
        footer_text=row["footer_text"],
        reply_to=ReplyToPolicy(row["reply_to"]),
        reply_to_address=row["reply_to_address"],
        keeps_authors_reply_to=row["keeps_authors_reply_to"],
        is_anonymous=row["anonymous"],
        is_from_list=row["is_from_list"],
    )
