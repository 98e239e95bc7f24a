"""Where this machine's RabbitMQ is; on Debian, and as root, it is installed when it is nowhere."""

from __future__ import annotations

from pathlib import Path

from deploy.local import debian

#: Debian's own start script; the one on the path is a wrapper that switches to the user rabbitmq.
_DEBIAN_SCRIPTS = "/usr/lib/rabbitmq/bin"
_ADVICE = (
    "RabbitMQ was not found. Install it (Debian, Ubuntu: `sudo apt-get install rabbitmq-server`; "
    "macOS: `brew install rabbitmq`), or set LISTFLEET_AMQP_URL=amqp://user:password@host:5672/ "
    "to a broker that is already running."
)


class RabbitMQMissingError(Exception):
    """RabbitMQ is not here and may not be installed by us; the text says what the user can do."""


def find_or_install_server() -> Path:
    """The script that starts a node, after installing it where that is allowed.

    Raises RabbitMQMissingError.
    """
    try:
        return debian.find_or_install("rabbitmq-server", "rabbitmq-server", first_in=_DEBIAN_SCRIPTS)
    except debian.NotInstalledError as error:
        raise RabbitMQMissingError(f"{error}\n{_ADVICE}".lstrip()) from error
