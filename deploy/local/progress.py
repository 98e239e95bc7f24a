"""What the demo shows while it runs: counts from the inbox, the nodes' states from the API."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.local.api import Api


@dataclass(frozen=True, slots=True)
class Caught:
    """What the inbox has of one message, all copies together."""

    message_id: str
    subject: str
    copies: int
    recipients: int
    recipients_by_copies: Mapping[str, int]
    copies_by_client: Mapping[str, int]
    seconds: float
    """From the first copy to the last."""


class Inbox:
    """The demo inbox, asked over HTTP."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(base_url=address, timeout=10)

    def is_ready(self) -> bool:
        try:
            return self._client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def caught(self) -> list[Caught]:
        """By message, the newest last."""
        summary = self._client.get("/api/summary").raise_for_status().json()
        return [Caught(**message) for message in summary["messages"]]

    def caught_of(self, message_id: str) -> Caught | None:
        return next((caught for caught in self.caught() if caught.message_id == message_id), None)


class Line:
    """One line that is written over on a terminal, and repeated once a second elsewhere."""

    def __init__(self) -> None:
        self._shown = ""
        self._shown_at_seconds = float("-inf")

    def show(self, text: str) -> None:
        is_terminal = sys.stdout.isatty()
        if text == self._shown or (not is_terminal and time.monotonic() < self._shown_at_seconds + 1):
            return
        print(f"\r\x1b[K{text}" if is_terminal else text, end="" if is_terminal else "\n", flush=True)
        self._shown, self._shown_at_seconds = text, time.monotonic()

    def end(self) -> None:
        if sys.stdout.isatty() and self._shown:
            print(flush=True)
        self._shown, self._shown_at_seconds = "", float("-inf")


class Watch:
    """Prints what changes until somebody ends it: mail that is sent, nodes that come and go."""

    def __init__(self, inbox: Inbox, api: Api, node_names: Mapping[str, str]) -> None:
        """`node_names`: the node's name by the name it gives in EHLO."""
        self._inbox = inbox
        self._api = api
        self._node_names = node_names
        self._copies = {caught.message_id: caught.copies for caught in inbox.caught()}
        self._states: dict[str, str] = self._node_states()

    def run(self) -> None:
        line = Line()
        while True:
            states = self._node_states()
            for name, state in states.items():
                if self._states.get(name) != state:
                    line.end()
                    print(f"Node {name}: {state}", flush=True)
            self._states = states
            for caught in self._inbox.caught():
                if self._copies.get(caught.message_id) != caught.copies:
                    self._copies[caught.message_id] = caught.copies
                    line.show(f"{caught.subject}: {progress(caught, self._node_names)}")
            time.sleep(0.5)

    def _node_states(self) -> dict[str, str]:
        try:
            return {node["name"]: _state(node) for node in self._api.nodes() if node["kind"] == "outbound"}
        except httpx.HTTPError:
            return self._states


def progress(caught: Caught | None, node_names: Mapping[str, str]) -> str:
    """Copies by node, and of all, as one line."""
    clients = caught.copies_by_client if caught else {}
    nodes = [f"{name} {clients.get(client, 0):5}" for client, name in node_names.items()]
    return "  ".join([*nodes, f"all {caught.copies if caught else 0:5}"])


def _state(node: dict[str, Any]) -> str:
    because = f" ({node['left_because']})" if node["left_because"] else ""
    return f"{node['state']}{because}"
