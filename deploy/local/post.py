"""Posts one message to the demo's list by SMTP. `python -m deploy.local.post --port 2525 "A subject"`"""

from __future__ import annotations

import argparse
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from deploy.local.api import post
from deploy.local.ports import LOOPBACK

DOMAIN = "demo.listfleet.test"
LIST = f"announce@{DOMAIN}"
EDITOR = f"editor@{DOMAIN}"


def compose(subject: str) -> EmailMessage:
    """A post of the demo's editor, with a Message-ID of its own."""
    message = EmailMessage()
    message["From"] = f"The editor <{EDITOR}>"
    message["To"] = LIST
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=DOMAIN)
    message.set_content("Hello everybody,\n\nthis went to each of you once, from whichever node had room.\n")
    return message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("subject", nargs="?", default="Another message")
    given = parser.parse_args()
    try:
        message_id = post(given.host, given.port, EDITOR, LIST, compose(given.subject).as_bytes())
    except (OSError, smtplib.SMTPException) as error:
        raise SystemExit(f"The message was not taken: {error}") from None
    print(f"Taken: message {message_id}")


if __name__ == "__main__":
    main()
