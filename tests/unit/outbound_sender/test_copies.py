"""Copies that differ by recipient: made in threads, a few ahead, each fault its own recipient's."""

from __future__ import annotations

import asyncio
import binascii
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from services.outbound_sender.copies import CHUNK, Copies, PersonalContent, WireContent
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.dkim import DkimAlgorithm
from shared.mail.dkim import Canonical, Signer
from shared.mail.dkim_keys import make_key
from shared.mail.segments import Wire, compile_message
from shared.store.claims import Recipient

RAW = b"From: ann@example.com\r\nSubject: Hello {{name|friend}}\r\n\r\n{{name|friend}} {{age}} {{is_on}} {{email}}\r\n"


def content(raw: bytes = RAW) -> PersonalContent:
    message = compile_message(raw, is_personal=True)
    canonical = Canonical(message)
    key = make_key("lists.test", "e", DkimAlgorithm.ED25519_SHA256)
    signers = (Signer(key, canonical, datetime.now(UTC)),)
    return PersonalContent(Wire(message), canonical, signers, "lists.test", has_8bit=False, has_utf8_header=False)


def recipient(number: int, fields: object = None) -> Recipient:
    return Recipient(number, 1, 1, f"m{number}@members.test", f"Member {number}", json.dumps(fields or {}))


@pytest.fixture
async def pool() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def body(copy: WireContent | Outcome) -> str:
    assert isinstance(copy, WireContent)
    return binascii.a2b_qp(b"".join(copy.segments).partition(b"\r\n\r\n")[2]).decode()


async def test_every_recipient_gets_its_own_signed_copy(pool: ThreadPoolExecutor) -> None:
    recipients = [recipient(number, {"name": f"N{number}"}) for number in range(100)]
    copies = Copies(content(), recipients, pool)
    made = await asyncio.gather(*(copies.of(recipient) for recipient in reversed(recipients)))
    for expected, copy in zip(reversed(recipients), made, strict=True):
        assert f"N{expected.delivery_id} " in body(copy)
        assert f" {expected.address}\r\n" in body(copy)
        assert isinstance(copy, WireContent)
        assert copy.segments[0].startswith(b"DKIM-Signature: ")


async def test_fields_are_written_as_json_writes_them_and_null_is_absent(pool: ThreadPoolExecutor) -> None:
    ann = recipient(1, {"name": None, "age": 42, "is_on": True, "email": "evil@evil.test"})
    assert body(await Copies(content(), [ann], pool).of(ann)) == "friend 42 true m1@members.test\r\n.\r\n"


async def test_a_fault_is_its_own_recipients_deferral(pool: ThreadPoolExecutor) -> None:
    good, bad = recipient(1), Recipient(2, 1, 1, "m2@members.test", "", "not json")
    copies = Copies(content(), [good, bad], pool)
    outcome = await copies.of(bad)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.because.startswith("4.3.0 ")
    assert isinstance(await copies.of(good), WireContent)


async def test_only_the_next_chunk_is_made_ahead_and_never_on_the_event_loop(pool: ThreadPoolExecutor) -> None:
    made: list[int] = []
    threads: set[int] = set()

    class Counting(PersonalContent):
        def copy(self, recipient: Recipient) -> WireContent:
            made.append(recipient.delivery_id)
            threads.add(threading.get_ident())
            return WireContent((b"\r\n.\r\n",), has_8bit=False, return_domain="lists.test")

    base = content()
    counting = Counting(base.wire, base.canonical, base.signers, "lists.test", has_8bit=False, has_utf8_header=False)
    recipients = [recipient(number) for number in range(10 * CHUNK)]
    copies = Copies(counting, recipients, pool)
    await copies.of(recipients[0])
    await copies.of(recipients[CHUNK])
    assert set(made) >= set(range(2 * CHUNK))
    await copies.of(recipients[2 * CHUNK])
    assert max(made) < 4 * CHUNK
    assert threading.get_ident() not in threads


async def test_one_who_gives_up_waiting_does_not_spoil_it_for_the_others(pool: ThreadPoolExecutor) -> None:
    recipients = [recipient(1), recipient(2)]
    copies = Copies(content(), recipients, pool)
    impatient = asyncio.create_task(copies.of(recipients[0]))
    patient = asyncio.create_task(copies.of(recipients[1]))
    await asyncio.sleep(0)
    impatient.cancel()
    assert isinstance(await patient, WireContent)
