"""Tokens as a model counts them: by its own tokenizer, so that a budget is kept and not guessed.

Texts are counted in one call for all of them. Nothing is loaded before the first one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from events.errors import SettingsError
from stores.embedders.base import Embedder

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Loaded

SETTING = "serving.context.tokenizer"


class Tokenizer(Protocol):
    """Counts tokens. May be shared between threads."""

    @property
    def name(self) -> str:
        """What it is called, for whoever wants to count again."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens, special tokens left out."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each token of `text`."""


def tokenizer_of(path: Path | None, embedder: Embedder) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json`; without one, that of the embedding model.

    :raises SettingsError: When there is no such file.
    """
    return ModelTokenizer(embedder) if path is None else FileTokenizer(path)


class ModelTokenizer:
    """The tokenizer of the embedding model."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._embedder.model.name

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens."""
        return self._embedder.count_tokens(texts)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each token."""
        return self._embedder.token_spans(text)


class FileTokenizer:
    """The tokenizer of another model, as the library `tokenizers` keeps it in a file.

    :raises SettingsError: When there is no such file; when it is none, at the first use.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            detail = f"setting {SETTING!r}: there is no file {str(path)!r}"
            raise SettingsError(detail, "name the tokenizer.json of the model that answers, or leave it out")
        self._path = path
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None

    @property
    def name(self) -> str:
        """The file with its folder, which mostly bears the model's name."""
        return f"{self._path.absolute().parent.name}/{self._path.name}"

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens."""
        found = self._load().encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in found]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each token."""
        return list(self._load().encode(text, add_special_tokens=False).offsets)

    def _load(self) -> Loaded:
        with self._lock:
            if self._loaded is None:
                from tokenizers import Tokenizer as Read

                try:
                    loaded = Read.from_file(str(self._path))
                except Exception as error:  # the library raises nothing more exact
                    detail = f"setting {SETTING!r}: {str(self._path)!r} is not a tokenizer: {error}"
                    raise SettingsError(detail, "name a tokenizer.json of the library `tokenizers`") from error
                # Files may ask for either, which fits inputs of a model, not counting.
                loaded.no_truncation()
                loaded.no_padding()
                self._loaded = loaded
            return self._loaded
