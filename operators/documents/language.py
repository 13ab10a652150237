"""Which language a text is in, or an honest "cannot tell"."""

from __future__ import annotations

import re
import threading
from typing import Any

_FEWEST_LETTERS = 40
_MOST_LETTERS = 600
_SUREST_BELOW = 0.5
_LOOKED_AT = 16 * _MOST_LETTERS
_ISO_639_1 = 2
# Addresses, tags, and code say nothing about the language around them. No part of this backtracks.
_NOISE = re.compile(r"https?://[^\s)>\"']+|<[^<>]{1,500}>|`[^`\n]{1,500}`|[0-9_/\\=@|#*]+")

_lock = threading.Lock()
_identifier: list[Any] = []


def detect(text: str) -> str:
    """Return the ISO 639-1 code of the language of `text`, or "" where that is too uncertain.

    Looks at the first 600 letters outside of code; fewer than 40 are not enough. Safe to call from threads.
    """
    prose = _prose(text[:_LOOKED_AT])
    if sum(map(str.isalpha, prose)) < _FEWEST_LETTERS:
        return ""
    language, probability = _load().classify(prose)
    return str(language) if probability >= _SUREST_BELOW and len(language) == _ISO_639_1 else ""


def _prose(text: str) -> str:
    """Return the text's first letters without fenced code, addresses and tags."""
    parts = re.split(r"^[ \t]*(?:```|~~~).*$", text, flags=re.MULTILINE)
    prose = " ".join(_NOISE.sub(" ", " ".join(parts[::2])).split())
    return prose[:_MOST_LETTERS]


def _load() -> Any:
    if not _identifier:
        with _lock:
            if not _identifier:
                from py3langid.langid import MODEL_FILE, LanguageIdentifier

                _identifier.append(LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))
    return _identifier[0]
