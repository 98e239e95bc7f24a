"""Every table of the store, imported so that `SQLModel.metadata` is complete."""

from shared.store import (
    batches,
    counts,
    deliveries,
    dkim_keys,
    domain_limits,
    lists,
    mailings,
    members,
    messages,
    node_settings,
    nodes,
    parked,
    slowdowns,
    suppressions,
    tls_policies,
    tokens,
)

__all__ = [
    "batches",
    "counts",
    "deliveries",
    "dkim_keys",
    "domain_limits",
    "lists",
    "mailings",
    "members",
    "messages",
    "node_settings",
    "nodes",
    "parked",
    "slowdowns",
    "suppressions",
    "tls_policies",
    "tokens",
]
