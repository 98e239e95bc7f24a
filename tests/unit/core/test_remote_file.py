"""Which addresses of files may be asked for, and what they mean."""

from __future__ import annotations

import pytest

from shared.core.remote_file import RefusedAddress, RemoteFile


@pytest.mark.parametrize(
    ("url", "place", "target"),
    [
        ("https://files.example.org/members.csv", "files.example.org", "/members.csv"),
        ("HTTPS://Files.Example.ORG./a%20b?x=1&y=2", "files.example.org", "/a%20b?x=1&y=2"),
        ("http://files.example.org", "files.example.org", "/"),
        ("http://files.example.org:80/", "files.example.org", "/"),
        ("https://files.example.org:8443/x", "files.example.org:8443", "/x"),
        ("http://127.0.0.1:8000/x", "127.0.0.1:8000", "/x"),
        ("http://[::1]:8000/x", "[::1]:8000", "/x"),
    ],
)
def test_an_address_has_a_place_and_a_target(url: str, place: str, target: str) -> None:
    file = RemoteFile.parse(url)
    assert (file.place, file.target) == (place, target)
    file.check({place})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/etc/passwd",
        "file:///etc/passwd",
        "gopher://files.example.org/x",
        "ftp://files.example.org/x",
        "https://",
        "https:///x",
        "https://user:secret@files.example.org/x",
        "https://files.example.org@evil.example/x",
        "https://files.example.org\\@evil.example/x",
        "https://files.example.org/x#y",
        "https://files.example.org/x y",
        "https://files.example.org/x\r\nHost: evil.example",
        "https://files.example.org:port/x",
        "https://files.example.org:99999/x",
        "https://[::1/x",
        "https://f\u0456les.example.org/x",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "https://" + "a" * 3000,
    ],
)
def test_what_is_no_address_of_a_file_is_refused(url: str) -> None:
    with pytest.raises(RefusedAddress):
        RemoteFile.parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "https://files.example.org.evil.example/x",
        "https://files.example.org:25/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
    ],
)
def test_only_what_the_operator_names_is_asked(url: str) -> None:
    with pytest.raises(RefusedAddress, match="LISTFLEET_SYNC_HOSTS"):
        RemoteFile.parse(url).check({"files.example.org"})
