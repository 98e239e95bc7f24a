"""Kinds of columns that several tables share."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, ColumnElement, DateTime, Identity, Text, case, func
from sqlalchemy import Enum as SqlEnum
from sqlmodel import Field


def enum_type(enum: type[StrEnum], name: str) -> SqlEnum:
    """PostgreSQL's own enum type `name`, its labels the values."""
    return SqlEnum(enum, name=name, values_callable=lambda members: [member.value for member in members])


def identity_field() -> Any:
    """A 64-bit key that PostgreSQL draws."""
    return Field(default=None, sa_column=Column(BigInteger, Identity(always=False), primary_key=True))


def texts_column() -> Column[list[str]]:
    """An array of texts, empty when nothing is said."""
    return Column(ARRAY(Text), nullable=False, server_default="{}")


def moment_field(*, nullable: bool = False, set_now: bool = False) -> Any:
    """An aware moment; with `set_now` the database's clock fills it in."""
    default = None if nullable or set_now else ...
    return Field(
        default=default,
        sa_column=Column(DateTime(timezone=True), nullable=nullable, server_default=func.now() if set_now else None),
    )


def within(moment: Any, seconds: float) -> ColumnElement[datetime]:
    """The moment of a column, or the one so many seconds from now when that is earlier; null stays null."""
    latest = func.clock_timestamp() + timedelta(seconds=seconds)
    return case((moment.is_not(None), func.least(moment, latest)))
