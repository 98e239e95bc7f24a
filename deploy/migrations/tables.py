"""Every table of the store, imported so that `SQLModel.metadata` is complete."""

from shared.store import (
    batches,
    counts,
    deliveries,
    dkim_keys,
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
    "counts",
    "deliveries",
    "dkim_keys",
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
