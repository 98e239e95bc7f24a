from __future__ import annotations

import pytest

from shared.core.attachment import fault_of_content_id, fault_of_content_type, fault_of_file_name


@pytest.mark.parametrize("name", ["a.pdf", "Bericht für alle.pdf", "日本.txt", ".htaccess", "x" * 150, "a (1).gif"])
def test_names_that_people_give_files_are_taken(name: str) -> None:
    assert fault_of_file_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("", "x" * 151, "..", " a.pdf", "a.pdf ", "../a", "a\\b", "a:b", "a\x00b", "a\r\nb", 'a"b', "<a>"),
        *("fdp\u202eexe.a", "a\u2028b", "a\ud800b"),
    ],
)
def test_names_that_are_paths_or_hide_what_they_are_are_refused(name: str) -> None:
    fault = fault_of_file_name(name)
    assert fault is not None
    assert fault.endswith(".")


def test_types_are_two_tokens() -> None:
    assert fault_of_content_type("application/vnd.oasis.opendocument.text") is None
    for wrong in ("", "pdf", "a/b/c", "a/b;c=d", "a /b", "a/b\r\nBcc: x", "text/"):
        assert fault_of_content_type(wrong)


def test_only_an_image_is_shown_by_its_name() -> None:
    assert fault_of_content_id("", "text/html") is None
    assert fault_of_content_id("logo.1@example.org", "image/png") is None
    assert fault_of_content_id("logo", "text/html")
    for wrong in ("a b", "<a>", "x" * 101, "a\r\nb"):
        assert fault_of_content_id(wrong, "image/png")
