"""Kinds that prove themselves by a check digit, and web addresses: off unless asked for."""

import json
import random
import string
from hashlib import sha256

import pytest
from stdnum import iban

from enforcer.detect import pii
from enforcer.detect.pii import accounts, numbers

MORE = frozenset({"iban", "bic", "url", "mac_address", "imei", "vin", "crypto_wallet"})
HEX = "0123456789abcdef"


def values(text: str, kind: str, kinds: frozenset[str] = MORE) -> list[str]:
    return [text[f.start : f.end] for f in pii.scan(text, kinds) if f.kind == kind]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("iban", "IBAN GB82 WEST 1234 5698 7654 32 for you", ["GB82 WEST 1234 5698 7654 32"]),
        ("iban", "de89370400440532013000.", ["de89370400440532013000"]),
        ("iban", "GB82 WEST 1234 5698 7654 33, GB82WEST", []),
        ("iban", "XX82 WEST 1234 5698 7654 32", []),
        ("bic", "BIC DEUTDEFF500, swift: COBADEFF", ["DEUTDEFF500", "COBADEFF"]),
        ("bic", "the DOCUMENT and the INTERNET", []),
        ("url", "see https://www.x.org/a_(b), (www.foo.de).", ["https://www.x.org/a_(b)", "www.foo.de"]),
        ("url", "https://ClickPhobia.com.br/ http:// x://y", ["https://ClickPhobia.com.br/"]),
        ("mac_address", "mac 00:1A:2B:3C:4D:5E or 001a.2b3c.4d5e", ["00:1A:2B:3C:4D:5E", "001a.2b3c.4d5e"]),
        ("mac_address", "sha 00:1A:2B:3C:4D:5E:6F, 12-34-56-78-90-12", []),
        ("imei", "IMEI 49-015420-323751-8", ["49-015420-323751-8"]),
        ("imei", "IMEI 490154203237519", []),
        ("vin", "VIN 1HGCM82633A004352", ["1HGCM82633A004352"]),
        ("imei", "490154203237518 and 1HGCM82633A004352", []),
        ("vin", "VIN 1HGCM82633A004353", []),
        ("vin", "490154203237518 and 1HGCM82633A004352", []),
        ("crypto_wallet", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"]),
        ("crypto_wallet", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", []),
        ("crypto_wallet", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", ["bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"]),
        ("crypto_wallet", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp", []),
        ("crypto_wallet", "0x" + "52908400098527886E0F7030069857D2E4169EE7", []),
        ("crypto_wallet", "wallet 0x" + "52908400098527886E0F7030069857D2E4169EE7", ["0x52908400098527886E0F7030069857D2E4169EE7"]),
    ],
)  # fmt: skip
def test_a_kind_is_found_where_it_is(kind, text, expected):
    """
    Values with their check digits are found whole; the same with one character wrong are not.
    """
    assert values(text, kind) == expected


def an_iban(rng: random.Random) -> str:
    country, bban = rng.choice([
        ("DE", "".join(rng.choices(string.digits, k=18))),
        ("GB", "".join(rng.choices(string.ascii_uppercase, k=4) + rng.choices(string.digits, k=14))),
        ("NO", "".join(rng.choices(string.digits, k=11))),
        ("FR", "".join(rng.choices(string.digits, k=23))),
    ])  # fmt: skip
    number = int("".join([str(int(char, 36)) for char in bban + country + "00"]))
    whole = f"{country}{98 - number % 97:02}{bban}"
    return (
        whole
        if rng.random() < 0.5
        else " ".join([whole[i : i + 4] for i in range(0, len(whole), 4)])
    )


def a_mac(rng: random.Random) -> str:
    return ":".join([f"{rng.randrange(256):02x}" for _ in range(6)])


def an_imei(rng: random.Random) -> str:
    digits = "".join(rng.choices(string.digits, k=14))
    return next(digits + d for d in string.digits if numbers.luhn_valid((digits + d).encode()))


def a_vin(rng: random.Random) -> str:
    while True:
        value = "".join(rng.choices("ABCDEFGHJKLMNPRSTUVWXYZ" + string.digits, k=17))
        for check in "0123456789X":
            made = value[:8] + check + value[9:]
            if accounts._vin_valid(made) and not made.isdigit() and not made.isalpha():
                return made


def changed(value: str, rng: random.Random) -> str:
    """The value with its last character a digit of another worth, also where letters stand for digits."""
    worth = accounts._VIN_VALUES.get(value[-1])
    return value[:-1] + rng.choice([digit for digit in string.digits if int(digit) != worth])


def a_wallet(rng: random.Random) -> str:
    raw = b"\0" + rng.randbytes(20)
    raw += sha256(sha256(raw).digest()).digest()[:4]
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, made = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        made = alphabet[digit] + made
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + made


@pytest.mark.parametrize(
    ("kind", "make", "lead"),
    [
        ("iban", an_iban, "pay to "),
        ("imei", an_imei, "IMEI "),
        ("vin", a_vin, "VIN: "),
        ("crypto_wallet", a_wallet, "send to "),
    ],
)
def test_generated_values_are_found_and_changed_ones_are_not(kind, make, lead):
    """
    Of 300 values and 300 with a character changed: recall .97, and at most 1 % false alarms.
    """
    rng = random.Random(5)
    found = alarms = 0
    for _ in range(300):
        value = make(rng)
        found += values(f"{lead}{value}, thanks", kind) == [value]
        alarms += bool(values(f"{lead}{changed(value, rng)}, thanks", kind))
    assert found >= 291
    assert alarms <= 3


@pytest.mark.parametrize("country", ["DE", "GB", "FR", "MT", "NO", "ZZ"])
def test_a_number_of_an_account_is_what_the_registry_says(country):
    """
    Form and check digits are judged as python-stdnum judges them, for what is right and what is nearly.
    """
    rng = random.Random(5)
    for _ in range(400):
        letters = "0123456789ABMW" if rng.random() < 0.5 else "0123456789"
        tail = "".join(rng.choices(letters, k=rng.randint(11, 27)))
        value = country + iban.calc_check_digits(f"{country}00{tail}") + tail
        expected = iban.is_valid(value, check_country=False)
        assert accounts._iban_valid(value.encode()) == expected, value
    good = "DE89370400440532013000"
    assert accounts._iban_valid(good.encode())
    assert not accounts._iban_valid(good.replace("37", "73").encode())


def test_hardware_addresses_are_not_longer_fingerprints():
    """
    Six octets are found, a fingerprint of more or fewer is not.
    """
    rng = random.Random(6)
    for _ in range(200):
        value = a_mac(rng)
        assert values(f"at {value}.", "mac_address") == [value]
        assert values(f"at {value}:{rng.choice(HEX)}{rng.choice(HEX)}.", "mac_address") == []
        assert values(f"at {value[3:]}.", "mac_address") == []


@pytest.mark.parametrize(("label", "kind"), [("IBAN_CODE", "iban"), ("DOMAIN_NAME", "url")])
def test_labelled_sentences(shared_data, label, kind):
    """
    On the labelled sentences every bank account and web address is found, and nothing else.
    """
    for line in (shared_data / "detectors" / "pii_dev.jsonl").read_text().splitlines():
        row = json.loads(line)
        gold = {(s["start"], s["end"]) for s in row["spans"] if s["type"] == label}
        assert {(f.start, f.end) for f in pii.scan(row["text"], MORE) if f.kind == kind} == gold


def test_they_are_on_but_for_addresses_of_the_web():
    """
    What carries a proof or stands beside its word is on; what nearly every text holds is not.
    """
    text = "DE89370400440532013000 https://x.org 00:1A:2B:3C:4D:5E"
    assert [f.kind for f in pii.scan(text)] == ["iban", "mac_address"]
    assert frozenset(pii.KINDS) > MORE | pii.DEFAULT
