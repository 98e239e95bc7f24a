"""How often the forms, and commands by mail, were used from where, hour by hour, on all nodes together."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, DateTime, Index
from sqlmodel import Field, SQLModel

from shared.core.courtesy import peer_and_network
from shared.store.engine import RawConnection


class FormTally(SQLModel, table=True):
    """Uses within one hour from one address or network; of commands by mail under a name of its own."""

    __tablename__ = "form_tallies"
    __table_args__ = (Index("ix_form_tallies_hour_at", "hour_at"),)

    peer: str = Field(primary_key=True)
    hour_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    uses: int


async def may_use(
    connection: RawConnection, host: str, *, max_a_peer: int, max_a_network: int, counted_as: str = ""
) -> bool:
    """Whether a client may do it once more within this hour, by its address and by its network; it is counted, under
    names that begin with `counted_as`."""
    peer, network = (f"{counted_as}{each}" for each in peer_and_network(host))
    rows = await connection.fetch(
        """
        INSERT INTO form_tallies AS tally (peer, hour_at, uses)
        SELECT peer, date_trunc('hour', now()), 1 FROM unnest($1::text[]) AS t (peer) ORDER BY peer
        ON CONFLICT (peer, hour_at) DO UPDATE SET uses = tally.uses + 1
        RETURNING peer, uses
        """,
        list({peer, network}),
    )
    uses = {row["peer"]: row["uses"] for row in rows}
    return uses[network] <= max_a_network and (peer == network or uses[peer] <= max_a_peer)


async def forget(connection: RawConnection) -> None:
    """Forget the hours that are over."""
    await connection.execute("DELETE FROM form_tallies WHERE hour_at < date_trunc('hour', now())")
