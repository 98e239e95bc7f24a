"""Lists, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from services.admin_api.schemas.posting_rules import NewPostingRules, PostingRulesAnswer, PostingRulesChange
from shared.contracts.bodies import EmailAddress, Lines, Moment, OneLine, may_be_absent, refuse
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.bounce_score import DEFAULT_BOUNCE_LIMIT, DEFAULT_QUIET_DAYS
from shared.core.copies import DmarcMitigation, ReplyToPolicy
from shared.core.digest import DEFAULT_SIZE_BYTES, MAX_ISSUE_BYTES
from shared.core.membership import PostingPolicy
from shared.core.newsletter import DEFAULT_RECENCY_DAYS
from shared.core.subscription import SubscriptionPolicy
from shared.core.tracking import TrackingPolicy

DisplayName = Annotated[OneLine, StringConstraints(max_length=200)]
Description = Annotated[OneLine, StringConstraints(max_length=1000)]
#: Express is for confirmations and replies alone.
ListLane = Literal[Lane.POSTS, Lane.BULK]
MessagesPerHour = Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
#: Seconds between attempts, or until the last one: none sooner than a second, none later than 30 days.
GiveUpAfter = Annotated[float, Field(strict=True, ge=1, le=2_592_000)]
RetrySchedule = Annotated[list[GiveUpAfter], Field(min_length=1, max_length=50)]
#: White space around it would not survive the subject's way through mail programs.
SubjectPrefix = Annotated[OneLine, StringConstraints(max_length=100, strip_whitespace=True)]
CopyText = Annotated[Lines, StringConstraints(max_length=10_000)]


def _ascii(address: Address) -> Address:
    if address.needs_smtputf8:
        raise refuse("Not every member's server takes an address beyond ASCII in Reply-To.")
    return address


AsciiAddress = Annotated[EmailAddress, AfterValidator(_ascii)]
#: No score is higher than a point a day for ten years.
BounceLimit = Annotated[float, Field(strict=True, gt=0, le=3650)]
DigestSize = Annotated[int, Field(strict=True, ge=1_000, le=MAX_ISSUE_BYTES)]
Newsletters = Annotated[int, Field(strict=True, ge=1, le=1000)]
RecencyDays = Annotated[int, Field(strict=True, ge=1, le=365)]
QuietDays = Annotated[int, Field(strict=True, ge=1, le=3650)]


class NewList(NewPostingRules):
    """A list to make."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """The local part of the posting address: letters, digits, and . _ + - between them; kept in lower case."""
    domain: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """The domain of the posting address; an internationalised one is kept in its ASCII form."""
    display_name: DisplayName = ""
    """What people call the list; stands in the List-Id field. At most 200 characters on one line."""
    description: Description = ""
    """What the list is for. At most 1,000 characters on one line."""
    posting_policy: PostingPolicy = PostingPolicy.MEMBERS
    """Who may post: anyone; members; or, for an announcement list, moderators and owners only."""
    subscription_policy: SubscriptionPolicy = SubscriptionPolicy.CONFIRM
    """Who may join, by mail or by web: open, whoever asks, without proof that the address is theirs; confirm, whose
    address answers a mail (double opt-in); approve, whom the owners let in; confirm_and_approve, both; closed, nobody;
    invite, only who was invited."""
    one_click_enabled: bool = True
    """Whether each member's copy has a link of its own that ends the membership at once (RFC 8058). It takes effect
    where each delivery has a return path of its own (`verp_enabled`) and the public URL is set. Copies then differ, so
    that a signed one is signed by itself: some 0.4 ms of a processor more with RSA."""
    tracking: TrackingPolicy = TrackingPolicy.OFF
    """What is kept of how its mail is read: off, nothing; anonymous, how often copies are opened and each link is
    followed; full, by whom as well, so that copies differ (a signed one is signed by itself). It takes effect where the
    public URL is set, on HTML: web links lead by way of this cluster, and an image of one pixel is added; the text then
    goes out as UTF-8 in quoted-printable. Links with merge fields are not tracked."""
    tracks_plain_text: bool = False
    """Whether links in plain text are tracked as well: they get long, and people see them."""
    personal: bool = False
    """Whether posts may hold merge fields: `{{first_name|friend}}` is the member's custom field of that name, or
    `friend` where the member has none; `{{email}}` and `{{display_name}}` are known of each. They count in the subject,
    in fields that begin with `X-`, and in plain and HTML text, which then goes out as UTF-8 in quoted-printable; within
    a link, a value is `{{url:name}}`. Off, and without the texts below, a post's body goes out unchanged to the
    byte."""
    verp_enabled: bool = True
    """Whether each delivery has a return path of its own, so that every bounce names its member for sure. Off, a
    mailing whose copies are all the same has one return path, and many recipients may share a transaction."""
    subject_prefix: SubjectPrefix = ""
    """Stands before each post's subject that does not have it yet, also behind `Re:`, `AW:` and the like: `[dev]`. At
    most 100 characters on one line; empty for none."""
    header_text: CopyText = ""
    """Lines before what the author wrote: at most 10,000 characters, ended by line feeds; empty for none. They stand
    within plain text and, escaped, within HTML. A post that is signed, encrypted or unusual becomes one part of several
    with its bytes as they were, and the lines become another. On a personal list merge fields count in them, too."""
    footer_text: CopyText = ""
    """Lines behind what the author wrote, as `header_text`."""
    reply_to: ReplyToPolicy = ReplyToPolicy.AUTHOR
    """Whom answers go to: the author; the list; or, with `address`, `reply_to_address`."""
    reply_to_address: AsciiAddress | None = None
    """The address that answers go to where `reply_to` is `address`; ASCII before the @."""
    keeps_authors_reply_to: bool = True
    """Whether a Reply-To of the author's own stays: alone where answers go to the author, beside the list's or the
    set address otherwise. False: it is replaced."""
    anonymous: bool = False
    """Whether the copies tell the author in no field: From and To are the list's, Date and Message-ID ours, and of the
    rest only the subject, the thread within the list and what describes the body are kept. The body is not looked into:
    names, signatures and files within it stay."""
    dmarc_mitigation: DmarcMitigation = DmarcMitigation.NEVER
    """When the copies are from `Author via List` with the list's address, and the author in Reply-To or Cc: never; when
    the author's domain publishes a DMARC policy of quarantine or reject, as it is when the post is distributed; or
    always. A list that changes subject or text should not say never: members' servers may refuse such copies."""
    lane: ListLane = Lane.POSTS
    """How urgent its mail is: posts, of which bulk holds up none; or bulk, for newsletters, which gets a fifth of the
    turns while posts wait."""
    max_messages_per_hour: MessagesPerHour | None = None
    """Messages of the list that all nodes together start in any hour, spread evenly: 1 to 100,000,000; null or absent
    is unlimited."""
    retry_schedule_seconds: RetrySchedule | None = None
    """Waits between the attempts at a deferred delivery, in seconds: at most 50, each 1 to 2,592,000 (30 days). The
    last holds for all that follow. Null or absent: 5, 15 and 30 minutes, 1 and 2 hours, then every 4 hours."""
    give_up_after_seconds: GiveUpAfter | None = None
    """Age at which the deliveries of a mailing are given up: 1 to 2,592,000 seconds (30 days). Null or absent: as the
    schedulers are set, 5 days. In force for the mailings made from then on."""
    bounce_limit: BounceLimit | None = DEFAULT_BOUNCE_LIMIT
    """Points at which a member is held: more than 0, at most 3,650; null is never. A bounce that proves the address bad
    counts 1, another 0.5, at most one a day; refusals for policy, spam, size or the sending server count nothing."""
    bounce_quiet_days: QuietDays = DEFAULT_QUIET_DAYS
    """Days without a bounce that counts, after which a member's points are forgotten: 1 to 3,650."""
    digests_enabled: bool = False
    """Whether posts are collected for members whose mode is digest. They are sent once a day, by a task of the kind
    digest that is made when this is turned on and that may be changed as any task; and once `digest_size_bytes` have
    come. False: such members get each post as a mail."""
    digest_size_bytes: DigestSize | None = DEFAULT_SIZE_BYTES
    """Bytes of collected posts at which a digest is sent at once: 1,000 to 10,000,000, where a digest ends in any case;
    null is by time alone."""
    removes_held_members: bool = True
    """Whether a held member who does not answer the reminders of a *held_members* task is removed, as if it had left;
    otherwise it stays held. Without such a task nobody is reminded, nor removed."""
    recency_newsletters: Newsletters | None = None
    """Newsletters that one address gets within `recency_days`, at most: 1 to 1,000; null or absent is unlimited. It
    holds for every newsletter that goes to this list, and counts those of all lists that have such a limit."""
    recency_days: RecencyDays = DEFAULT_RECENCY_DAYS
    """Days, of 24 hours, over which newsletters are counted for `recency_newsletters`: 1 to 365."""


class ListChange(PostingRulesChange):
    """What to change of a list; what is absent stays as it is."""

    display_name: DisplayName = may_be_absent()
    """What people call the list. At most 200 characters on one line."""
    description: Description = may_be_absent()
    """What the list is for. At most 1,000 characters on one line."""
    posting_policy: PostingPolicy = may_be_absent()
    """Who may post: anyone; members; or, for an announcement list, moderators and owners only."""
    subscription_policy: SubscriptionPolicy = may_be_absent()
    """Who may join: open, confirm, approve, confirm_and_approve, closed or invite; also of requests under way."""
    one_click_enabled: bool = may_be_absent()
    """Whether each member's copy has a link of its own that ends the membership at once; from the next post on."""
    tracking: TrackingPolicy = may_be_absent()
    """What is kept of how its mail is read: off, anonymous or full. Less is in force at once, also for what is told by
    mail that was sent before; more, from the next post on."""
    tracks_plain_text: bool = may_be_absent()
    """Whether links in plain text are tracked as well; from the next post on."""
    personal: bool = may_be_absent()
    """Whether posts may hold merge fields; from the next post on."""
    verp_enabled: bool = may_be_absent()
    """Whether each delivery has a return path of its own; from the next post on."""
    subject_prefix: SubjectPrefix = may_be_absent()
    """Stands before each post's subject that does not have it yet; empty for none. From the next post on, as all of
    these."""
    header_text: CopyText = may_be_absent()
    """Lines before what the author wrote: at most 10,000 characters; empty for none."""
    footer_text: CopyText = may_be_absent()
    """Lines behind what the author wrote: at most 10,000 characters; empty for none."""
    reply_to: ReplyToPolicy = may_be_absent()
    """Whom answers go to: the author; the list; or, with `address`, `reply_to_address`."""
    reply_to_address: AsciiAddress | None = may_be_absent()
    """The address that answers go to where `reply_to` is `address`; ASCII before the @."""
    keeps_authors_reply_to: bool = may_be_absent()
    """Whether a Reply-To of the author's own stays beside what `reply_to` says, or is replaced."""
    anonymous: bool = may_be_absent()
    """Whether the copies tell the author in no field."""
    dmarc_mitigation: DmarcMitigation = may_be_absent()
    """When the copies are from the list's address: never; when the author's domain publishes quarantine or reject; or
    always."""
    lane: ListLane = may_be_absent()
    """Posts, or bulk for newsletters; of mailings that are made from now on."""
    max_messages_per_hour: MessagesPerHour | None = may_be_absent()
    """Messages of the list that all nodes together start in any hour, spread evenly: 1 to 100,000,000; null is
    unlimited. In force at once, also for what waits."""
    retry_schedule_seconds: RetrySchedule | None = may_be_absent()
    """Waits between the attempts at a deferred delivery, in seconds: at most 50, each 1 to 2,592,000 (30 days). The
    last holds for all that follow. In force for batches taken from then on. Null is as everywhere."""
    give_up_after_seconds: GiveUpAfter | None = may_be_absent()
    """Age at which a mailing's deliveries are given up: 1 to 2,592,000 seconds (30 days). In force for mailings made
    from then on. Null is as everywhere."""
    bounce_limit: BounceLimit | None = may_be_absent()
    """Points at which a member is held: more than 0, at most 3,650; null is never. In force from the next bounce on."""
    bounce_quiet_days: QuietDays = may_be_absent()
    """Days without a bounce that counts, after which a member's points are forgotten: 1 to 3,650."""
    digests_enabled: bool = may_be_absent()
    """Whether posts are collected for members whose mode is digest; from the next post on. Turned on, a task of the
    kind digest is made unless the list has one. Turned off, what was collected is sent."""
    digest_size_bytes: DigestSize | None = may_be_absent()
    """Bytes of collected posts at which a digest is sent at once: 1,000 to 10,000,000; null is by time alone. From the
    next post on."""
    removes_held_members: bool = may_be_absent()
    """Whether a held member who does not answer its reminders is removed."""
    recency_newsletters: Newsletters | None = may_be_absent()
    """Newsletters that one address gets within `recency_days`, at most: 1 to 1,000; null is unlimited. In force for the
    recipients of newsletters that are made from then on."""
    recency_days: RecencyDays = may_be_absent()
    """Days, of 24 hours, over which newsletters are counted: 1 to 365."""


class ListAnswer(PostingRulesAnswer):
    """A mailing list."""

    address: str
    """The posting address, and the list's name in this API's paths."""
    name: str
    """The address's local part, in lower case."""
    domain: str
    """The address's domain, in lower case and ASCII."""
    display_name: str
    """What people call the list."""
    description: str
    """What the list is for."""
    posting_policy: PostingPolicy
    """Who may post."""
    subscription_policy: SubscriptionPolicy
    """Who may join, and how."""
    one_click_enabled: bool
    """Whether each member's copy has a link of its own that ends the membership at once."""
    tracking: TrackingPolicy
    """What is kept of how its mail is read."""
    tracks_plain_text: bool
    """Whether links in plain text are tracked as well."""
    personal: bool
    """Whether posts may hold merge fields."""
    verp_enabled: bool
    """Whether each delivery has a return path of its own."""
    subject_prefix: str
    """Stands before each post's subject that does not have it yet; empty for none."""
    header_text: str
    """Lines before what the author wrote; empty for none."""
    footer_text: str
    """Lines behind what the author wrote; empty for none."""
    reply_to: ReplyToPolicy
    """Whom answers go to."""
    reply_to_address: str | None
    """The address that answers go to where `reply_to` is `address`."""
    keeps_authors_reply_to: bool
    """Whether a Reply-To of the author's own stays."""
    anonymous: bool
    """Whether the copies tell the author in no field."""
    dmarc_mitigation: DmarcMitigation
    """When the copies are from the list's address."""
    lane: Lane
    """How urgent its mail is."""
    max_messages_per_hour: int | None
    """Messages of the list that all nodes together start in any hour; null is unlimited."""
    retry_schedule_seconds: list[float] | None
    """Waits between the attempts at a deferred delivery, in seconds; null is as everywhere."""
    give_up_after_seconds: float | None
    """Age in seconds at which the deliveries of a mailing are given up; null is as everywhere."""
    bounce_limit: float | None
    """Points of bounces at which a member is held; null is never."""
    bounce_quiet_days: int
    """Days without a bounce that counts, after which a member's points are forgotten."""
    digests_enabled: bool
    """Whether posts are collected for members whose mode is digest."""
    digest_size_bytes: int | None
    """Bytes of collected posts at which a digest is sent at once; null is by time alone."""
    removes_held_members: bool
    """Whether a held member who does not answer its reminders is removed; otherwise it stays held."""
    recency_newsletters: int | None
    """Newsletters that one address gets within `recency_days`, at most; null is unlimited."""
    recency_days: int
    """Days over which newsletters are counted."""
    created_at: Moment
    """When the list was made."""
