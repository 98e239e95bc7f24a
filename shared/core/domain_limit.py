"""Limits of recipient domains: how a pattern is written, and which one a domain is under.

`example.com` is that domain, `*.example.com` every domain below it, and `mx:*.example.net` every domain whose mail
exchanger is below example.net, so that thousands of domains at one provider share one limit.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.core.address import Address, InvalidAddress

#: What stands in place of a pattern where no limit holds.
UNLIMITED = ""

_MX = "mx:"
_BELOW = "*."


class InvalidPattern(ValueError):
    """The text is no pattern; the exception's words are one sentence that says why."""


def normalised(pattern: str) -> str:
    """The one spelling of a pattern: lower case, the domain in A-labels. Raises `InvalidPattern`."""
    rest = pattern.strip().lower()
    prefix = ""
    for part in (_MX, _BELOW):
        if rest.startswith(part):
            prefix, rest = prefix + part, rest.removeprefix(part)
    try:
        return prefix + Address.parse(f"x@{rest}").ascii_domain
    except InvalidAddress as error:
        raise InvalidPattern("A pattern is a domain, *.domain, mx:host or mx:*.domain.") from error


class DomainLimits:
    """The patterns in force. The most specific wins: the domain itself, its longest suffix, then its mail exchanger."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """`patterns` as `normalised` gives them."""
        self._patterns = frozenset(patterns)
        self.has_mx = any(pattern.startswith(_MX) for pattern in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DomainLimits) and self._patterns == other._patterns

    def __hash__(self) -> int:
        return hash(self._patterns)

    def of_domain(self, domain: str) -> str:
        """The pattern that names the domain, `UNLIMITED` when none does. `domain` in A-labels."""
        return self._of_name("", domain) if self._patterns else UNLIMITED

    def of_host(self, host: str) -> str:
        """The `mx:` pattern that names this mail exchanger, `UNLIMITED` when none does."""
        return self._of_name(_MX, host.lower().rstrip(".")) if self.has_mx else UNLIMITED

    def of(self, domain: str, mx_hosts: Iterable[str]) -> str:
        """The pattern that a domain with these mail exchangers, in the order to try, is under."""
        return self.of_domain(domain) or next(filter(None, map(self.of_host, mx_hosts)), UNLIMITED)

    def correction(self, domain: str, carried: str) -> str | None:
        """The limit that a recipient at `domain` is under, when that is not `carried`, which it was taken for.

        An `mx:` pattern says nothing about the domain's name, so it may be right as long as it is in force.
        """
        of_domain = self.of_domain(domain)
        if of_domain == carried or (not of_domain and carried.startswith(_MX) and carried in self._patterns):
            return None
        return of_domain

    def _of_name(self, prefix: str, name: str) -> str:
        if prefix + name in self._patterns:
            return prefix + name
        while "." in name:
            name = name.partition(".")[2]
            if (pattern := f"{prefix}{_BELOW}{name}") in self._patterns:
                return pattern
        return UNLIMITED
