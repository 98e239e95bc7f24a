"""Looking at a newsletter before it is sent: preflight, preview, and a test to somebody who reads it."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.newsletters import NewsletterId, newsletter_at
from services.admin_api.routes.subscription_requests import Following
from services.admin_api.schemas.base import MAX_ID
from services.admin_api.schemas.newsletter_looks import (
    FindingAnswer,
    NewTestSend,
    PreflightAnswer,
    PreviewAnswer,
    TestSendAnswer,
)
from shared.core.address import Address, InvalidAddress
from shared.core.preflight.finding import Finding
from shared.mail.template import UnreadablePost
from shared.runtime.consequences import Consequences
from shared.runtime.preflight import Preflight, Report
from shared.runtime.specimens import Original, Specimen, Specimens, original_of
from shared.store import members, own_mail
from shared.store.engine import Database, Session
from shared.store.members import Member
from shared.store.newsletters import Newsletter
from shared.store.own_mail import OwnMail

router = APIRouter(prefix="/newsletters/{newsletter_id}", tags=["Newsletters"], route_class=CheckedRoute)

#: Stands before the subject of a test.
TEST_MARK = "[Test] "
#: What nobody published by then, the sweep does.
_PUBLISH_AFTER_SECONDS = 5.0


def preflight_of(request: Request) -> Preflight:
    """What looks at newsletters."""
    return cast(Preflight, request.app.state.preflight)


def _specimens_of(request: Request) -> Specimens:
    return cast(Specimens, request.app.state.specimens)


Looking = Annotated[Preflight, Depends(preflight_of)]
Making = Annotated[Specimens, Depends(_specimens_of)]


@router.get("/preflight")
async def get_preflight(preflight: Looking, newsletter_id: NewsletterId) -> PreflightAnswer:
    """What is wrong with the newsletter as it is now: in its texts, its sender, its size, at its lists and in the DNS.
    What is refused here cannot be approved."""
    report = await report_on(preflight, newsletter_id)
    return PreflightAnswer(
        is_refused=report.is_refused,
        findings=[finding_answer(finding) for finding in report.findings],
        updated_at=report.updated_at,
    )


@router.get("/preview")
async def get_preview(
    database: Store,
    specimens: Making,
    newsletter_id: NewsletterId,
    member: Annotated[
        str,
        Query(
            max_length=300,
            description="Address or number of a member of the newsletter's lists. Absent: nobody's, the defaults.",
        ),
    ] = "",
) -> PreviewAnswer:
    """The newsletter as a member would get it now; not signed yet, and its links and tokens do nothing for real."""
    original, reader = await _original(database, newsletter_id, member)
    specimen = await _specimen(specimens, original, reader)
    return PreviewAnswer(
        member=reader.email if reader else None,
        subject=specimen.subject,
        text=specimen.text,
        html=specimen.html,
        raw=specimen.raw.decode("ascii", "replace"),
        size_bytes=len(specimen.raw),
    )


@router.post("/test", status_code=202)
async def send_test(
    database: Store,
    specimens: Making,
    newsletter_id: NewsletterId,
    test: NewTestSend,
    follow: Following,
    background: BackgroundTasks,
) -> TestSendAnswer:
    """Send a copy to up to 10 addresses, at once, signed as the newsletter would be. A suppressed address gets none."""
    original, reader = await _original(database, newsletter_id, test.member or "")
    specimen = await _specimen(specimens, original, reader, mark=TEST_MARK)
    to = list({address.key: address for address in test.to}.values())
    mail = OwnMail(specimen.message_uuid, specimen.raw, specimen.subject, specimen.domain, to)
    async with database.raw_transaction() as connection:
        released = await own_mail.send(connection, mail, publish_after_seconds=_PUBLISH_AFTER_SECONDS)
    background.add_task(follow, Consequences(batches=tuple(released.batches)))
    return TestSendAnswer(
        mailing_id=released.mailing_id, subject=specimen.subject, to=[address.spelling for address in to]
    )


async def report_on(preflight: Preflight, newsletter_id: int) -> Report:
    """What is to be said of the newsletter; `Problem` 404 when there is none."""
    report = await preflight(newsletter_id)
    if report is None:
        raise Problem(404, f"There is no newsletter {newsletter_id}.")
    return report


def finding_answer(finding: Finding) -> FindingAnswer:
    return FindingAnswer(
        code=finding.code,
        severity=finding.severity,
        field=finding.place.field or None,
        line=finding.place.line,
        column=finding.place.column,
        mend=finding.mend,
    )


async def _original(database: Database, newsletter_id: int, member: str) -> tuple[Original, Member | None]:
    async with database.snapshot() as session:
        newsletter = await newsletter_at(session, newsletter_id)
        reader = await _reader(session, newsletter, member) if member else None
        return await original_of(session, newsletter), reader


async def _reader(session: Session, newsletter: Newsletter, member: str) -> Member:
    if member.isascii() and member.isdecimal() and len(member) < 20 and int(member) <= MAX_ID:
        found = await members.get(session, int(member))
        found = found if found and found.list_id in newsletter.list_ids else None
    else:
        found = await _by_address(session, newsletter, member)
    if found is None:
        wrong = {"parameter": "member", "detail": f"{member} is on none of the newsletter's lists."}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])
    return found


async def _by_address(session: Session, newsletter: Newsletter, member: str) -> Member | None:
    """On the first of its lists that the address is on."""
    try:
        key = Address.parse(member).key
    except InvalidAddress:
        return None
    for list_id in newsletter.list_ids:
        if found := await members.find(session, list_id, key):
            return found
    return None


async def _specimen(specimens: Specimens, original: Original, reader: Member | None, *, mark: str = "") -> Specimen:
    try:
        return await specimens.make(original, reader, mark=mark)
    except UnreadablePost as error:
        raise Problem(409, f"The newsletter cannot be composed as it is: {error}.") from error
