"""Currencies by ISO code and by the signs that shops write."""

from typing import Final

# ISO 4217 as of 2026, without funds and metals; BGN and HRK still stand in exports of before the euro.
_CODES: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG"
)
CODES: Final = frozenset(_CODES.split(" "))

_DOLLARS = "USD CAD AUD NZD HKD SGD TWD MXN ARS CLP COP UYU BBD BMD BND BSD BZD FJD GYD JMD KYD LRD NAD SBD SRD TTD XCD"
# Lower case; a sign that several currencies have names all of them.
_SIGNS: Final = {
    sign: frozenset(codes.split())
    for sign, codes in {
        "€": "EUR", "£": "GBP", "$": _DOLLARS, "us$": "USD", "ca$": "CAD", "c$": "CAD", "au$": "AUD", "a$": "AUD",
        "nz$": "NZD", "hk$": "HKD", "s$": "SGD", "nt$": "TWD", "mx$": "MXN", "r$": "BRL", "¥": "JPY CNY", "cn¥": "CNY",
        "jp¥": "JPY", "rmb": "CNY", "円": "JPY", "元": "CNY", "원": "KRW", "₩": "KRW", "₹": "INR", "₺": "TRY",
        "₽": "RUB", "₫": "VND", "₪": "ILS", "₴": "UAH", "₦": "NGN", "฿": "THB", "₱": "PHP", "₡": "CRC", "₲": "PYG",
        "₵": "GHS", "₸": "KZT", "₮": "MNT", "₭": "LAK", "₼": "AZN", "₾": "GEL", "zł": "PLN", "kč": "CZK", "ft": "HUF",
        "лв": "BGN", "sfr": "CHF", "fr": "CHF XAF XOF XPF", "kr": "SEK NOK DKK ISK", "rs": "INR PKR LKR NPR MUR",
        "lei": "RON MDL", "rp": "IDR",
    }.items()
}  # fmt: skip


def currencies_of(sign: str) -> frozenset[str]:
    """The codes of all currencies that `sign` may mean, in any case; empty if it is none: `€`, `US$`, `eur`, `kr.`."""
    sign = sign.strip().lower().removesuffix(".").rstrip()
    code = sign.upper()
    return frozenset({code}) if code in CODES else _SIGNS.get(sign, frozenset())


def currency_code(text: str) -> str | None:
    """The ISO code that a cell of currencies has, as a code or as the sign of one currency; None if it is none."""
    codes = currencies_of(text)
    return next(iter(codes)) if len(codes) == 1 else None
