"""Not a weapon: what may be mailed to an address because somebody, maybe somebody else, asked for it."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address, ip_network


class CountedAs(StrEnum):
    """What a notice counts as at the mailbox that gets it, within 24 hours."""

    #: Asks the address something: anybody may have brought it about. It is not counted any more when the address has
    #: answered it.
    CONFIRMATION = "confirmation"
    #: Answers commands.
    ANSWER = "answer"
    #: Tells a moderator of a held post.
    HELD = "held"
    #: Tells an author of one.
    HELD_AUTHOR = "held_author"


#: Of one list, and of all.
MAX_CONFIRMATIONS_OF_A_LIST = 1
MAX_CONFIRMATIONS = 3
#: Of one list to all mailboxes together, not counting what was answered or what its owners asked for.
MAX_CONFIRMATIONS_BY_A_LIST = 500
MAX_ANSWERS = 10
_MAX_IN_ALL = {
    CountedAs.CONFIRMATION: MAX_CONFIRMATIONS,
    CountedAs.ANSWER: MAX_ANSWERS,
    CountedAs.HELD: 100,
    CountedAs.HELD_AUTHOR: 1,
}

#: How often the forms may be used in an hour from one address, and from one network (IPv4 /24, IPv6 /64).
MAX_FORMS_A_PEER = 20
MAX_FORMS_A_NETWORK = 60
#: The same for commands by mail: a peer is a mail server, which many people may write through.
MAX_COMMANDS_A_PEER = 200
MAX_COMMANDS_A_NETWORK = 600
#: What is counted together: the customers of one line, or of one machine.
_NETWORK_BITS = {4: 24, 6: 64}


def has_room(counted_as: CountedAs, *, of_the_list: int, in_all: int, by_the_list: int = 0) -> bool:
    """Whether a mailbox that got so many of the kind within 24 hours, of this list and in all, may get one more, and
    the list may send one more that sent so many to everybody."""
    if counted_as is CountedAs.CONFIRMATION and (
        of_the_list >= MAX_CONFIRMATIONS_OF_A_LIST or by_the_list >= MAX_CONFIRMATIONS_BY_A_LIST
    ):
        return False
    return in_all < _MAX_IN_ALL[counted_as]


def peer_and_network(host: str) -> tuple[str, str]:
    """The names under which a client is counted: its address, and its network."""
    try:
        address = ip_address(host)
    except ValueError:
        return host, host
    address = getattr(address, "ipv4_mapped", None) or address
    network = ip_network(f"{address}/{_NETWORK_BITS[address.version]}", strict=False)
    return str(address), str(network)
