"""The keys that mail is signed with, read from the store, opened, and kept for some seconds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.mail.dkim import SigningKey
from shared.mail.dkim_keys import from_der
from shared.store.dkim_keys import ActiveKey
from shared.store.sealing import unseal

#: After so long the store is asked again: a rotation is in force everywhere within a minute.
KEPT_SECONDS = 20.0
KEPT_DOMAINS = 1000


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: dict[int, SigningKey]
    read_at_seconds: float


class KeyRing:
    """A domain's keys; equal as long as nobody changed them."""

    def __init__(self, load: Callable[[str], Awaitable[Sequence[ActiveKey]]], secret: bytes) -> None:
        self._load = load
        self._secret = secret
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def keys(self, domain: str) -> tuple[SigningKey, ...]:
        """The keys in force; none when mail of the domain is not signed. Raises what `load` raises, and
        `CannotBeOpened`: mail that is to be signed does not go out unsigned."""
        now_seconds = time.monotonic()
        kept = self._kept.get(domain)
        if kept is None or now_seconds - kept.read_at_seconds > KEPT_SECONDS:
            before = {} if kept is None else kept.keys
            active = await self._load(domain)
            keys: dict[int, SigningKey] = {}
            for key in active:
                keys[key.id] = before[key.id] if key.id in before else await asyncio.to_thread(self._open, key)
            kept = _Kept(keys, now_seconds)
            self._kept[domain] = kept
            if len(self._kept) > KEPT_DOMAINS:
                self._kept.popitem(last=False)
        return tuple(kept.keys.values())

    def _open(self, key: ActiveKey) -> SigningKey:
        der = unseal(key.sealed_private_key, secret=self._secret, belongs_to=f"{key.selector}._domainkey.{key.domain}")
        return from_der(key.domain, key.selector, der)
