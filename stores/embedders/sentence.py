"""The model by sentence-transformers on torch: the reference, installed with every Headrace.

It reads the packaged files only: never the network, whatever the hub's own settings say.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stores.embedders.base import Vectors
from stores.embedders.minilm import DIMENSION, MAX_TOKENS, MiniLmEmbedder, batches, encodable, model_dir

_BF16 = re.compile(r"\b(avx512_bf16|amx_bf16)\b")
_NOISY = ("sentence_transformers", "transformers", "huggingface_hub")


class SentenceTransformersEmbedder(MiniLmEmbedder):
    """The packaged model on torch, in bfloat16 where the processor multiplies it natively, else in float32.

    :arg threads: Processor threads, for torch in the whole process; 0 leaves torch's own choice.
    """

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._encoder: Any = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, in order."""
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        if not texts:
            return vectors
        readable = [encodable(text) for text in texts]
        lengths = [min(count, MAX_TOKENS) for count in self.count_tokens(readable)]
        with self._lock:  # its tokenizer cannot be borrowed by two threads at once
            encoder = self._load()
            for places in batches(lengths):
                batch = [readable[place] for place in places]
                vectors[places] = encoder.encode(
                    batch, batch_size=len(batch), show_progress_bar=False, convert_to_numpy=True
                )
        # In bfloat16 a normalised vector is half a percent off unit length.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _load(self) -> Any:
        if self._encoder is None:
            with _quiet():
                import torch
                from sentence_transformers import SentenceTransformer

                if self._threads:
                    torch.set_num_threads(self._threads)
                encoder = SentenceTransformer(str(model_dir()), device="cpu", local_files_only=True)
                encoder.eval()
                self._encoder = encoder.to(torch.bfloat16) if multiplies_bf16() else encoder
        return self._encoder


def multiplies_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor multiplies bfloat16 natively; where that cannot be read, say no."""
    try:
        return bool(_BF16.search(cpuinfo.read_text()))
    except OSError:
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' progress bars, notices and warnings of their own imports from the user's screen."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as transformers_logging

        notices: Any = transformers_logging
        bars = notices.is_progress_bar_enabled()
        notices.disable_progress_bar()
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                notices.enable_progress_bar()
