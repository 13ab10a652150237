"""E-mail addresses found in running text, also such as are written to escape machines: `anna (at) mail (dot) example`.

The search begins at each sign for "at" and looks left and right of it, so that it takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_AT = re.compile(
    r" ?@ ?|%40|&(?:#0{0,3}64|#x0{0,3}40|commat);"
    r"| {0,2}[\[({<] {0,2}(?:at|ät|arroba|chiocciola|arobase|klammeraffe|@) {0,2}[\])}>] {0,2}"
    r"|(?<=\w) (?:at|arroba) (?=[\w-]{1,60} (?:dot|punkt|ponto|punto|point) \w)",
    re.IGNORECASE,
)
_DOT = (
    r"(?:\.| {0,2}[\[({] {0,2}(?:dot|punkt|ponto|punto|point|\.) {0,2}[\])}] {0,2}| (?:dot|punkt|ponto|punto|point) )"
)
_DOMAIN = re.compile(rf"(?:[^\W_][\w-]{{0,62}}{_DOT}){{1,8}}[^\W\d_][\w-]{{1,62}}", re.IGNORECASE)
_DOTS = re.compile(_DOT, re.IGNORECASE)
_LOCAL = frozenset(".!#$%*+-^_`{|}~'")
_LONGEST_LOCAL = 64


def mails(text: str) -> Iterator[tuple[int, int, str]]:
    """Find addresses: from where to where, and the address in small letters as it is meant."""
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        begin = _local(text, at.start())
        if domain is None or begin == at.start():
            continue
        local = text[begin : at.start()]
        yield begin, domain.end(), f"{local}@{_DOTS.sub('.', domain[0])}".casefold()


def _local(text: str, end: int) -> int:
    """Return where the part before the sign begins; `end` if there is none."""
    least = max(0, end - _LONGEST_LOCAL)
    if end and text[end - 1] == '"':
        quoted = text.rfind('"', least, end - 1)
        return end if quoted < 0 else quoted
    begin = end
    while begin > least and (text[begin - 1].isalnum() or text[begin - 1] in _LOCAL):
        begin -= 1
    while begin < end and not text[begin].isalnum():
        begin += 1
    return begin
