"""Prefix, texts, whom a copy is from and whom its answer goes to; a signed post's bytes stay; nobody is told who wrote.

And an answer, as a member's program writes it, gets no second prefix.
"""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

from deploy.local.live_cluster import AUTHOR, LiveCluster
from tests.samples.posts import READABLE, SIGNED_PART, SMIME

SETTINGS = {
    "subject_prefix": "[Bücher]",
    "footer_text": "____\nGrüße von der Liste",
    "reply_to": "list",
    "dmarc_mitigation": "always",
}


def test_members_get_the_copies_that_their_list_wants(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.keeps_contents = True
    books = cluster.create_list("books", members=2, display_name="Book lovers")
    assert cluster.api.request("PATCH", f"/lists/{books}", json=SETTINGS).status_code == 200

    plain = copy_of(cluster, books, READABLE["ISO-8859-1 in 8 bits"])
    assert plain["Subject"] == "[Bücher] Hello"
    assert plain["From"] == f"Ann via Book lovers <{books}>"
    assert plain["Reply-To"] == books
    assert plain["Cc"] == "Ann <ann@example.org>"
    assert plain.get_content().splitlines() == ["café", "", "____", "Grüße von der Liste"]

    answer = READABLE["no MIME"].replace(b"Subject: Hello", b"Subject: AW: =?iso-8859-1?Q?[B=FCcher]_Hello?=")
    assert copy_of(cluster, books, answer.replace(b"<1@", b"<2@"))["Subject"] == "AW: [Bücher] Hello"

    signed = copy_of(cluster, books, SMIME.replace(b"<1@", b"<3@"))
    first, last = signed.iter_parts()
    assert first.get_content_type() == "multipart/signed"
    assert last.get_content().splitlines() == ["____", "Grüße von der Liste"]
    assert SIGNED_PART in cluster.sink.copies[-1].content

    assert cluster.api.request("PATCH", f"/lists/{books}", json={"anonymous": True}).status_code == 200
    anonymous = copy_of(cluster, books, READABLE["plain and HTML"].replace(b"<1@", b"<4@"))
    header = cluster.sink.copies[-1].content.partition(b"\r\n\r\n")[0]
    for word in (b"ann@", b"Ann", b"example.org", b"Received", b"192.0.2.1"):
        assert word not in header
    assert anonymous["From"] == f"Book lovers <{books}>"
    assert anonymous["Subject"] == "[Bücher] Hello"


def copy_of(cluster: LiveCluster, list_address: str, post: bytes) -> EmailMessage:
    """The copy that both members got of the post."""
    cluster.sink.reset()
    cluster.sink.keeps_contents = True
    cluster.wait_until_finished(cluster.post_bytes(list_address, post, AUTHOR), 30)
    contents = {copy.content for copy in cluster.sink.copies}
    assert len(cluster.sink.copies) == 2
    assert len(contents) == 1, "the same to the byte"
    message = email.message_from_bytes(contents.pop(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
