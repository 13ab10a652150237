"""E-mail addresses as one text for one mailbox: domains by IDNA, local parts in small letters, aliases as providers do.

RFC 5321 (2.4) lets a host tell `Anna@` from `anna@`; no provider of note does, while people write both. What a provider
ignores is folded only where the provider itself says so:

    gmail.com, googlemail.com    dots, and from `+` on: "Dots don't matter in Gmail addresses", "Create task-specific
                                 addresses" (Gmail Help); both domains are one, and become gmail.com
    outlook, hotmail, live, msn  from `+` on: "Plus addressing in Exchange Online" (Microsoft Learn)
    icloud, me, mac              from `+` on (Apple Support); the three are not taken for one
    fastmail                     from `+` on: "Plus addressing and subdomain addressing" (Fastmail Help)
    proton, protonmail, pm.me    from `+` on: "Addresses and aliases" (Proton Support)
    yahoo, ymail, rocketmail     from `-` on: "Disposable addresses" (Yahoo Help); no account's own name has a `-`
    yandex                       from `+` on (Yandex Mail Help)
    zoho, posteo, mailbox.org    from `+` on (the help pages of each)

No address that comes out holds `|`, which stands between the parts of an identifier: RFC 5322 allows it, nobody has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import unquote

from operators.identity.placeholders import WORDS, is_placeholder, word_key
from operators.identity.rules import EmailRule
from operators.identity.texts import PLACEHOLDER, Normalised, Refusal

_COUNTRIES = "at be ca ch cl cz de dk es fi fr gr hu ie in it nl no pt ro se sg sk com.ar com.au com.br com.mx com.tr"
_COUNTRIES += " co.uk co.id co.il co.in co.kr co.nz co.th co.za com.co com.pe com.ph com.tw com.vn"


def _everywhere(*names: str) -> list[str]:
    return [f"{name}.{ending}" for name in names for ending in ("com", *_COUNTRIES.split())]


PROVIDERS: dict[str, EmailRule] = {
    "gmail.com": "plus-dots",
    "googlemail.com": "plus-dots",
    **dict.fromkeys([*_everywhere("outlook", "hotmail", "live"), "msn.com", "windowslive.com"], "plus"),
    **dict.fromkeys(["icloud.com", "me.com", "mac.com"], "plus"),
    **dict.fromkeys(["fastmail.com", "fastmail.fm", "fastmail.net", "fastmail.org", "sent.com"], "plus"),
    **dict.fromkeys(["proton.me", "protonmail.com", "protonmail.ch", "pm.me"], "plus"),
    **dict.fromkeys([*_everywhere("yahoo"), "ymail.com", "rocketmail.com", "myyahoo.com"], "minus"),
    **dict.fromkeys(["yandex.ru", "yandex.com", "yandex.by", "yandex.kz", "ya.ru"], "plus"),
    **dict.fromkeys(["zoho.com", "zohomail.com", "zohomail.eu", "posteo.de", "posteo.net", "mailbox.org"], "plus"),
}
"""What known providers ignore in an address."""
_ONE_DOMAIN = {"googlemail.com": "gmail.com"}

_LOCALS = WORDS | {
    *("noreply", "noreplay", "donotreply", "dontreply", "nichtantworten", "naoresponder", "noresponder", "neantworten"),
    *("nobody", "noone", "nomail", "noemail", "nonexistent", "mailerdaemon", "fake", "spam", "xyz"),
}
_INITIALS = 3
_SHORT_LOCALS = frozenset(word for word in _LOCALS if len(word) <= _INITIALS)
"""These may be somebody's initials, and say nothing only before a domain of the same word."""
_BEGINNINGS = ("noreply", "donotreply", "mailerdaemon")
_ROLES = frozenset({"info", "user", "username", "name", "yourname", "email", "mail", "me", "you", "someone", "admin"})
_SAMPLE_DOMAINS = frozenset(
    {"example.com", "example.org", "example.net", "test.com", "test.de", "domain.com", "email.com", "mail.com"}
)

_NAMED = re.compile(r"[^<>]*<\s*([^<>]+?)\s*>")
_ATOMS = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{}~\u0080-\U0010ffff-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{}~\u0080-\U0010ffff-]+)*")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])")
_MAX_LOCAL = 64
_MAX_DOMAIN = 253
_MAX_ADDRESS = 254

_NOT_AN_ADDRESS = Refusal("not an e-mail address")
_SEVERAL = Refusal("more than one e-mail address")


def email(*, aliases: bool, providers: Mapping[str, EmailRule]) -> Callable[[str], Normalised]:
    """Return a normaliser of addresses, also as `Anna <anna@example.org>` and `mailto:anna@example.org`.

    :arg aliases: Whether addresses at `PROVIDERS` are folded.
    :arg providers: What others ignore, by domain; goes before `PROVIDERS`.
    :raises ValueError: When `providers` has what is no domain.
    """
    own: dict[str, EmailRule] = {}
    for name, rule in providers.items():
        domain = _ascii_domain(name.strip().lower())
        if not domain:
            message = f"{name!r} is no domain of e-mail addresses"
            raise ValueError(message)
        own[domain] = rule
    rules = {**PROVIDERS, **own} if aliases else own
    one_domain = {name: one for name, one in _ONE_DOMAIN.items() if aliases and name not in own}
    return partial(_normalise, rules, one_domain)


def _normalise(rules: Mapping[str, EmailRule], one_domain: Mapping[str, str], text: str) -> Normalised:
    address = _bare(text)
    if "@" not in address:
        return PLACEHOLDER if is_placeholder(text) else _NOT_AN_ADDRESS
    if address.count("@") > 1:
        return _SEVERAL if re.search(r"@\S*[,; /].*@", address) else _NOT_AN_ADDRESS
    local, _, domain = address.rpartition("@")
    domain = _ascii_domain(domain)
    if not domain or not _ATOMS.fullmatch(local) or not local.isprintable():
        return _NOT_AN_ADDRESS
    if _stands_for_none(local, domain):
        return PLACEHOLDER
    domain = one_domain.get(domain, domain)
    return _checked(_folded(local, rules.get(domain, "none")), domain)


def _checked(local: str, domain: str) -> Normalised:
    length = len(local.encode())
    if not 0 < length <= _MAX_LOCAL or length + 1 + len(domain) > _MAX_ADDRESS:
        return _NOT_AN_ADDRESS
    return PLACEHOLDER if _stands_for_none(local, domain) else f"{local}@{domain}"


def _bare(text: str) -> str:
    """Return the address alone, in small letters."""
    text = text.rstrip(" ,;")
    if named := _NAMED.fullmatch(text):
        text = named[1]
    text = text.lower()
    if text.startswith("mailto:"):
        text = unquote(text[len("mailto:") :].partition("?")[0]).strip().lower()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if text.startswith('"'):
        # A quoted name that needs no quotes is the same name without them (RFC 5321, 4.1.2).
        text = re.sub(r'^"([^"\\]*)"@', r"\1@", text)
    return text


def _folded(local: str, rule: EmailRule) -> str:
    if rule == "none":
        return local
    local = local.partition("-" if rule == "minus" else "+")[0]
    return local.replace(".", "") if rule == "plus-dots" else local


def _ascii_domain(domain: str) -> str:
    """Return a domain as the name service has it; empty if it is none."""
    domain = domain.removesuffix(".")
    if len(domain) > _MAX_DOMAIN:
        return ""
    if not domain.isascii():
        import idna

        try:
            domain = idna.encode(domain, uts46=True).decode()
        except UnicodeError:
            return ""
    return domain if len(domain) <= _MAX_DOMAIN and _DOMAIN.fullmatch(domain) else ""


def _stands_for_none(local: str, domain: str) -> bool:
    key = word_key(local)
    if key.startswith("test"):
        key = key.rstrip("0123456789")
    if (key in _LOCALS and key not in _SHORT_LOCALS) or key.startswith(_BEGINNINGS):
        return True
    host = word_key(domain.partition(".")[0])
    if len(set(key)) == 1:
        # `xxx@…`, and `a@a.com`.
        return len(key) >= _INITIALS or set(key) == set(host)
    return (key in _SHORT_LOCALS and key == host) or (key in _ROLES and domain in _SAMPLE_DOMAINS)
