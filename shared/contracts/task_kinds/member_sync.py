"""Member sync: read a list's members from a file at an address."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, ValidationInfo, field_validator

from shared.contracts.bodies import Body, OneLine, refuse
from shared.core.address import Address, InvalidAddress
from shared.core.remote_file import MAX_CHARACTERS, RefusedAddress, RemoteFile

#: The key of the validation context under which the places are that an operator allows.
ALLOWED_PLACES = "allowed_places"


def list_address(text: str) -> str:
    try:
        return Address.parse(text).spelling
    except InvalidAddress as error:
        raise refuse(str(error)) from error


class FileFormat(StrEnum):
    """How the members stand in the file: as `POST /lists/{address}/members/import` takes them."""

    CSV = "csv"
    NDJSON = "ndjson"


class MemberSyncParameters(Body):
    """Members to add to a list, and to change, from a file on a host that the operator allows (LISTFLEET_SYNC_HOSTS).
    Whoever unsubscribed, is held or suppressed stays so; who is not in the file stays a member."""

    list: Annotated[OneLine, AfterValidator(list_address)]
    """The list's posting address."""
    url: Annotated[str, StringConstraints(max_length=MAX_CHARACTERS)]
    """Where the file is: `https://host/path`, at most 2,000 characters. It is fetched by GET, without following
    redirects, at most 100,000,000 bytes in at most 600 seconds, from public addresses only."""
    format: FileFormat = FileFormat.CSV
    """*csv* (UTF-8, a header row, commas) or *ndjson* (one object a line)."""
    preview: bool = False
    """True: nothing is changed, and the run's result says what would be."""

    @field_validator("url")
    @classmethod
    def _may_be_asked_for(cls, url: str, info: ValidationInfo) -> str:
        try:
            RemoteFile.parse(url).check((info.context or {}).get(ALLOWED_PLACES, ()))
        except RefusedAddress as error:
            raise refuse(str(error)) from error
        return url
