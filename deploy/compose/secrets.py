"""`python -m deploy.compose.secrets`: settles the cluster's secrets before anything else starts.

A secret that is set in the environment is taken; one that is not is made at the first start, and kept in a volume.
Every service finds them in `/run/listfleet`, one file a variable (see `entrypoint`). The database and the broker get,
each in a volume of its own, what its public image reads at its start: an SQL script, and a file of definitions.
Running it again changes nothing that was not set anew. docs/decisions/0004-compose-and-secrets.md says why so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

SERVICES = Path("/run/listfleet")
DATABASE = Path("/run/listfleet-database")
BROKER = Path("/run/listfleet-broker")

USER = "listfleet"


def main() -> None:
    _settle("LISTFLEET_SECRET")
    if _settle("LISTFLEET_ADMIN_TOKEN"):
        token = (SERVICES / "LISTFLEET_ADMIN_TOKEN").read_text()
        sys.stderr.write(f"The admin token, made now and not shown again: {token}\n")

    password = _settle_password("LISTFLEET_DATABASE_PASSWORD", "LISTFLEET_DATABASE_URL", "postgresql", "postgres:5432")
    _write(DATABASE / "listfleet.sql", database_script(password), mode=0o444)
    password = _settle_password("LISTFLEET_AMQP_PASSWORD", "LISTFLEET_AMQP_URL", "amqp", "rabbitmq:5672")
    _write(BROKER / "definitions.json", broker_definitions(password, salt=os.urandom(4)), mode=0o444)


def database_script(password: str) -> str:
    """What the database runs once, when it is made: Listfleet's own role and database; and the superuser's password
    is taken away, so that one is nobody but who sits in the database's container."""
    quoted = password.replace("'", "''")
    return (
        f"CREATE ROLE {USER} LOGIN PASSWORD '{quoted}';\n"
        f"CREATE DATABASE {USER} OWNER {USER};\n"
        "ALTER ROLE postgres PASSWORD NULL;\n"
    )


def broker_definitions(password: str, *, salt: bytes) -> str:
    """What the broker reads at every start, in the format of `rabbitmqctl export_definitions`: one user, who may do
    everything in the one virtual host. `salt` is four bytes."""
    digest = hashlib.sha256(salt + password.encode()).digest()
    user = {
        "name": USER,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": [],
    }
    permission = {"user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    return json.dumps({"users": [user], "vhosts": [{"name": "/"}], "permissions": [permission]})


def _settle(variable: str) -> bool:
    """Writes the variable's file; whether its value had to be made."""
    path = SERVICES / variable
    given = os.environ.get(variable, "")
    if given:
        _write(path, given)
    elif not path.exists():
        _write(path, secrets.token_urlsafe(32))
        return True
    return False


def _settle_password(variable: str, url_variable: str, scheme: str, host: str) -> str:
    """Writes the file of the URL that holds the password; the password. Ends the process when it was changed: the
    database took it when it was made, and would refuse the new one."""
    path = SERVICES / url_variable
    given = os.environ.get(variable, "")
    kept = unquote(urlsplit(path.read_text()).password or "") if path.exists() else ""
    if given and kept and given != kept:
        raise SystemExit(f"{variable} is not the password of the first start: docs/operations.md says how to change it")
    password = given or kept or secrets.token_urlsafe(32)
    database = USER if scheme == "postgresql" else ""
    _write(path, f"{scheme}://{USER}:{quote(password, safe='')}@{host}/{database}")
    return password


def _write(path: Path, text: str, *, mode: int = 0o400) -> None:
    """Replaces the file whole: a service that starts meanwhile reads the old or the new."""
    unfinished = path.parent / ".unfinished"
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    unfinished.replace(path)


if __name__ == "__main__":
    main()
