"""Line ends in a field, a list's name or a member's name, raw or encoded, add no header to any copy."""

from __future__ import annotations

from deploy.local.live_cluster import AUTHOR, LiveCluster

EVIL_SUBJECTS = (
    "=?utf-8?q?Hello=0ABcc:_evil@evil.test?=",
    "=?utf-8?q?Hello=0D=0ABcc:_evil@evil.test?=",
    "=?utf-8?b?SGVsbG8NCkJjYzogZXZpbEBldmlsLnRlc3Q=?=",
    "Hello\u2028Bcc: evil@evil.test",
    "Hello\x0bBcc: evil@evil.test",
    "Hello\rBcc: evil@evil.test",
)
EVIL_FIELDS = (
    "Content-Type: text/plain; name*=utf-8''a%0D%0ABcc%3A%20evil%40evil.test",
    "Content-Type: text/plain;\r\n name*0*=utf-8''a%0D%0A;\r\n name*1=\"Bcc: evil@evil.test\"",
    "Content-Disposition: attachment; filename*=utf-8''%0ABcc%3Aevil%40evil.test%E2%80%A8",
    "Reply-To: =?utf-8?q?a=0D=0ABcc:_evil=40evil.test?= <a@b.test>",
    'Sender: "a\x0bBcc: evil@evil.test" <a@b.test>',
)
EVIL_NAMES = ("News\r\nBcc: evil@evil.test", "News\nBcc: evil@evil.test", "News\u2028Bcc: evil@evil.test", "a\x00b")


def test_a_field_adds_no_header(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.keeps_contents = True
    news = cluster.create_list(
        "news",
        members=1,
        display_name="=?utf-8?q?News=0ABcc:_evil@evil.test?=",
        subject_prefix="[news]",
        footer_text="Bye.",
    )

    fields = [*(f"Subject: {subject}" for subject in EVIL_SUBJECTS), *(f"Subject: x\r\n{f}" for f in EVIL_FIELDS)]
    posts = [
        f"From: {AUTHOR}\r\nMessage-ID: <{number}@a.test>\r\n{field}\r\n\r\nHello.\r\n"
        for number, field in enumerate(fields)
    ]
    for message in [cluster.post_bytes(news, post.encode()) for post in posts]:
        cluster.wait_until_finished(message, 30)

    contents = [copy.content for copy in cluster.sink.copies]
    assert len(contents) == len(fields)
    for content in contents:
        header = content.partition(b"\r\n\r\n")[0]
        names = [line.partition(b":")[0].strip().lower() for line in header.split(b"\r\n") if line[:1] not in b" \t"]
        assert names.count(b"subject") == 1
        # The one message with a bare CR has it made a line end when it comes in: then the author wrote two fields,
        # and Bcc is taken out.
        assert b"bcc" not in names
    assert {copy.recipient for copy in cluster.sink.copies} == {f"member-1@{cluster.members_domain}"}


def test_names_with_line_ends_are_refused(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    news = cluster.create_list("news")

    for name in EVIL_NAMES:
        evil_list = {"name": "other", "domain": cluster.domain, "display_name": name}
        assert cluster.api.request("POST", "/lists", json=evil_list).status_code == 422
        evil_member = {"email": "a@members.test", "display_name": name}
        assert cluster.api.request("POST", f"/lists/{news}/members", json=evil_member).status_code == 422
