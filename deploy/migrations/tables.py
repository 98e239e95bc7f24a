"""Every table of the store, imported so that `SQLModel.metadata` is complete."""

from shared.store import (
    batches,
    deliveries,
    domain_limits,
    lists,
    mailings,
    members,
    messages,
    nodes,
    parked,
    slowdowns,
    suppressions,
    tokens,
)

__all__ = [
    "batches",
    "deliveries",
    "domain_limits",
    "lists",
    "mailings",
    "members",
    "messages",
    "nodes",
    "parked",
    "slowdowns",
    "suppressions",
    "tokens",
]
