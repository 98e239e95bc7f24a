"""Ports of this machine's loopback address."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which the system takes the ports of outgoing connections: a server that is killed and
# started again must find its port free.
_FIRST, _LAST = 20_000, 32_000
_first, _last = _FIRST, _LAST
#: What was named here before: who got it may not listen yet.
_named: set[int] = set()


def keep_to_part(number: int, of: int) -> None:
    """From now on name the ports of one of so many equal parts only: for processes that start servers side by side,
    where one would name the port of the other's server while that is down."""
    global _first, _last
    size = (_LAST - _FIRST) // of
    _first = _FIRST + number * size
    _last = _first + size - 1


def is_free(port: int, address: str = LOOPBACK) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen(1)
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """`preferred` if nobody listens there, else any port that is free now and that was not named before."""
    if preferred is not None and is_free(preferred):
        return preferred
    while True:
        port = random.randint(_first, _last)  # noqa: S311
        if port not in _named and is_free(port):
            _named.add(port)
            return port


def free_addresses(count: int, *, port: int) -> list[str]:
    """So many neighbouring loopback addresses at which nobody listens on `port`, nor on port 53."""
    while True:
        network = f"127.{random.randint(1, 250)}.{random.randint(0, 250)}"  # noqa: S311
        addresses = [f"{network}.{number}" for number in range(1, count + 1)]
        if all(is_free(port, address) and is_free(53, address) for address in addresses):
            return addresses
