"""What every embedder promises, whichever library multiplies its matrices."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from events.errors import MissingExtraError
from stores.embedders.base import Embedder, Vectors
from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.embedders.choose import Backend, choose_embedder
from stores.embedders.hashing import HashingEmbedder
from stores.embedders.openvino import OpenVinoEmbedder
from stores.embedders.sentence import SentenceTransformersEmbedder

ROOT = Path(__file__).parents[2]
needs_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="needs the extra `fast`")
AGREEMENT = 0.999  # bfloat16 has eight bits of precision

PASSAGES = [
    "A room can be cancelled free of charge until 18:00 on the day before arrival; later, the first night is due.",
    "Flight HR 204 from Lisbon to Oslo leaves at 07:35 from gate B12. Boarding closes fifteen minutes before.",
    "Gold members take two bags of 23 kg each, and a bicycle or a pair of skis, without paying anything more.",
    "Where is my refund? I sent the form three weeks ago and have heard nothing since.",
    "Dogs stay for 15 € a night; guide dogs, of course, stay for nothing.",
    "Breakfast: 6:30 to 10:00, on Sundays to 11:00.",
    "Zürich, São Paulo, Kraków, Ōsaka, Reykjavík — naïve café façade.",
    "| class | bags | kg |\n|---|---|---|\n| economy | 1 | 23 |\n| business | 2 | 32 |",
    "SELECT seat, fare FROM bookings WHERE person = 17 ORDER BY departure DESC;",
    "東京駅 の ホテル は 駅 から 三分 です。",
    "Гостиница около моря.",
    "hotel",
]
AWKWARD = {
    "nothing": "",
    "blanks": " \t\n\u00a0 ",
    "one character": "é",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 ✈️",
    "combining marks": "Z̸͓a̷͎l̶͔g̵̢o̸",
    "right to left": "שלום עולם مرحبا بالعالم",
    "zero bytes": "a\x00b\x00",
    "unpaired surrogate": "before \ud83d after",
    "special tokens": "[CLS] [SEP] [PAD] [MASK] [UNK]",
    "one long word": "x" * 10_000,
    "punctuation": "?!" * 400,
    "many lines": "\n" * 3_000 + "end",
}


@pytest.fixture(
    scope="module",
    params=[
        "hashing",
        "cached",
        pytest.param("openvino", marks=needs_openvino),
        "sentence-transformers",
    ],
)
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    if request.param == "cached":
        cache = EmbeddingCache(tmp_path_factory.mktemp("cache") / "embeddings.sqlite3")
        yield CachedEmbedder(HashingEmbedder(), cache)
        cache.close()
    else:
        # Torch's threads wait for each other by spinning: on a busy machine one is faster than two.
        yield choose_embedder(request.param, threads=1 if request.param == "sentence-transformers" else 0)


@pytest.fixture(scope="module")
def reference() -> SentenceTransformersEmbedder:
    return SentenceTransformersEmbedder(threads=1)


def cosines(some: Vectors, others: Vectors) -> Vectors:
    products: Vectors = np.sum(some * others, axis=1)
    return products


def docstrings() -> list[str]:
    """Every docstring of the project itself: a few hundred real texts of all lengths."""
    found: list[str] = []
    for folder in ("events", "stores"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    found.append(ast.get_docstring(node) or "")
    return [text for text in dict.fromkeys(found) if text]


def test_no_text_gives_no_vector_of_the_right_width(embedder: Embedder) -> None:
    vectors = embedder.embed([])
    assert vectors.shape == (0, embedder.model.dimension)
    assert vectors.dtype == np.float32
    assert embedder.count_tokens([]) == []


def test_vectors_are_float32_and_of_unit_length(embedder: Embedder) -> None:
    vectors = embedder.embed(PASSAGES)
    assert vectors.shape == (len(PASSAGES), embedder.model.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_text_gives_a_unit_vector_and_spans_within_it(embedder: Embedder, text: str) -> None:
    vectors = embedder.embed([text])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    spans = embedder.token_spans(text)
    assert len(spans) == embedder.count_tokens([text])[0]
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = [f"{passage} " * (1 + place % 5) for place, passage in enumerate(PASSAGES * 5)]
    random.Random(3).shuffle(texts)
    together = embedder.embed(texts)
    alone = {text: embedder.embed([text])[0] for text in set(texts)}
    assert cosines(together, np.stack([alone[text] for text in texts])).min() >= AGREEMENT


def test_a_text_has_the_same_vector_whatever_is_embedded_with_it(embedder: Embedder) -> None:
    long = "The ferry to the islands runs every hour in summer. " * 30
    alone = embedder.embed(PASSAGES[:1])
    assert cosines(embedder.embed([PASSAGES[0], long]), np.repeat(alone, 2, axis=0))[0] >= AGREEMENT
    assert cosines(embedder.embed(["hotel"] * 200 + PASSAGES[:1])[-1:], alone)[0] >= AGREEMENT


def test_what_is_beyond_the_longest_input_does_not_matter(embedder: Embedder) -> None:
    words = ["sun", "sea", "room", "price", "train", "garden", "road"]
    limit = embedder.model.max_tokens
    whole = " ".join(words[place % len(words)] for place in range(2 * limit))
    assert embedder.count_tokens([whole]) == [2 * limit]
    cut = whole[: embedder.token_spans(whole)[limit - 1][1]]
    assert embedder.count_tokens([cut]) == [limit]
    shorter = whole[: embedder.token_spans(whole)[limit - 31][1]]
    full, at_limit, below, other_tail = embedder.embed([whole, cut, shorter, cut + " volcano" * 300])
    assert full @ at_limit >= AGREEMENT
    assert full @ other_tail >= AGREEMENT
    assert full @ below < 0.99999


def test_the_last_word_within_the_longest_input_matters(embedder: Embedder) -> None:
    start = "sea " * (embedder.model.max_tokens - 60)
    one, other = embedder.embed([start + "volcano " * 60, start + "invoice " * 60])
    assert one @ other < 0.99


def test_a_model_that_folds_white_space_gives_one_vector_whatever_it_is(embedder: Embedder) -> None:
    assert embedder.model.folds_space
    plain, wrapped = embedder.embed(["A fare of two words.", "A fare\n\nof\ttwo  \r\nwords."])
    assert np.array_equal(plain, wrapped)


def test_like_texts_are_nearer_than_unlike_ones(embedder: Embedder) -> None:
    asked, near, far = embedder.embed(
        [
            "Can I cancel the room free of charge?",
            "You can cancel the room free of charge until the day before.",
            "Flight HR 204 leaves from gate B12.",
        ]
    )
    assert asked @ near > asked @ far + 0.2


def test_tokens_are_counted_by_the_model_s_own_pieces(embedder: Embedder) -> None:
    # em ##bed ##ding ##s, by the published vocabulary of bert-base-uncased
    assert embedder.count_tokens(["embeddings", "hello world", "", "word " * 1000]) == [4, 2, 0, 1000]


def test_spans_name_the_characters_of_each_token(embedder: Embedder) -> None:
    text = "Čapek's café, embeddings 東京 👋 end"
    pieces = [text[start:end] for start, end in embedder.token_spans(text)]
    assert pieces[-1] == "end"
    assert pieces[-5:-1] == ["s", "東", "京", "👋"]
    assert "".join(pieces) == text.replace(" ", "")


def test_threads_share_an_embedder(embedder: Embedder) -> None:
    expected = embedder.embed(PASSAGES)

    def embed(seed: int) -> float:
        places = random.Random(seed).sample(range(len(PASSAGES)), len(PASSAGES))
        vectors = embedder.embed([PASSAGES[place] for place in places] * (1 + 8 * (seed % 2)))[: len(PASSAGES)]
        assert embedder.count_tokens(["one two three"]) == [3]
        return float(cosines(vectors, expected[places]).min())

    with ThreadPoolExecutor(4) as threads:
        assert min(threads.map(embed, range(8))) >= AGREEMENT


def test_every_backend_of_the_model_bears_its_identity(embedder: Embedder) -> None:
    model = embedder.model
    assert (model.dimension, model.max_tokens) == (384, 254)
    if isinstance(embedder, HashingEmbedder | CachedEmbedder):
        assert model.name == "hashing"
    else:
        assert model.name == "all-MiniLM-L6-v2"
        assert model == SentenceTransformersEmbedder().model
        assert model.languages == ("en",)


@needs_openvino
def test_openvino_agrees_with_sentence_transformers(reference: SentenceTransformersEmbedder) -> None:
    texts = PASSAGES + docstrings() + list(AWKWARD.values())
    assert len(texts) > 100
    assert cosines(OpenVinoEmbedder().embed(texts), reference.embed(texts)).min() >= AGREEMENT


@needs_openvino
@pytest.mark.realdata("xquad")
def test_openvino_agrees_with_sentence_transformers_on_encyclopedia_passages(
    reference: SentenceTransformersEmbedder, real_data: Path
) -> None:
    articles = json.loads((real_data / "xquad.en.json").read_text())["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]][:100]
    texts = [paragraph["context"] for paragraph in paragraphs]
    texts += [paragraph["qas"][0]["question"] for paragraph in paragraphs]
    assert cosines(OpenVinoEmbedder().embed(texts), reference.embed(texts)).min() >= AGREEMENT


def test_tokens_are_those_of_sentence_transformers(reference: SentenceTransformersEmbedder) -> None:
    from sentence_transformers import SentenceTransformer

    from stores.embedders.minilm import model_dir

    tokenizer = SentenceTransformer(str(model_dir()), device="cpu", local_files_only=True).tokenizer
    texts = PASSAGES + docstrings() + [text for text in AWKWARD.values() if "\ud83d" not in text]
    theirs = [len(tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]) for text in texts]
    assert reference.count_tokens(texts) == theirs


@needs_openvino
def test_auto_takes_openvino_where_it_is_installed() -> None:
    assert isinstance(choose_embedder("auto", threads=1), OpenVinoEmbedder)


def test_auto_takes_sentence_transformers_where_openvino_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert isinstance(choose_embedder("auto"), SentenceTransformersEmbedder)


def test_openvino_named_but_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'headrace\[fast\]'"):
        choose_embedder("openvino")


@needs_openvino
def test_one_thread_gives_the_same_vectors() -> None:
    texts = PASSAGES * 20
    assert cosines(OpenVinoEmbedder(threads=1).embed(texts), OpenVinoEmbedder().embed(texts)).min() >= AGREEMENT


WATCHED = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"the network was asked for: {arguments}")

sys.addaudithook(watch)
from stores.embedders.choose import choose_embedder
embedder = choose_embedder(sys.argv[1])
embedder.model, embedder.count_tokens(["hello"])
light = not {"torch", "transformers", "sentence_transformers", "openvino"} & set(sys.modules)
embedder.embed(["hello world"])
embedder.embed(["hello world"] * 300)
print(light, "torch" in sys.modules)
"""


@pytest.mark.parametrize(("backend", "torch"), [("openvino", False), ("sentence-transformers", True)])
def test_loading_is_lazy_silent_and_without_network(backend: Backend, torch: bool) -> None:
    if not find_spec(backend.replace("-", "_")):
        pytest.skip(f"needs {backend}")
    run = subprocess.run(
        [sys.executable, "-c", WATCHED, backend], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, f"True {torch}\n", "")
