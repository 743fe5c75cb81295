"""
Tax, health, insurance and identity numbers of countries: (kind, check, form, own words, confidence alone).

``check`` names the module of python-stdnum that knows the check digits, or a function of
``national_checks``. ``form`` is the number as it is written, with or without its separators. The last
column is the confidence of a number that is written in its country's own way (separators, letters) with
no word near it; 0 where its writing says nothing and a word has to.
"""

# ruff: noqa: RUF001 - words of other scripts are the subject here

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One kind of number."""

    kind: str
    check: str
    form: str
    words: str
    alone: float
    strict: str = ""
    """The form that says something by itself; empty: ``form``."""


_MBI = "[AC-HJKMNP-RT-Y]"

ROWS: tuple[Row, ...] = (
    # North America.
    Row("us_itin", "us.itin", r"9\d{2}[ \-]?\d{2}[ \-]?\d{4}", r"itin|individual taxpayer", 0.6, r"9\d{2}-[5-9]\d-\d{4}"),
    Row("us_ein", "us.ein", r"\d{2}-?\d{7}", r"ein|fein|employer id", 0.0),
    Row("us_bank_routing", "us.rtn", r"\d{9}", r"routing|aba|rtn|transit number", 0.0),
    Row("us_npi", "own.npi", r"[12]\d{9}", r"npi|national provider|provider id", 0.0),
    Row("us_dea_number", "own.dea", r"[A-HJ-NP-UX][A-Z9]\d{7}", r"dea|prescriber", 0.45),
    Row("us_medicare_number", "own.any", rf"[1-9]{_MBI}(?:{_MBI}|\d)\d-?{_MBI}(?:{_MBI}|\d)\d-?{_MBI}{{2}}\d{{2}}", r"medicare|mbi|beneficiary", 0.6),
    Row("ca_sin", "ca.sin", r"\d{3}[ \-]?\d{3}[ \-]?\d{3}", r"sin|social insurance|assurance sociale|nas", 0.0),
    Row("ca_health_number", "ca.bc_phn", r"9\d{3}[ \-]?\d{3}[ \-]?\d{3}", r"phn|personal health|health card|care ?card", 0.0),
    Row("mx_curp", "mx.curp", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z\d]\d", r"curp", 0.9),
    Row("mx_rfc", "mx.rfc", r"[A-Z&]{3,4}[ \-]?\d{6}[ \-]?[A-Z\d]{3}", r"rfc|contribuyente", 0.45),
    # South America.
    Row("br_cpf", "br.cpf", r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", r"cpf|cadastro de pessoa", 0.9, r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    Row("br_cnpj", "br.cnpj", r"\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}", r"cnpj", 0.9, r"\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}"),
    Row("ar_cuit", "ar.cuit", r"\d{2}-?\d{8}-?\d", r"cuit|cuil", 0.7, r"(?:2[0347]|3[034])-\d{8}-\d"),
    Row("cl_rut", "cl.rut", r"\d{1,2}\.?\d{3}\.?\d{3}-?[\dkK]", r"rut|run|rol unico", 0.8, r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]"),
    Row("co_nit", "co.nit", r"\d{1,3}(?:\.?\d{3}){2}-?\d", r"nit", 0.0),
    Row("pe_ruc", "pe.ruc", r"(?:10|15|17|20)\d{9}", r"ruc", 0.0),
    Row("ec_ci", "ec.ci", r"\d{9}-?\d", r"cedula|ci ecuador", 0.0),
    Row("uy_rut", "uy.rut", r"\d{12}", r"rut", 0.0),
    # Britain and Ireland.
    Row("uk_nino", "own.any", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", r"nino|national insurance|ni number|ni no", 0.6),
    Row("uk_nhs", "gb.nhs", r"\d{3}[ \-]?\d{3}[ \-]?\d{4}", r"nhs|health service", 0.0),
    Row("uk_utr", "gb.utr", r"\d{5} ?\d{5}k?", r"utr|taxpayer reference|self.?assessment", 0.0),
    Row("ie_pps", "ie.pps", r"\d{7}[A-W][ABHWTX]?", r"ppsn?|personal public service", 0.5),
    # German-speaking countries.
    Row("de_tax_id", "de.idnr", r"\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}", r"steuer|idnr|tin|tax", 0.0),
    Row("de_social_security", "own.rvnr", r"\d{2} ?\d{6} ?[A-Z] ?\d{3}", r"rentenversicherung|sozialversicherung|rvnr|svnr|versicherungsnummer", 0.6),
    Row("de_health_insurance", "own.kvnr", r"[A-Z]\d{9}", r"krankenversicherung|versichertennummer|kvnr|gesundheitskarte|krankenkasse", 0.4),
    Row("at_social_security", "at.vnr", r"\d{4} ?\d{6}", r"svnr|sozialversicherung|versicherungsnummer|vnr", 0.0),
    Row("at_tax_number", "at.tin", r"\d{2}-?\d{3}/?\d{4}", r"steuer|finanzamt|abgabenkonto", 0.0),
    Row("ch_ahv", "ch.ssn", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", r"ahv|avs|oasi|navs", 0.9, r"756\.\d{4}\.\d{4}\.\d{2}"),
    # France, Benelux.
    Row("fr_nir", "fr.nir", r"[12][ ]?\d{2}[ ]?\d{2}[ ]?\d[\dAB][ ]?\d{3}[ ]?\d{3}[ ]?\d{2}", r"nir|insee|s[eé]curit[eé] sociale|num[eé]ro de s[eé]cu", 0.75),
    Row("fr_tax_number", "fr.nif", r"[0-3]\d[ ]?\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}", r"nif|spi|num[eé]ro fiscal|fiscal", 0.0),
    Row("nl_bsn", "nl.bsn", r"\d{9}|\d{4}\.\d{2}\.\d{3}", r"bsn|burgerservice|sofi|persoonsnummer", 0.0),
    Row("be_national_number", "be.nn", r"\d{2}[. ]?\d{2}[. ]?\d{2}[\- ]?\d{3}[. ]?\d{2}", r"rijksregister|registre national|national number|insz|niss|nrn", 0.85, r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"),
    # Southern Europe.
    Row("es_nif", "es.dni", r"\d{8}[ \-]?[A-HJ-NP-TV-Z]", r"dni|nif|documento nacional|identidad", 0.55),
    Row("es_nie", "es.nie", r"[XYZ][ \-]?\d{7}[ \-]?[A-HJ-NP-TV-Z]", r"nie|extranjero", 0.7),
    Row("it_fiscal_code", "it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", r"codice fiscale|c\.?f\.?|fiscal code", 0.9),
    Row("it_vat", "it.iva", r"\d{11}", r"partita iva|p\.? ?iva", 0.0),
    Row("pt_nif", "pt.nif", r"\d{3}[ ]?\d{3}[ ]?\d{3}", r"nif|contribuinte|contribuente", 0.0),
    Row("pt_citizen_card", "pt.cc", r"\d{8}[ ]?\d[ ]?[A-Z\d]{2}\d", r"cart[aã]o de cidad|cc|citizen card", 0.0),
    Row("gr_amka", "gr.amka", r"\d{11}", r"amka|αμκα|ΑΜΚΑ", 0.0),
    Row("gr_vat", "gr.vat", r"\d{9}", r"afm|ΑΦΜ", 0.0),
    Row("hr_oib", "hr.oib", r"\d{11}", r"oib", 0.0),
    Row("si_emso", "si.emso", r"\d{13}", r"emso|emšo|jmbg", 0.0),
    Row("tr_tckn", "tr.tckimlik", r"[1-9]\d{10}", r"tckn|kimlik|t\.?c\.? ?(?:kimlik|no)", 0.0),
    # Northern Europe.
    Row("se_personal_number", "se.personnummer", r"(?:19|20)?\d{6}[\-+]?\d{4}", r"personnummer|personnr|samordningsnummer", 0.55, r"(?:19|20)?\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[\-+]\d{4}"),
    Row("no_birth_number", "no.fodselsnummer", r"\d{6}[ ]?\d{5}", r"f[oø]dselsnummer|personnummer|d-nummer|fnr", 0.0),
    Row("dk_cpr", "dk.cpr", r"\d{6}[\- ]?\d{4}", r"cpr|personnummer", 0.0),
    Row("fi_personal_id", "fi.hetu", r"\d{6}[+\-A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", r"hetu|henkil[oö]tunnus|personbeteckning", 0.85),
    Row("is_kennitala", "is_.kennitala", r"\d{6}-?\d{4}", r"kennitala", 0.0),
    Row("ee_personal_code", "ee.ik", r"[1-8]\d{10}", r"isikukood", 0.0),
    Row("lv_personal_code", "lv.pvn", r"\d{6}-?\d{5}", r"personas kods", 0.0),
    Row("lt_personal_code", "lt.asmens", r"[1-6]\d{10}", r"asmens kod", 0.0),
    # Central and Eastern Europe.
    Row("pl_pesel", "pl.pesel", r"\d{11}", r"pesel", 0.0),
    Row("pl_nip", "pl.nip", r"\d{3}-?\d{3}-?\d{2}-?\d{2}", r"nip", 0.0),
    Row("cz_birth_number", "cz.rc", r"\d{6}/?\d{3,4}", r"rodn[eé] [cč][ií]slo|r\.? ?[cč]\.?", 0.6, r"\d{2}[0156]\d[0-3]\d/\d{3,4}"),
    Row("hu_tax_number", "hu.anum", r"\d{8}-?\d-?\d{2}|\d{8}", r"ad[oó]sz[aá]m", 0.0),
    Row("ro_cnp", "ro.cnp", r"[1-9]\d{12}", r"cnp|cod numeric", 0.0),
    Row("bg_egn", "bg.egn", r"\d{10}", r"egn|ЕГН", 0.0),
    Row("ru_inn", "ru.inn", r"\d{12}|\d{10}", r"inn|ИНН", 0.0),
    Row("ru_snils", "own.snils", r"\d{3}-?\d{3}-?\d{3}[ \-]?\d{2}", r"snils|СНИЛС", 0.8, r"\d{3}-\d{3}-\d{3} \d{2}"),
    Row("ua_tax_number", "ua.rntrc", r"\d{10}", r"rnokpp|rntrc|РНОКПП|іпн|ІПН", 0.0),
    # Asia, Africa, Oceania.
    Row("in_aadhaar", "in_.aadhaar", r"[2-9]\d{3}[ \-]?\d{4}[ \-]?\d{4}", r"aadhaa?r|uidai|uid", 0.35),
    Row("in_pan", "in_.pan", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", r"pan|permanent account|income tax", 0.75),
    Row("in_voter_id", "in_.epic", r"[A-Z]{3}\d{7}", r"epic|voter|election", 0.35),
    Row("cn_resident_id", "cn.ric", r"\d{17}[\dXx]", r"resident id|身份证|身份", 0.85),
    Row("jp_my_number", "jp.in_", r"\d{4}[ \-]?\d{4}[ \-]?\d{4}", r"my number|individual number|マイナンバー|個人番号", 0.0),
    Row("kr_rrn", "own.rrn", r"\d{6}-?[1-8]\d{6}", r"rrn|resident registration|주민", 0.85, r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-[1-8]\d{6}"),
    Row("sg_nric", "own.nric", r"[STFGM]\d{7}[A-Z]", r"nric|fin\b|identity card", 0.8),
    Row("my_nric", "my.nric", r"\d{6}-?\d{2}-?\d{4}", r"mykad|nric|kad pengenalan|ic no", 0.7, r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-\d{2}-\d{4}"),
    Row("th_id", "th.pin", r"\d-?\d{4}-?\d{5}-?\d{2}-?\d", r"thai|pin|บัตร", 0.85, r"\d-\d{4}-\d{5}-\d{2}-\d"),
    Row("id_nik", "id.nik", r"\d{16}", r"nik|ktp", 0.0),
    Row("pk_cnic", "pk.cnic", r"[1-7]\d{4}-?\d{7}-?\d", r"cnic|nicop", 0.7, r"[1-7]\d{4}-\d{7}-\d"),
    Row("il_id", "il.idnr", r"\d{8}-?\d", r"teudat|israeli id|mispar zehut|תז", 0.0),
    Row("za_id", "za.idnr", r"\d{13}", r"south african id|rsa id|sa id|said", 0.0),
    Row("vn_tax_code", "vn.mst", r"\d{10}(?:-\d{3})?", r"mst|m[aã] s[oố] thu", 0.0),
    Row("au_tfn", "au.tfn", r"\d{3}[ ]?\d{3}[ ]?\d{2,3}", r"tfn|tax file", 0.0),
    Row("au_abn", "au.abn", r"\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}", r"abn|australian business", 0.0),
    Row("au_medicare", "own.au_medicare", r"[2-6]\d{3}[ ]?\d{5}[ ]?\d(?:[ ]?\d)?", r"medicare", 0.0),
    Row("nz_ird", "nz.ird", r"\d{2,3}[ \-]?\d{3}[ \-]?\d{3}", r"ird|inland revenue", 0.0),
    Row("eu_vat", "eu.vat", r"(?:AT ?U|BE ?[01]|DE ?|FR ?[A-Z0-9]{2} ?|IT ?|ES ?[A-Z0-9]|NL ?|PL ?|PT ?|SE ?|DK ?|FI ?|LU ?|IE ?\d|CZ ?|HU ?|RO ?|HR ?|SK ?|SI ?|BG ?|EL ?|EE ?|LV ?|LT ?|CY ?|MT ?)\d[\dA-Z]{5,11}", r"vat|ust|tva|iva|btw|moms|umsatzsteuer", 0.5),
)  # fmt: skip

# Words that speak of such a number without saying of which country.
GENERIC_WORDS = (
    r"national (?:id|identity|identification|insurance|number)|tax(?:payer)? ?(?:id|identification|number|no|file)"
    r"|\bid (?:card|number|no)s?\b|identity (?:card|number|no)|identification n|personal (?:id|number|code|identification)"
    r"|social (?:security|insurance)|health (?:number|card|insurance|id)|insurance (?:number|no)|citizen (?:id|number|card)"
    r"|resident (?:id|number)|\bssn\b|fiscal (?:code|number|id)|\bvat\b|(?-i:\bTIN\b)|\btin (?:number|no|id)\b|\btin[\"']?:"
)
