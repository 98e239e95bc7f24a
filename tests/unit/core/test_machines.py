from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.machines import judged, sign_of_request
from shared.core.readings import CountedBy, CountKey, MachineSign, Reading, ReadingKind, counted

SENT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
MAILER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0"
PERSON = "192.0.2.7"


@pytest.mark.parametrize("agent", [BROWSER, PHONE, MAILER, "Microsoft Office/16.0 (Microsoft Outlook 16.0)"])
@pytest.mark.parametrize("peer", [PERSON, "2001:db8::1", "", "no address", "::ffff:192.0.2.7"])
def test_a_persons_request_tells_nothing(agent: str, peer: str) -> None:
    assert sign_of_request("GET", agent, [], peer) is None


@pytest.mark.parametrize(
    ("agent", "sign"),
    [
        (
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            MachineSign.PROXY,
        ),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", MachineSign.PROXY),
        ("Mozilla/5.0", MachineSign.PROXY),
        ("Mozilla/5.0 (compatible; Barracuda Sentinel)", MachineSign.SCANNER),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", MachineSign.PROGRAM),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", MachineSign.PROGRAM),
        ("facebookexternalhit/1.1", MachineSign.PROGRAM),
        ("curl/8.5.0", MachineSign.PROGRAM),
        ("python-requests/2.31", MachineSign.PROGRAM),
        ("Go-http-client/2.0", MachineSign.PROGRAM),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 HeadlessChrome/131.0 Safari/537.36", MachineSign.PROGRAM),
        ("", MachineSign.PROGRAM),
    ],
)
def test_programs_name_themselves(agent: str, sign: MachineSign) -> None:
    assert sign_of_request("GET", agent, [], PERSON) is sign


@pytest.mark.parametrize(
    ("peer", "sign"),
    [
        ("17.58.1.2", MachineSign.PROXY),
        ("66.249.84.1", MachineSign.PROXY),
        ("40.94.20.3", None),
        ("40.92.20.3", MachineSign.SCANNER),
        ("104.47.1.1", MachineSign.SCANNER),
        ("::ffff:104.47.1.1", MachineSign.SCANNER),
        ("148.163.130.9", MachineSign.SCANNER),
        ("2a01:111:f400::1", MachineSign.SCANNER),
    ],
)
def test_some_networks_hold_no_people(peer: str, sign: MachineSign | None) -> None:
    assert sign_of_request("GET", BROWSER, [], peer) is sign


def test_head_and_prefetching_are_no_persons() -> None:
    assert sign_of_request("HEAD", BROWSER, [], PERSON) is MachineSign.HEAD
    assert sign_of_request("GET", BROWSER, ["prefetch;prerender"], PERSON) is MachineSign.PREFETCH
    assert sign_of_request("GET", BROWSER, ["navigate"], PERSON) is None


def opened(seconds: float, sign: MachineSign | None = None) -> Reading:
    return Reading(SENT + timedelta(seconds=seconds), 0, sign)


def click(seconds: float, link: int = 1, sign: MachineSign | None = None) -> Reading:
    return Reading(SENT + timedelta(seconds=seconds), link, sign)


SOON, BURST, UNSEEN, HEAD = MachineSign.SOON, MachineSign.BURST, MachineSign.UNSEEN, MachineSign.HEAD


@pytest.mark.parametrize(
    ("readings", "signs"),
    [
        ([opened(300), click(310), click(320, 2)], [None, None, None]),
        ([opened(10), click(12)], [None, None]),
        ([click(12), opened(16)], [None, None]),
        ([click(400)], [None]),
        ([opened(1)], [SOON]),
        ([click(-20)], [SOON]),
        ([click(-600)], [None]),
        ([click(12)], [UNSEEN]),
        ([click(12), opened(18)], [UNSEEN, None]),
        ([click(12), opened(13, MachineSign.PROXY)], [UNSEEN, MachineSign.PROXY]),
        ([opened(5), click(40), click(41, 2)], [None, BURST, BURST]),
        ([opened(5), click(400), click(401, 2)], [None, None, None]),
        ([click(400), click(401, 2), click(404, 3)], [BURST, BURST, BURST]),
        ([click(404, 3), click(400), click(401, 2)], [BURST, BURST, BURST]),
        ([click(400), click(401), click(402), click(403)], [None, None, None, None]),
        ([click(400), click(403, 2), click(406, 3)], [None, None, None]),
        ([click(400), click(404, 2), click(405, 3), click(409, 4), click(500)], [BURST, BURST, BURST, BURST, None]),
        ([click(400, sign=HEAD), click(401, 2), click(402, 3)], [HEAD, BURST, BURST]),
        ([], []),
    ],
)
def test_manners_tell_machines(readings: list[Reading], signs: list[MachineSign | None]) -> None:
    assert judged(readings, SENT) == signs


def test_while_the_outcome_is_not_known_only_the_events_tell() -> None:
    assert judged([click(1), click(400), click(401, 2)], None) == [None, None, None]
    assert judged([click(1), click(2, 2), click(3, 3)], None) == [BURST, BURST, BURST]


_readings = st.lists(
    st.builds(
        Reading,
        st.integers(-60, 8000).map(lambda seconds: SENT + timedelta(seconds=seconds)),
        st.integers(0, 4),
        st.none() | st.sampled_from(MachineSign),
    ),
    max_size=30,
)


@given(_readings, st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_told_makes_no_difference(readings: list[Reading], random: object) -> None:
    shuffled = list(readings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(map(repr, zip(readings, judged(readings, SENT), strict=True))) == sorted(
        map(repr, zip(shuffled, judged(shuffled, SENT), strict=True))
    )
    assert counted(readings, judged(readings, SENT), domain="a.example") == counted(
        shuffled, judged(shuffled, SENT), domain="a.example"
    )


@given(_readings)
def test_counts_of_hours_and_domains_add_up(readings: list[Reading]) -> None:
    counts = counted(readings, judged(readings, SENT), domain="a.example")
    for kind in ReadingKind:
        for is_machine in (False, True):
            whole = CountKey(CountedBy.MAILING, "", kind, is_machine)
            hours = [key for key in counts.total if key.by is CountedBy.HOUR and key.kind is kind]
            hours = [key for key in hours if key.is_machine is is_machine]
            assert sum(counts.total[key] for key in hours) == counts.total[whole]
            assert sum(counts.readers[key] for key in hours) == counts.readers[whole] <= 1
            domain = CountKey(CountedBy.DOMAIN, "a.example", kind, is_machine)
            assert (counts.total[domain], counts.readers[domain]) == (counts.total[whole], counts.readers[whole])
    assert sum(counts.total[key] for key in counts.total if key.by is CountedBy.MAILING) == len(readings)


def test_nobodys_events_have_no_readers() -> None:
    counts = counted([opened(300), click(310)], [None, None], domain="", is_known=False)
    assert counts.total.total() == 5
    assert counts.readers.total() == 0
