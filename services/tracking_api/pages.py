"""The pages that readers see: plain, accessible, without script, picture or cookie."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from html import escape
from typing import TypeVar

from shared.core.courtesy import MAX_CONFIRMATIONS
from shared.core.digest import DigestFormat
from shared.core.links import CONFIRM_PATH, LEAVE_PATH, PREFERENCES_PATH
from shared.core.membership import DeliveryMode

T = TypeVar("T", bound=StrEnum)

#: No script, no frame, nothing from elsewhere, forms to here alone; nothing is kept, and no other site learns of the
#: address.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_MODE_WORDS = {
    DeliveryMode.MAIL: "Each post as a mail",
    DeliveryMode.DIGEST: "Digests: several posts in one mail",
    DeliveryMode.NOMAIL: "No mail",
}
_FORMAT_WORDS = {
    DigestFormat.MIME: "Each post whole, with its attachments (MIME)",
    DigestFormat.PLAIN: "One plain text",
}


def page(title: str, *paragraphs: str) -> str:
    """A page of this title, which is text, and these pieces of HTML."""
    body = "\n".join(paragraphs)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{escape(title)}</title>
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem; color: #1a1a1a }}
input, button {{ font: inherit; padding: .3rem .6rem }}
input[type=email], input[type=text] {{ width: 100%; box-sizing: border-box }}
fieldset, form {{ margin: 1rem 0 }}
label {{ display: block }}
@media (prefers-color-scheme: dark) {{ body {{ background: #161616; color: #eee }} }}
</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


#: What every address shows that is none of ours, whatever it looks like.
UNKNOWN = page(
    "This link is not known",
    "<p>It may be incomplete, or too old. Please open it again from the message it came with.</p>",
)
UNAVAILABLE = page("Please try again", "<p>This cannot be done at the moment. Nothing was changed.</p>")
TOO_MANY = page("Too many requests", "<p>Please try again in an hour.</p>")
TOO_LARGE = page("Too much text", "<p>The form was larger than it can be.</p>")
NO_ADDRESS = page("This is no mail address", "<p>Please go back, and look whether it is complete.</p>")
#: The same whatever the address is, and whether or not anything follows.
ASKED = page(
    "Please look into your mail",
    "<p>If there is something to be done for this address, a message to it says how to go on.</p>",
    f"<p>An address gets one such message about a list within a day, and {MAX_CONFIRMATIONS} in all.</p>",
)
LEFT = page("You have left the list", "<p>No more of its mail is sent to you.</p>")
DONE = page("Done", "<p>Your confirmation has arrived, and what was asked for is done.</p>")
PENDING = page("Thank you", "<p>The list's owners decide now. You will get a message.</p>")


def list_page(base: str, address: str, name: str, *, may_join: bool) -> str:
    """A list's entrance: what can be asked for, each with a form."""
    path = escape(f"{base}/lists/{address}")
    forms = [
        _address_form(f"{path}/join", "Join", "join") if may_join else "<p>New members are not taken here.</p>",
        "<h2>For members</h2>",
        _address_form(f"{path}/preferences", "Mail me a link to my settings", "preferences"),
        _address_form(f"{path}/leave", "Leave", "leave"),
    ]
    about = f"<p>Mailing list {escape(address)}</p>" if name else ""
    return page(name or address, about, *forms)


def confirm_page(base: str, token: str, *, list_address: str, recipient: str, what: str) -> str:
    """The button that confirms."""
    title = {"join": "Join the list?", "leave": "Leave the list?"}.get(what, "Change how the list comes?")
    return page(
        title,
        f"<p>{escape(list_address)}, for {escape(recipient)}</p>",
        _button(base + CONFIRM_PATH + token, "Yes, I want this"),
        "<p>If you did not ask for it, close this page: nothing happens.</p>",
    )


def leave_page(base: str, token: str, *, list_address: str) -> str:
    """The button that ends the membership."""
    return page(
        "Leave the list?", f"<p>{escape(list_address)}</p>", _button(base + LEAVE_PATH + token, "Leave the list")
    )


def preferences_page(
    base: str,
    token: str,
    *,
    list_address: str,
    recipient: str,
    mode: DeliveryMode,
    digest_format: DigestFormat,
    is_saved: bool = False,
) -> str:
    """A member's own settings."""
    path = escape(base + PREFERENCES_PATH + token)
    return page(
        "Your settings",
        '<p role="status">Saved.</p>' if is_saved else "",
        f"<p>{escape(recipient)} at {escape(list_address)}</p>",
        f'<form method="post" action="{path}">',
        _choices("How do you want the posts?", "mode", _MODE_WORDS, mode),
        _choices("What shall digests look like?", "digest_format", _FORMAT_WORDS, digest_format),
        "<button>Save</button></form>",
        f'<form method="post" action="{path}"><button name="leave" value="yes">Leave the list</button></form>',
    )


def _choices(question: str, name: str, words: Mapping[T, str], chosen: T) -> str:
    choices = "\n".join(
        f'<label><input type="radio" name="{name}" value="{choice}"{" checked" if choice is chosen else ""}>'
        f" {what}</label>"
        for choice, what in words.items()
    )
    return f"<fieldset><legend>{question}</legend>\n{choices}\n</fieldset>"


def _address_form(path: str, label: str, name: str) -> str:
    return (
        f'<form method="post" action="{path}"><label for="{name}-email">Your mail address</label>'
        f'<input type="email" id="{name}-email" name="email" required maxlength="254" autocomplete="email">'
        f" <button>{label}</button></form>"
    )


def _button(path: str, label: str) -> str:
    return f'<form method="post" action="{escape(path)}"><button>{label}</button></form>'
