"""DNS check: compare the records that the cluster needs with what the DNS has."""

from __future__ import annotations

from shared.contracts.bodies import Body


class DnsCheckParameters(Body):
    """Nothing is to be set: all records of the plan are compared, as `GET /dns/check` does, and the run's result says
    how many are right, and which are not."""
