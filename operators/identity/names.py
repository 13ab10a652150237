"""Names of persons as a set of words that is the same however they are written.

Letters of all scripts become small ASCII letters, punctuation becomes blanks, titles go, and the words are sorted, so
that `Silva, João` is `João Silva`. `Jr`, `Sr` and `III` stay, at the end: they tell father and son apart.

Vowels with an `e` behind, and doubled `a`, become the vowel alone, as one name is written in both ways: Müller is
MUELLER in a passport (ICAO Doc 9303-3, section 6), and Muller where the keyboard had no ü; it makes `migul` of Miguel
everywhere alike. Chinese characters and Korean syllables are one word each, as a blank between them means nothing.
"""

from __future__ import annotations

import re
import unicodedata

from operators.identity.placeholders import is_placeholder, is_word
from operators.identity.texts import PLACEHOLDER, Normalised, Refusal

_APOSTROPHES = re.compile("['\u2018\u2019\u201b\u02b9\u02bb\u02bc\u02be\u02bf\u2032`\u00b4\uff07]")
_IDEOGRAPHS = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7a3\U00020000-\U0003ffff])")
_GREEK = tuple(
    (re.compile(letters), latin)
    for letters, latin in (
        ("\u03bf[υύ]", "ou"),
        ("(?<=[αεη])[υύ](?=[αάβγδεέζηήιίλμνοόρωώ])", "v"),
        ("(?<=[αεη])[υύ]", "f"),
        ("\u03b3(?=[\u03b3ξχ])", "n"),
        (r"\bμπ", "b"),
    )
)
"""Greek letters that are others together than alone (ELOT 743, as in passports)."""
_WORD = re.compile(r"[a-z0-9]+\.?")
_DOUBLED = re.compile(r"a[ae]+|([ou])e+")
_COMMA = re.compile("[,\u060c\u3001;]")

_TITLES = """
    mr mrs ms miss mx mister sir madam dr doctor dra drs prof professor profa professora phd dphil mba bsc msc rev
    herr frau fraulein hr fr dipl doz priv mag
    sra srta senhor senhora senor senora senorita exmo exma dona
    mme mlle monsieur madame mademoiselle docteur
    signor signora dott dottore dottoressa dottssa sigra
    dhr mevr mevrouw meneer mw drs hra rva
"""
"""Never part of a name, wherever they stand."""
_DOTTED_TITLES = "eng enga ing ir arq arqa adv avv rag geom sig st stud"
"""Titles only with a dot: without, they are names too."""
_BEHIND_TITLES = "ing med dent vet phil rer nat jur pol oec habil hc h c univ kfm inf wirt"
"""Titles only directly behind one: Dipl.-Ing., Dr. rer. nat."""
_GENERATIONS = {
    **{"jr": "jr", "jnr": "jr", "junior": "jr", "snr": "sr", "senior": "sr"},
    **{"ii": "ii", "2nd": "ii", "iii": "iii", "3rd": "iii", "iv": "iv", "4th": "iv"},
}
_SENIOR = "sr"
"""Senior behind a name; Senhor, Señor or Signor before one."""

_DEGREES = re.compile(r"\b(?:ph\. ?d|m\. ?sc|b\. ?sc|ll\. ?[mb])\b\.?")
"""Written with dots inside; `M.A.` and `M.D.` may be initials."""
_NOBODY = """
    john doe, jane doe, joe bloggs, max mustermann, erika mustermann, maria mustermann, nome apelido, nome sobrenome,
    vorname nachname, nombre apellido, nom prenom, nome cognome, firstname lastname, first last
"""

_SHORTEST = 2
_NOT_A_NAME = Refusal("not a name")
_SINGLE = Refusal("a single name")


def name(text: str) -> Normalised:
    """Return the words of a name, sorted, with a generation at the end.

    A single word is refused: with a date of birth and a postcode it would make one person of twins of whom only the
    surname is known. Those who have but one name are linked by their other identifiers.
    """
    if is_placeholder(text) or all(is_word(word) for word in text.split()):
        return PLACEHOLDER
    if "@" in text:
        return _NOT_A_NAME
    words: list[str] = []
    generations: set[str] = set()
    for part in _COMMA.split(text):
        _take(part, words, generations)
    if not any(word.isalpha() for word in words):
        return _NOT_A_NAME
    if all(is_word(word) for word in words) or " ".join(sorted(words)) in _NOBODIES:
        return PLACEHOLDER
    if len(words) < _SHORTEST:
        return _SINGLE
    return " ".join([*sorted(words), *sorted(generations)])


def _take(part: str, words: list[str], generations: set[str]) -> None:
    """Sort the words of one side of a comma into words of the name and generations."""
    found = _WORD.findall(_latin(part))
    behind_title = False
    for at, dotted in enumerate(found):
        word = dotted.rstrip(".")
        if word in _TITLE_WORDS or (dotted.endswith(".") and word in _DOTTED) or (behind_title and word in _BEHIND):
            behind_title = True
            continue
        if word == _SENIOR:
            # Behind a name, also behind its comma, it is a generation; before one a title.
            if at == len(found) - 1 and (at or words) and not behind_title:
                generations.add(_SENIOR)
            continue
        behind_title = False
        if generation := _GENERATIONS.get(word):
            generations.add(generation)
        else:
            words.append(word)


def _latin(text: str) -> str:
    """Write `text` with small ASCII letters and digits; what is neither letter nor digit stays if it is ASCII."""
    text = _APOSTROPHES.sub("", text.casefold())
    if not text.isascii():
        from anyascii import anyascii

        text = _IDEOGRAPHS.sub(r" \1 ", unicodedata.normalize("NFC", text))
        for letters, latin in _GREEK:
            text = letters.sub(latin, text)
        text = "".join(letter if letter.isascii() else _small(letter, anyascii(letter)) for letter in text)
    return _short_vowels(_DEGREES.sub(" ", text) if "." in text else text)


def _small(letter: str, latin: str) -> str:
    """Return what `letter` is in Latin; a blank if it is no letter: pictures would become words."""
    if unicodedata.category(letter)[0] not in "LMN":
        return " "
    return "".join(sign for sign in latin.lower() if sign.isalnum())


def _short_vowels(text: str) -> str:
    return _DOUBLED.sub(lambda found: found[1] or "a", text)


def _words(text: str) -> frozenset[str]:
    return frozenset(_short_vowels(text).split())


_TITLE_WORDS, _DOTTED, _BEHIND = _words(_TITLES), _words(_DOTTED_TITLES), _words(_BEHIND_TITLES)
_NOBODIES = frozenset(" ".join(sorted(_words(name))) for name in _NOBODY.split(","))
