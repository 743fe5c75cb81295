"""Papers, plates, places, records, dates and ages: a word before them, or a form that says enough."""

import pytest

from enforcer.detect import pii
from enforcer.detect.pii.documents import _mrz_digit

ALL = frozenset(pii.KINDS)


def values(text: str, kind: str, at: float = 0.5) -> list[str]:
    return [text[f.start : f.end] for f in pii.scan(text, ALL, at=at) if f.kind == kind]


FOUND = [
    ("passport", "passport number is C01X00T47, thanks", ["C01X00T47"]),
    ("passport", "Passport: 123456789", ["123456789"]),
    ("passport", "Reisepassnummer: C01X00T47", ["C01X00T47"]),
    ("passport", "my passport no. AB1234567", ["AB1234567"]),
    ("driving_license", "driver's license number is 2270-66-1551", ["2270-66-1551"]),
    ("driving_license", "Driving licence MORGA657054SM9IJ", ["MORGA657054SM9IJ"]),
    ("driving_license", "DL: D1234567", ["D1234567"]),
    ("driving_license", "Führerschein: B072RRE2I55", []),
    ("license_plate", "licence plate AB12 CDE", ["AB12 CDE"]),
    ("license_plate", "Kennzeichen: M-AB 1234", ["M-AB 1234"]),
    ("license_plate", "the plate is 7ABC123.", ["7ABC123"]),
    ("medical_record_number", "MRN: 00123456", ["00123456"]),
    ("medical_record_number", "patient id AB-1234567", ["AB-1234567"]),
    ("bank_account", "account number 123456789012", ["123456789012"]),
    ("uk_sort_code", "sort code: 12-34-56", ["12-34-56"]),
    ("coordinates", "GPS 48.858222, 2.294500.", ["48.858222, 2.294500"]),
    ("coordinates", "lat 52.5200, lon 13.4050", ["52.5200, lon 13.4050"]),
    ("coordinates", "?lat=52.5200&lng=-13.4050", ["52.5200&lng=-13.4050"]),
    ("coordinates", "52°31′12.5″N, 13°24′17″E", ["52°31′12.5″N, 13°24′17″E"]),  # noqa: RUF001 — the signs of degrees
    ("coordinates", "40°26'46\"N 79°58'56\"W", ["40°26'46\"N 79°58'56\"W"]),
    ("url_credentials", "see https://user:s3cret@host.example/x.", ["https://user:s3cret@host.example/x"]),
    ("date", "on 2000-04-16 11:34:35, the", ["2000-04-16 11:34:35"]),
    ("date", "on 5 March 2020 and March 5th, 2020", ["5 March 2020", "March 5th, 2020"]),
    ("date", "am 3. Oktober 2021, le 14 juillet 2019", ["3. Oktober 2021", "14 juillet 2019"]),
    ("date", "2024-01-15T10:30:00Z 12/25/1990 2020年3月5日", ["2024-01-15T10:30:00Z", "12/25/1990", "2020年3月5日"]),
    ("age", "a 74 year old female, aged 35, I'm 26 y/o.", ["74", "35", "26"]),
    ("age", "He just turned 63 years old", ["63"]),
    ("age", "retired at the age of 61", ["61"]),
]  # fmt: skip

NOT_FOUND = [
    ("passport", "a passport is needed, call 123; passport control at gate 12345678901234"),
    ("driving_license", "she is driving 20210345 miles; the public license 2.0"),
    ("license_plate", "a plate of food for 12"),
    ("medical_record_number", "the patient has 12345 friends"),
    ("bank_account", "on account of 12345678 reasons it was closed"),
    ("coordinates", "prices 99.9999, 240.1234 and 3.1415926, -200.55555"),
    ("coordinates", "lat 99.5200, lon 13.4050"),
    ("coordinates", "version 1.2345.6, 2.3456"),
    ("url_credentials", "https://host.example:8080/a@b"),
    ("date", "version 1.2.2020, 99/99/2020, 2020-13-40, 1/2/3/2020"),
    ("date", "10.0.19041.1 and 550e8400-e29b-41d4-2020-10-10abc"),
    ("age", "I am 5 minutes late; it was 20 degrees; 45 apples; a 300 year old tree"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "expected"), FOUND)
def test_a_kind_is_found_where_it_is(kind, text, expected):
    """
    The findings of a kind cover exactly the values that are in the text.
    """
    assert values(text, kind) == expected


@pytest.mark.parametrize(("kind", "text"), NOT_FOUND)
def test_a_look_alike_is_no_finding(kind, text):
    """
    What looks like a kind and is none is not found at the default confidence.
    """
    assert values(text, kind) == []


def test_a_machine_readable_zone_proves_itself():
    """
    Two lines of a passport are found by their check digits, and not with a digit changed.
    """
    first = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<"
    number, born, until = "L898902C3", "740812", "120415"
    second = (
        f"{number}{_mrz_digit(number.encode())}UTO{born}{_mrz_digit(born.encode())}F"
        f"{until}{_mrz_digit(until.encode())}ZE184226B<<<<<10"
    )
    text = f"scan:\n{first}\n{second}\nend"
    assert values(text, "passport") == [f"{first}\n{second}"]
    wrong = second.replace("740812", "740813")
    assert values(f"{first}\n{wrong}", "passport") == []


@pytest.mark.parametrize(
    ("label", "kind", "precision", "recall"),
    [("DATE_TIME", "date", 0.95, 0.40), ("AGE", "age", 0.95, 0.95)],
)
def test_labelled_sentences(shared_data, label, kind, precision, recall):
    """
    On the labelled sentences complete dates (by overlap) and ages (by span) keep their figures.
    """
    import json
    import re

    good = alarms = caught = missed = 0
    rows = (shared_data / "detectors" / "pii_dev.jsonl").read_text().split("\n")
    for row in map(json.loads, filter(None, rows)):
        text = row["text"]
        gold = [(s["start"], s["end"]) for s in row["spans"] if s["type"] == label]
        if kind == "date":
            gold = [g for g in gold if len(re.findall(r"\d", text[g[0] : g[1]])) > 4]
        found = [(f.start, f.end) for f in pii.scan(text, frozenset({kind}))]
        hits = [f for f in found if any(f[0] < g[1] and g[0] < f[1] for g in gold)]
        got = [g for g in gold if any(f[0] < g[1] and g[0] < f[1] for f in found)]
        good, alarms = good + len(hits), alarms + len(found) - len(hits)
        caught, missed = caught + len(got), missed + len(gold) - len(got)
    assert good / (good + alarms) >= precision
    assert caught / (caught + missed) >= recall


def test_what_counts_stands_before_what_does_not():
    """
    A doubtful finding of a kind that proves more does not hide a sure one of another.
    """
    text = "the number 541-714-1388 is mine, call 541-714-1388"
    assert "phone" in {f.kind for f in pii.scan(text, ALL, at=0.31)}
