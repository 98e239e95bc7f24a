"""A client of Listfleet's own interfaces, for the demo and the tests: the REST API, and posting by SMTP."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable, Iterator
from typing import Any

import httpx

_MESSAGE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Api:
    """The admin API. Methods return the answer's JSON and raise httpx.HTTPStatusError for an error."""

    def __init__(self, address: str, token: str) -> None:
        """`address` as in `http://127.0.0.1:8080`."""
        self._client = httpx.Client(
            base_url=f"{address}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request, with httpx's arguments; its answer, whatever the status."""
        return self._client.request(method, path, **arguments)

    def get(self, path: str, **parameters: Any) -> Any:
        return _checked(self.request("GET", path, params=parameters)).json()

    def create_list(self, address: str, **fields: Any) -> Any:
        name, _, domain = address.partition("@")
        return _checked(self.request("POST", "/lists", json={"name": name, "domain": domain, **fields})).json()

    def has_list(self, address: str) -> bool:
        return self.request("GET", f"/lists/{address}").status_code == 200

    def import_members(self, list_address: str, csv_lines: Iterable[str]) -> Any:
        """Streams the lines, the first of which names the columns (`email,display_name,role,...`)."""
        body = (f"{line}\r\n".encode() for line in csv_lines)
        path = f"/lists/{list_address}/members/import"
        return _checked(self.request("POST", path, content=body, headers={"Content-Type": "text/csv"})).json()

    def message(self, message_id: str) -> Any:
        return self.get(f"/messages/{message_id}")

    def mailing_id_of(self, message_id: str) -> int | None:
        """The first mailing that was made of the message; `None` while there is none."""
        made = (target["mailing_id"] for target in self.message(message_id)["targets"])
        return next((mailing_id for mailing_id in made if mailing_id is not None), None)

    def mailing(self, mailing_id: int) -> Any:
        return self.get(f"/mailings/{mailing_id}")

    def deliveries(self, mailing_id: int, **parameters: Any) -> Iterator[Any]:
        """All deliveries of a mailing, page by page."""
        yield from self.pages(f"/mailings/{mailing_id}/deliveries", **parameters)

    def pages(self, path: str, **parameters: Any) -> Iterator[Any]:
        """The items of all pages."""
        after: dict[str, str] = {}
        while True:
            page = self.get(path, **parameters, **after)
            yield from page["items"]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    def nodes(self) -> list[Any]:
        return list(self.get("/nodes"))

    def set_node(self, name: str, **settings: Any) -> Any:
        return _checked(self.request("PATCH", f"/nodes/{name}/settings", json=settings)).json()

    def limit_domain(self, pattern: str, **limits: int | None) -> Any:
        return _checked(self.request("PUT", f"/domain-limits/{pattern}", json=limits)).json()

    def lift_domain_limit(self, pattern: str) -> None:
        _checked(self.request("DELETE", f"/domain-limits/{pattern}"))

    def set_node_defaults(self, **settings: Any) -> Any:
        return _checked(self.request("PATCH", "/node-defaults", json=settings)).json()

    def suppress(self, email: str) -> None:
        _checked(self.request("POST", "/suppressions", json={"email": email}))

    def allow(self, email: str) -> None:
        _checked(self.request("DELETE", f"/suppressions/{email}"))

    def parked(self) -> Iterator[Any]:
        """All that is set aside."""
        yield from self.pages("/parked")

    def retry_parked(self, parked_id: int) -> None:
        _checked(self.request("POST", f"/parked/{parked_id}/retry"))

    def inherit_node_settings(self, name: str) -> None:
        """Forgets all that was set for the node."""
        _checked(self.request("DELETE", f"/nodes/{name}/settings"))

    def drain(self, name: str) -> None:
        _checked(self.request("POST", f"/nodes/{name}/drain"))

    def resume(self, name: str) -> None:
        _checked(self.request("POST", f"/nodes/{name}/resume"))


def post(host: str, port: int, sender: str, recipient: str, message: bytes) -> str:
    """Posts by SMTP; the id that the 250 names. Raises smtplib.SMTPException, which carries the refusal."""
    with smtplib.SMTP(host, port, local_hostname="localhost", timeout=60) as session:
        session.ehlo()
        session.mail(sender)
        code, text = session.rcpt(recipient)
        if code != 250:
            raise smtplib.SMTPRecipientsRefused({recipient: (code, text)})
        code, text = session.data(message)
    if code != 250:
        raise smtplib.SMTPDataError(code, text)
    found = _MESSAGE_ID.search(text.decode("utf-8", "replace"))
    if found is None:
        raise smtplib.SMTPDataError(code, b"no message id in the reply: " + text)
    return found.group()


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        response.read()
        message = f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
        raise httpx.HTTPStatusError(message, request=response.request, response=response)
    return response
