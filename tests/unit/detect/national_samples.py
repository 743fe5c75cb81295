"""Numbers of countries that pass their check, and neighbours that do not, made up when a test runs."""

from __future__ import annotations

import random  # noqa: TC003 — tests read their types
import string

from enforcer.detect.pii.national_checks import check_of
from enforcer.detect.pii.national_numbers import ROWS, Row
from tests.unit.detect.secret_samples import draw

_DAY = r"(?:0[1-9]|1[0-9]|2[0-8])"
_MONTH = r"(?:0[1-9]|1[0-2])"
_YMD = rf"[5-9][0-9]{_MONTH}{_DAY}"
_DMY = rf"{_DAY}{_MONTH}[5-9][0-9]"

# What the form cannot say: dates, regions, first digits.
TEMPLATES = {
    "us_itin": r"9[0-9][0-9]-7[0-9]-[0-9]{4}",
    "us_ein": r"(?:20|26|45|46|47|81)-[0-9]{7}",
    "us_bank_routing": r"(?:01|02|11|12|31)[0-9]{7}",
    "mx_curp": rf"[B-D][AEIOU][B-D][F-H]{_YMD}[HM](?:DF|JC|NL)[BCDFG]{{3}}0[0-9]",
    "mx_rfc": rf"[B-D][AEIOU][B-D][F-H]{_YMD}[A-Z0-9]{{2}}[0-9A]",
    "ar_cuit": r"(?:20|27|30)-[0-9]{8}-[0-9]",
    "cl_rut": r"1[0-9]\.[0-9]{3}\.[0-9]{3}-[0-9K]",
    "pe_ruc": r"(?:10|20)[0-9]{9}",
    "ec_ci": r"(?:0[1-9]|1[0-9])[0-5][0-9]{7}",
    "uy_rut": r"(?:0[1-9]|1[0-9])[0-9]{6}001[0-9]",
    "uk_utr": r"[0-9]{10}",
    "de_tax_id": r"[1-9][0-9]{10}",
    "de_social_security": rf"(?:15|65) {_DMY} [A-Z] [0-9]{{3}}",
    "at_social_security": rf"[1-9][0-9]{{3}} {_DMY}",
    "at_tax_number": r"(?:03|12|46)-?[0-9]{3}/?[0-9]{4}",
    "fr_nir": rf"[12] [5-9][0-9] {_MONTH} 75 [0-9]{{3}} [0-9]{{3}} [0-9]{{2}}",
    "be_national_number": r"[5-9][0-9]\.(?:0[1-9]|1[0-2])\.(?:0[1-9]|1[0-9])-[0-4][0-9][1-9]\.[0-9]{2}",
    "it_fiscal_code": rf"[BCDFG]{{3}}[BCDFG]{{3}}[5-9][0-9][ABCDEHLMPRST]{_DAY}H501[A-Z]",
    "pt_nif": r"[125][0-9]{8}",
    "gr_amka": rf"{_DMY}[0-9]{{5}}",
    "si_emso": rf"{_DAY}{_MONTH}9[5-9][0-9]50[0-9]{{4}}",
    "se_personal_number": rf"{_YMD}-[0-9]{{4}}",
    "no_birth_number": rf"{_DMY}[0-4][0-9]{{4}}",
    "dk_cpr": rf"{_DMY}-[0-3][0-9]{{3}}",
    "fi_personal_id": rf"{_DMY}-[1-8][0-9]{{2}}[0-9A-FHJ-NPR-Y]",
    "is_kennitala": rf"{_DMY}-?[2-9][0-9][0-9]9",
    "ee_personal_code": rf"[34]{_YMD}[0-9]{{4}}",
    "lv_personal_code": rf"{_DMY}-1[0-9]{{4}}",
    "lt_personal_code": rf"[34]{_YMD}[0-9]{{4}}",
    "pl_pesel": rf"{_YMD}[0-9]{{5}}",
    "cz_birth_number": rf"{_YMD}/[0-9]{{4}}",
    "hu_tax_number": r"[0-9]{8}",
    "ro_cnp": rf"[12]{_YMD}(?:0[1-9]|[1-3][0-9]|40)[0-9]{{4}}",
    "bg_egn": rf"{_YMD}[0-9]{{4}}",
    "in_aadhaar": r"[2-9][0-9]{3} [0-9]{4} [0-9]{4}",
    "in_pan": r"[A-Z]{3}P[A-Z][0-9]{4}[A-Z]",
    "cn_resident_id": rf"110101(?:19[5-9][0-9]){_MONTH}{_DAY}[0-9]{{3}}[0-9X]",
    "kr_rrn": rf"{_YMD}-[12][0-9]{{6}}",
    "my_nric": rf"{_YMD}-(?:0[1-9]|1[0-4])-[0-9]{{4}}",
    "th_id": r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]",
    "id_nik": rf"3171[0-9]{{2}}{_DMY}[0-9]{{4}}",
    "pk_cnic": r"[1-7][0-9]{4}-[0-9]{7}-[1-9]",
    "za_id": rf"{_YMD}[0-9]{{4}}0[89][0-9]",
    "vn_tax_code": r"0[1-9][0-9]{8}",
    "br_cnpj": r"[1-9][0-9]\.[0-9]{3}\.[0-9]{3}/0001-[0-9]{2}",
    "br_cpf": r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}",
    "eu_vat": r"(?:DE|PL|PT|DK|FI)[1-9][0-9]{7,9}",
    "uk_nhs": r"[4-7][0-9]{2} [0-9]{3} [0-9]{4}",
    "ca_health_number": r"9[0-9]{3} [0-9]{3} [0-9]{3}",
    "ru_snils": r"[1-9][0-9]{2}-[0-9]{3}-[0-9]{3} [0-9]{2}",
    "in_voter_id": r"[A-Z]{3}[0-9]{7}",
    "ch_ahv": r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}",
}
LEADS = {
    row.kind: row.words.split("|")[0].replace("\\b", "").replace("?", "").replace("\\.", ".")
    for row in ROWS
} | {
    "us_ein": "EIN", "uk_nino": "National Insurance", "ie_pps": "PPS", "at_social_security": "SVNR", "fr_nir": "INSEE",
    "cz_birth_number": "rodné číslo", "no_birth_number": "fødselsnummer", "fi_personal_id": "hetu", "in_aadhaar": "Aadhaar",
    "it_fiscal_code": "codice fiscale", "pt_citizen_card": "citizen card", "tr_tckn": "TCKN", "hu_tax_number": "adószám",
    "vn_tax_code": "MST", "il_id": "teudat zehut", "ch_ahv": "AHV", "gr_amka": "AMKA", "sg_nric": "NRIC",
}  # fmt: skip


def valid(row: Row, rng: random.Random) -> str:
    """A number of this kind whose check digits fit: the last characters are tried out."""
    check = check_of(row.check)
    if row.kind == "fr_tax_number":
        body = str(rng.randrange(10**9, 4 * 10**9))
        return f"{body}{int(body) % 511:03}"
    source = TEMPLATES.get(row.kind, row.form)
    for _ in range(4000):
        value = draw(source, rng)
        if check(value):
            return value
        for last in string.digits:
            if value[-1].isdigit() and check(value[:-1] + last):
                return value[:-1] + last
    raise AssertionError(f"no number of {row.kind} passes its check")


def invalid(row: Row, value: str, rng: random.Random) -> str | None:
    """A neighbour of a valid number that fails its check, or None where nearly all pass."""
    check = check_of(row.check)
    places = [at for at, char in enumerate(value) if char.isdigit()]
    for _ in range(30):
        at = rng.choice(places)
        changed = value[:at] + rng.choice(string.digits) + value[at + 1 :]
        if not check(changed):
            return changed
    return None
