"""The model by OpenVINO, from the same packaged weights, without torch: ready in half a second (extra `fast`).

The encoder is built here, operation by operation, from the weights' own names. It is the graph of BERT (Devlin and
others, 2018) with the mean over the tokens and the normalisation of Sentence-BERT (Reimers and Gurevych, 2019) inside.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from events.errors import MissingExtraError
from stores.embedders.base import Vectors
from stores.embedders.minilm import DIMENSION, MiniLmEmbedder, Tokens, batches, model_dir, word_pieces

Weights = dict[str, npt.NDArray[np.float32]]
Batch = tuple[list[int], Tokens, npt.NDArray[np.float32]]

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_TELEMETRY = "openvino_telemetry"
_MASKED = np.float32(1e9)
_REST_SECONDS = 0.5
_importing = threading.Lock()
# Each width of input is prepared anew by the library; a few widths are soon all prepared.
_WIDTH_STEP = 8
# From this many batches on, one batch per processor core is faster than all cores on one batch.
_BULK_BATCHES = 4


class OpenVinoEmbedder(MiniLmEmbedder):
    """The packaged model on OpenVINO's processor plugin, in bfloat16 where that is native, else in float32.

    :arg threads: Processor threads; 0: all.
    :raises MissingExtraError: When openvino is not installed.
    """

    def __init__(self, threads: int = 0) -> None:
        if find_spec("openvino") is None:
            package, extra = "openvino", "fast"
            raise MissingExtraError(package, extra)
        self._quick = _Engine("LATENCY", threads)
        self._bulk = _Engine("THROUGHPUT", threads)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, in order."""
        if not texts:
            return np.zeros((0, DIMENSION), dtype=np.float32)
        inputs = word_pieces().inputs(texts)
        # The longest first: what is left at the end, when not all cores have work, is short.
        cuts = list(batches([len(tokens) for tokens in inputs]))[::-1]
        if len(cuts) < _BULK_BATCHES:
            return self._quick.run(_padded(inputs, cuts), len(texts))
        vectors = self._bulk.run(_padded(inputs, cuts), len(texts))
        # After the bulk come single edits and questions: the first of them shall not wait for its form.
        self._quick.prepare_after(self._bulk)
        return vectors


class _Engine:
    """One compiled form of the graph: for the shortest wait, or for the most texts a second."""

    def __init__(self, hint: str, threads: int) -> None:
        self._hint = hint
        self._threads = threads
        self._lock = threading.Lock()
        self._queue: Any = None
        self._begun = False
        self._runs = 0

    def prepare_after(self, other: _Engine) -> None:
        """Compile on a thread of its own as soon as `other` rests, if nothing has begun it yet."""
        if not self._begun:
            self._begun = True
            name = f"compile-{self._hint}"
            threading.Thread(target=self._prepare_after, args=(other,), name=name, daemon=True).start()

    def _prepare_after(self, other: _Engine) -> None:
        runs = -1
        while runs != other._runs and self._queue is None:
            runs = other._runs
            time.sleep(_REST_SECONDS)
        self._prepare()

    def _prepare(self) -> None:
        with self._lock:
            if self._queue is None:
                self._queue = self._compile()

    def run(self, work: Iterator[Batch], count: int) -> Vectors:
        """Run every batch; return the `count` vectors, each at its place."""
        self._begun = True
        self._prepare()
        with self._lock:
            vectors = np.empty((count, DIMENSION), dtype=np.float32)
            for places, ids, mask in work:
                self._queue.start_async([ids, mask], (vectors, places))
            self._queue.wait_all()
            self._runs += 1
            return vectors

    def _compile(self) -> Any:
        openvino = _imported()
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": self._hint,
            "INFERENCE_PRECISION_HINT": "bf16" if native else "f32",
        }
        if self._threads:
            config["INFERENCE_NUM_THREADS"] = self._threads
        compiled = core.compile_model(_graph(read_weights(model_dir() / "model.safetensors")), "CPU", config)
        queue = openvino.AsyncInferQueue(compiled, 1 if self._hint == "LATENCY" else 0)
        queue.set_callback(_keep)
        return queue


def _imported() -> Any:
    """Import openvino without the package by which it reports each import to its maker's analytics.

    It would do so over the network, from a process forked beside our threads; without the package it goes quiet.
    """
    hidden: dict[str, Any] = {_TELEMETRY: None}
    with _importing:
        before = {name: module for name, module in sys.modules.items() if name == _TELEMETRY}
        sys.modules.update(hidden)
        try:
            return import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY]
            sys.modules.update(before)


def _keep(request: Any, target: tuple[Vectors, list[int]]) -> None:
    vectors, places = target
    vectors[places] = request.get_output_tensor(0).data


def _padded(inputs: Sequence[Tokens], cuts: Sequence[list[int]]) -> Iterator[Batch]:
    for places in cuts:
        longest = max(len(inputs[place]) for place in places)
        width = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
        ids = np.zeros((len(places), width), dtype=np.int32)
        mask = np.zeros((len(places), width), dtype=np.float32)
        for row, place in enumerate(places):
            tokens = inputs[place]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1.0
        yield places, ids, mask


def read_weights(path: Path) -> Weights:
    """Map the float32 tensors of a safetensors file into memory, by name.

    The format: eight bytes little-endian length of a JSON header, the header, then the tensors at the offsets
    that it names (documentation of safetensors, "Format").
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    # Copy on write: OpenVINO wants memory that may be written to; nobody does, so nothing is copied.
    data = np.memmap(path, dtype=np.uint8, mode="c", offset=8 + length)
    return {
        name: data[slice(*entry["data_offsets"])].view("<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }


def _graph(weights: Weights) -> Any:
    """Build the encoder: token ids and mask, both (texts, width), to unit vectors (texts, dimension)."""
    from openvino import Model, Type
    from openvino import opset13 as op

    def weight(name: str) -> Any:
        return op.constant(weights[name], shared_memory=True)

    def whole(*values: int) -> Any:
        return op.constant(np.array(values, dtype=np.int64))

    def normalised(x: Any, name: str) -> Any:
        centred = op.mvn(x, whole(-1), True, _EPSILON, "inside_sqrt")
        return op.add(op.multiply(centred, weight(f"{name}.weight")), weight(f"{name}.bias"))

    def dense(x: Any, name: str) -> Any:
        return op.add(op.matmul(x, weight(f"{name}.weight"), False, True), weight(f"{name}.bias"))

    def heads(x: Any) -> Any:
        return op.transpose(op.reshape(x, whole(0, 0, _HEADS, DIMENSION // _HEADS), True), whole(0, 2, 1, 3))

    ids = op.parameter([-1, -1], Type.i32, "ids")
    mask = op.parameter([-1, -1], Type.f32, "mask")
    first = whole(0)

    width = op.gather(op.shape_of(ids), whole(1), first)
    places = op.slice(weight("embeddings.position_embeddings.weight"), first, width, whole(1), first)
    kind = op.gather(weight("embeddings.token_type_embeddings.weight"), first, first)
    words = op.gather(weight("embeddings.word_embeddings.weight"), ids, first)
    x = normalised(op.add(op.add(words, kind), places), "embeddings.LayerNorm")

    unseen = op.multiply(op.subtract(op.unsqueeze(mask, whole(1, 2)), np.float32(1.0)), _MASKED)
    for layer in range(_LAYERS):
        at = f"encoder.layer.{layer}"
        query, key, value = (heads(dense(x, f"{at}.attention.self.{name}")) for name in ("query", "key", "value"))
        seen = op.scaled_dot_product_attention(query, key, value, unseen, causal=False)
        joined = op.reshape(op.transpose(seen, whole(0, 2, 1, 3)), whole(0, 0, DIMENSION), True)
        x = normalised(op.add(x, dense(joined, f"{at}.attention.output.dense")), f"{at}.attention.output.LayerNorm")
        wide = op.gelu(dense(x, f"{at}.intermediate.dense"), "erf")
        x = normalised(op.add(x, dense(wide, f"{at}.output.dense")), f"{at}.output.LayerNorm")

    # The sum over the tokens points where their mean does, and only the direction is kept.
    total = op.reduce_sum(op.multiply(x, op.unsqueeze(mask, whole(2))), whole(1), False)
    return Model([op.result(op.normalize_l2(total, whole(1), _EPSILON, "max"))], [ids, mask], "minilm")
