"""What a newsletter may carry."""

from __future__ import annotations

import re
import unicodedata

#: Files of one newsletter.
MAX_ATTACHMENTS = 50
#: One file, and all files of a newsletter, before they are encoded: base64 makes 4 bytes of 3, and line ends.
MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
MAX_ATTACHMENTS_BYTES = 17 * 1024 * 1024
MAX_FILE_NAME_CHARACTERS = 150
MAX_CONTENT_ID_CHARACTERS = 100

# RFC 6838 §4.2: what types and subtypes are made of.
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,63}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,63}")
_CONTENT_ID = re.compile(rf"[A-Za-z0-9._@+-]{{1,{MAX_CONTENT_ID_CHARACTERS}}}")


def fault_of_file_name(name: str) -> str | None:
    """What is wrong with a file's name, in one sentence; `None` when readers' programs can save a file under it."""
    if not name or len(name) > MAX_FILE_NAME_CHARACTERS:
        return f"A file's name has 1 to {MAX_FILE_NAME_CHARACTERS} characters."
    for character in name:
        # Controls and line ends, marks that turn the writing's direction ("gpj.exe"), halves of surrogate pairs.
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"The file's name holds the character U+{ord(character):04X}, which is not allowed."
    if found := re.search(r'[/\\:*?"<>|]', name):
        return f"The file's name holds {found.group()}, which names no file everywhere."
    if name != name.strip() or name.strip(".") == "":
        return "The file's name begins or ends with a space, or is nothing but dots."
    return None


def fault_of_content_type(content_type: str) -> str | None:
    """What is wrong with `type/subtype`, in one sentence; `None` when nothing is."""
    return None if _CONTENT_TYPE.fullmatch(content_type) else "This is a content type, like application/pdf."


def fault_of_content_id(content_id: str, content_type: str) -> str | None:
    """What is wrong with the name by which the HTML shows an image, in one sentence; `None` when nothing is."""
    if not content_id:
        return None
    if not _CONTENT_ID.fullmatch(content_id):
        return f"A content_id has 1 to {MAX_CONTENT_ID_CHARACTERS} of A to Z, a to z, 0 to 9 and . _ @ + - only."
    if not content_type.lower().startswith("image/"):
        return "Only an image has a content_id: everything else goes with the newsletter as a file."
    return None
