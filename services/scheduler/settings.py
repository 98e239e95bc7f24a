"""Settings of the scheduler."""

from __future__ import annotations

from pydantic import Field, field_validator

from shared.core.address import Address
from shared.core.retry import GIVE_UP_AFTER_SECONDS
from shared.runtime.settings import LinkSettings, NodeSettings, ResolverSettings, SyncSettings


class SchedulerSettings(NodeSettings, ResolverSettings, LinkSettings, SyncSettings):
    """`LISTFLEET_*` variables of `services.scheduler`."""

    #: Where mail to postmaster@, abuse@ and LIST-owner@ goes; without it such mail is kept, and nobody reads it.
    operator_address: str | None = None
    #: Age at which deliveries are given up, unless their list says otherwise.
    give_up_after_seconds: float = Field(default=GIVE_UP_AFTER_SECONDS, gt=0)
    #: Members whose deliveries are made in one transaction.
    expansion_page_size: int = Field(default=5000, ge=1, le=100_000)
    #: How long work in a committed row may stay unpublished before the sweep publishes it.
    publish_within_seconds: float = Field(default=5.0, gt=0)
    #: How long published work may stay untaken before it is published again; doubled each time.
    republish_after_seconds: float = Field(default=30.0, gt=0)
    #: Nodes that left so long ago are forgotten, unless somebody configured them.
    forget_nodes_after_seconds: float = Field(default=86_400.0, gt=0)

    #: Runs of scheduled tasks that this scheduler does at once.
    tasks_at_once: int = Field(default=4, ge=1, le=100)
    #: A run whose scheduler gave no sign of life for so long is taken over by another.
    task_lease_seconds: float = Field(default=30.0, gt=0)

    #: Read members also from loopback and private addresses of `sync_hosts`.
    allow_private_hosts: bool = False

    @field_validator("operator_address")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if address is not None:
            Address.parse(address)
        return address
