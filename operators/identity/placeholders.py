"""Values that stand for "there is none": what people and programs write where they must write something.

They are shared by strangers, so that taking one for an identifier would make one person of them all.
"""

from __future__ import annotations

import re
import unicodedata

_WORDS = """
    n/a, na, n.a., none, nan, null, nil, void, empty, blank, missing, unknown, undefined, unspecified, not available,
    not applicable, not provided, not given, not known, not set, no data, no name, no email, no mail, no phone,
    no number, do not know, dont know, tba, tbd, tbc, todo, test, testing, test test, test user, dummy, example,
    default, invalid, anonymous, anonymized, anonymised, anon, deleted, removed, redacted, withheld, guest, customer,
    unknown customer, foo, foobar, foo bar, asd, asdf, asdfgh, qwe, qwerty, qwertz, azerty, abc, abcd, abcdef,
    first name, last name, firstname lastname,
    k.A., keine, keiner, kein, keine angabe, keine angaben, keine e-mail, kein name, keine nummer, unbekannt,
    nicht bekannt, nicht vorhanden, nicht angegeben, ohne, leer, fehlt, entfällt, gelöscht, anonym, gast,
    sem dados, sem nome, sem email, sem e-mail, sem telefone, desconhecido, desconhecida, nenhum, nenhuma, não tem,
    não disponível, não informado, não informada, não aplicável, vazio, nulo, teste, anónimo, anônimo, apagado,
    sin datos, sin nombre, sin correo, sin email, sin teléfono, desconocido, desconocida, ninguno, ninguna, no tiene,
    no disponible, no aplica, no consta, vacío, prueba, borrado,
    inconnu, inconnue, aucun, aucune, néant, non renseigné, non renseignée, non disponible, non applicable, sans objet,
    sans nom, n.c., vide, anonyme,
    sconosciuto, sconosciuta, nessuno, nessuna, n.d., non disponibile, non applicabile, vuoto, prova,
    onbekend, geen, leeg, n.v.t., anoniem, ukendt, ingen, mangler, ukjent, okänd, saknas, anonym,
    tuntematon, ei ole, brak, brak danych, nieznany, nieznana, nie podano, neznámý, neznámá, žádný, není,
    ismeretlen, nincs, necunoscut, niciunul, yok, bilinmiyor, άγνωστο, άγνωστος, κενό,
    неизвестно, неизвестен, нет, нет данных, тест, невідомо, немає, لا يوجد, غير معروف, לא ידוע,
    不明, 未知, 无, 無, 没有, なし, テスト, 없음, 미상
"""

_SIGNS = re.compile(r"[\W_]+")

_LETTERS = frozenset("x?0")
"""A value of one of these alone, however often, says nothing."""

_UP = "1234567890" * 2
_UP_FROM_ZERO = "0123456789" * 2
_DOWN = "9876543210"
_SHORTEST_DOWN = 5


def word_key(text: str) -> str:
    """Return the letters and digits of `text` without case and accents: `(N/A)` is `na`."""
    folded = text.casefold()
    if not folded.isascii():
        folded = unicodedata.normalize("NFKD", folded)
    return folded if folded.isalnum() else _SIGNS.sub("", folded)


WORDS = frozenset(word_key(word) for word in _WORDS.split(","))


def is_word(text: str) -> bool:
    """Tell whether `text` is one of the words for nothing, or has neither letter nor digit."""
    key = word_key(text)
    return not key or key in WORDS


def is_placeholder(text: str) -> bool:
    """Tell whether `text` stands for nothing, whatever it was to be."""
    key = word_key(text)
    return not key or key in WORDS or (key[0] in _LETTERS and len(set(key)) == 1)


def is_run(text: str) -> bool:
    """Tell whether `text` is one character over and over, or counts up from 0 or 1, or down from 9 or to 1 or 0."""
    if len(set(text)) <= 1:
        return True
    if not (text.isascii() and text.isdigit()):
        return False
    counts_down = len(text) >= _SHORTEST_DOWN and text in _DOWN and (text[0] == "9" or text[-1] in "10")
    return _UP.startswith(text) or _UP_FROM_ZERO.startswith(text) or counts_down
