"""Every table of the store, imported so that `SQLModel.metadata` is complete."""

from shared.store import (
    batches,
    deliveries,
    lists,
    mailings,
    members,
    messages,
    node_settings,
    nodes,
    parked,
    suppressions,
    tls_policies,
    tokens,
)

__all__ = [
    "batches",
    "deliveries",
    "lists",
    "mailings",
    "members",
    "messages",
    "node_settings",
    "nodes",
    "parked",
    "suppressions",
    "tls_policies",
    "tokens",
]
