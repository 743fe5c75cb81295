"""Calendar windows in a time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.state import windows
from enforcer.state.windows import PERIODS, window

HOUR_US = 3_600_000_000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # Until 2011 the clock was put back one minute after midnight.
    "Australia/Lord_Howe",  # Half an hour of daylight saving.
    "Asia/Kathmandu",
    "Pacific/Apia",  # Skipped 2011-12-30.
    "America/Sao_Paulo",  # Its clock jumped over midnight.
    "Antarctica/Troll",  # Two hours of daylight saving.
    "Africa/Cairo",
)


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    """Each test finds its windows itself."""
    windows._newest.clear()


def at(text: str) -> int:
    """Microseconds of an ISO time."""
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


def local(text: str, zone: str, fold: int = 0) -> int:
    """Microseconds of a local time."""
    time = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(time.timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("per", "name", "start", "end"),
    [
        ("hour", "2026-11-23T18", "2026-11-23T17:00Z", "2026-11-23T18:00Z"),
        ("day", "2026-11-23", "2026-11-22T23:00Z", "2026-11-23T23:00Z"),
        ("week", "2026-W48", "2026-11-22T23:00Z", "2026-11-29T23:00Z"),
        ("month", "2026-11", "2026-10-31T23:00Z", "2026-11-30T23:00Z"),
    ],
)
def test_windows_are_calendar_windows_in_the_tenants_time_zone(per, name, start, end) -> None:
    """LANGUAGE: windows are calendar hour, day, week, month in the tenant's time zone."""
    assert window(per, "Europe/Berlin", at("2026-11-23T17:42:02Z")) == (name, at(start), at(end))


def test_total_has_no_end() -> None:
    """LANGUAGE: or total."""
    assert window("total", "Europe/Berlin", at("2026-11-23T17:42:02Z")) == ("total", 0, 0)


def test_weeks_are_iso_weeks() -> None:
    """A week runs from Monday, and belongs to the year that its Thursday lies in."""
    assert window("week", "UTC", at("2027-01-03T23:59:59Z")).name == "2026-W53"
    assert window("week", "UTC", at("2027-01-04T00:00:00Z")).name == "2027-W01"
    assert window("week", "UTC", at("2024-12-30T00:00:00Z")).name == "2025-W01"


def test_midnight_over_a_daylight_saving_change() -> None:
    """A day has 23 hours when the clock is put forward, and 25 when it is put back."""
    spring = window("day", "Europe/Berlin", local("2026-03-29T12:00", "Europe/Berlin"))
    autumn = window("day", "Europe/Berlin", local("2026-10-25T12:00", "Europe/Berlin"))

    assert (spring.name, spring.end_us - spring.start_us) == ("2026-03-29", 23 * HOUR_US)
    assert (autumn.name, autumn.end_us - autumn.start_us) == ("2026-10-25", 25 * HOUR_US)
    assert window("day", "Europe/Berlin", autumn.end_us - 1).name == "2026-10-25"
    assert window("day", "Europe/Berlin", autumn.end_us).name == "2026-10-26"


def test_an_hour_that_occurs_twice_is_two_windows() -> None:
    """
    The hour that the clock shows twice has two names, by its offset; its neighbours have none.
    """
    first = window("hour", "Europe/Berlin", local("2026-10-25T02:30", "Europe/Berlin"))
    second = window("hour", "Europe/Berlin", local("2026-10-25T02:30", "Europe/Berlin", fold=1))

    assert first.name == "2026-10-25T02+02:00"
    assert second.name == "2026-10-25T02+01:00"
    assert first.end_us == second.start_us
    assert window("hour", "Europe/Berlin", first.start_us - 1).name == "2026-10-25T01"
    assert window("hour", "Europe/Berlin", second.end_us).name == "2026-10-25T03"


def test_half_an_hour_of_daylight_saving() -> None:
    """Lord Howe shows half an hour twice: an hour, then half of it again."""
    zone = "Australia/Lord_Howe"
    first = window("hour", zone, local("2026-04-05T01:45", zone))
    second = window("hour", zone, local("2026-04-05T01:45", zone, fold=1))

    assert first.end_us - first.start_us == HOUR_US
    assert second.end_us - second.start_us == HOUR_US // 2
    assert {first.name, second.name} == {"2026-04-05T01+11:00", "2026-04-05T01+10:30"}


def test_a_clock_that_changes_within_an_hour() -> None:
    """Where the clock was put back at 00:01, the first hour had one minute, then 59 more."""
    zone = "America/St_Johns"
    first = window("hour", zone, at("2010-11-07T02:30Z"))
    again = window("hour", zone, at("2010-11-07T03:29Z"))

    assert first == ("2010-11-07T00-02:30", at("2010-11-07T02:30Z"), at("2010-11-07T02:31Z"))
    assert again == ("2010-11-06T23-03:30", at("2010-11-07T02:31Z"), at("2010-11-07T03:30Z"))
    assert window("hour", zone, again.end_us).name == "2010-11-07T00-03:30"


def test_a_day_that_was_skipped_has_no_window() -> None:
    """Samoa went from the 29th to the 31st of December 2011."""
    day = window("day", "Pacific/Apia", local("2011-12-29T12:00", "Pacific/Apia"))
    assert window("day", "Pacific/Apia", day.end_us).name == "2011-12-31"


def test_a_day_may_begin_after_midnight() -> None:
    """Where the clock jumps over midnight the day begins with the jump."""
    zone = "America/Sao_Paulo"
    day = window("day", zone, local("2018-11-04T12:00", zone))
    assert day == ("2018-11-04", at("2018-11-04T03:00Z"), at("2018-11-05T02:00Z"))


def test_a_day_does_not_come_back() -> None:
    """Where the clock was put back over midnight the new day goes on."""
    zone = "America/St_Johns"
    day = window("day", zone, local("2010-11-07T12:00", zone))
    assert day.end_us - day.start_us == 25 * HOUR_US
    windows._newest.clear()
    assert window("day", zone, day.start_us + 30 * 60_000_000) == day
    assert window("day", zone, day.start_us - 1).name == "2010-11-06"


# Around changes of the clock, and anywhere.
CHANGES = (
    "2026-03-29T01:00Z",
    "2026-10-25T01:00Z",
    "2010-11-07T02:31Z",
    "2026-04-04T15:00Z",
    "2011-12-30T10:00Z",
    "2018-11-04T03:00Z",
    "2026-03-08T07:00Z",
    "2024-04-25T22:00Z",
)
NEAR = st.builds(
    lambda change, shift: at(change) + shift,
    st.sampled_from(CHANGES),
    st.integers(-30 * HOUR_US, 30 * HOUR_US),
)
ANY = st.integers(at("1995-01-01T00:00Z"), at("2040-01-01T00:00Z"))


@given(per=st.sampled_from(PERIODS[:-1]), zone=st.sampled_from(ZONES), now_us=NEAR | ANY)
def test_windows_leave_no_instant_out(per, zone, now_us) -> None:
    """A window holds its instant, knows only one name, and the next begins where it ends."""
    windows._newest.clear()
    found = window(per, zone, now_us)

    assert found.start_us <= now_us < found.end_us
    assert windows._window(per, zone, found.start_us) == found
    assert windows._window(per, zone, found.end_us - 1) == found
    assert window(per, zone, found.end_us - 1) is found
    following = window(per, zone, found.end_us)
    assert following.start_us == found.end_us
    assert following.name != found.name


@given(zone=st.sampled_from(ZONES), now_us=NEAR | ANY)
def test_an_hour_has_the_name_that_the_clock_shows(zone, now_us) -> None:
    """The name of an hour is the local date and hour, whatever the clock did before."""
    moment = datetime.fromtimestamp(now_us // 1_000_000, UTC).astimezone(ZoneInfo(zone))
    assert window("hour", zone, now_us).name.startswith(moment.strftime("%Y-%m-%dT%H"))


def test_an_unknown_period_is_a_bug() -> None:
    """The policy checker knows the periods; here another one is an assertion."""
    with pytest.raises(AssertionError):
        window("fortnight", "UTC", 0)


def test_the_cache_is_bounded() -> None:
    """More zones than the cache holds are answered all the same."""
    for number in range(windows._NEWEST_MAX + 2):
        windows._newest["day", str(number)] = windows.TOTAL
    assert window("day", "UTC", 0).name == "1970-01-01"
    assert len(windows._newest) == 1
