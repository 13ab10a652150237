"""Which words of a text say what it is about, in a form in which a question and its answer have them in common.

Words that every text has are left out; the others lose accents, capitals, the plural's s and what comes after the
fifth letter: cutting words off is nearly as good as stemming, and knows no language (P. McNamee and J. Mayfield,
Character N-Gram Tokenization for European Language Text Retrieval, 2004). Scripts without spaces are taken in pairs.
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[0-9]+(?:[.,:][0-9]+)+|[^\W_]+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_KEPT = 5
_SHORTEST_PLURAL = 4
# English, German, French, Spanish and Italian, without accents.
_WRITTEN_COMMON = """
    a about after again all also am an and any are as at be because been before being but by can could did do does doing
    done down each else for from get gets give given go goes got had has have having he her here hers him his how i if
    in into is it its just let like may me might mine more most much must my no nor not of off on once one only or other
    our ours out over own please say see she should so some somebody somebody something such take than that the their
    them then there these they this those to too under until up upon us very want was we were what when where which
    while who whom whose why will with would yes you your yours s t d m ll re ve don doesn didn isn aren wasn won
    aber als am an auch auf aus bei bin bis bist da damit dann das dass dein dem den der des die dies diese dieser du
    durch ein eine einem einen einer er es fur hat habe haben ich ihr im in ist ja kann konnen man mein meine mich mir
    mit muss nach nicht noch nur oder ob ohne sich sie sind so uber um und uns unser vom von vor war was wann wenn wer
    werden wie wieviel wird wir wo zu zum zur
    au aux avec ce ces cet cette comment dans de des du elle en est et il ils je la le les leur ma mais mes mon ne nous
    on ou par pas pour qu que quel quelle qui sa se ses son sont sur te tu un une vos votre vous
    al como con cual cuando de del donde el ella en es esta este hay la las lo los me mi no o para pero por que se ser
    si sin su sus te un una y yo
    che chi come con cosa da dal dalla dei del della di dove e gli ho il io la le lo ma mi mio nel nella non per piu
    puo quale quando questo se si sono su un una
"""
_COMMON = frozenset(_WRITTEN_COMMON.split())


def stems(text: str) -> list[str]:
    """Return the words of a text that say something, in order, each in the form in which words are compared."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    found: list[str] = []
    for word in _WORD.findall(plain.casefold()):
        if word in _COMMON:
            continue
        if _UNSPACED.fullmatch(word):
            found += [word[at : at + 2] for at in range(max(1, len(word) - 1))]
        else:
            found.append(_stem(word))
    return found


def _stem(word: str) -> str:
    if any(letter.isdigit() for letter in word):
        return word
    if len(word) >= _SHORTEST_PLURAL and word[-1] == "s" and word[-2] not in "su":
        word = f"{word[:-3]}y" if word.endswith("ies") and len(word) > _SHORTEST_PLURAL else word[:-1]
    return word[:_KEPT]
