"""TLS policies, as requests and answers say them."""

from __future__ import annotations

from shared.contracts.bodies import Answer, Body, Moment
from shared.core.tls_policy import TlsPolicy


class NewTlsPolicy(Body):
    """What is demanded of the mail servers of a domain."""

    policy: TlsPolicy
    """Required: mail goes only over TLS, to a server whose certificate is valid for its own name, else it is deferred.
    Opportunistic: over TLS where it is offered, with any certificate, else in the clear."""


class TlsPolicyAnswer(Answer):
    """A domain's TLS policy."""

    domain: str
    """The domain, `*.` and a domain for all below it, or `*` for all others; in lower case and ASCII."""
    policy: TlsPolicy
    """Required or opportunistic."""
    updated_at: Moment
    """Since when."""
