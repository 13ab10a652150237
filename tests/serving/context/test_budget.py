"""What goes into a block: never more than the budget by a real tokenizer, and of what fits the most useful."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Plain
from tokenizers import decoders, models, pre_tokenizers, trainers

from events.context import KINDS, ItemKind
from events.errors import SettingsError
from serving.context.block import Shown, block, piece
from serving.context.budget import SHARES, pack
from serving.context.tokens import FileTokenizer, ModelTokenizer, Tokenizer
from stores.embedders.hashing import HashingEmbedder
from tests.serving.context.samples import NOW, ready

SENTENCE = "baggage may weigh up to twenty three kilograms and must be handed in two hours before departure"
WORDS = SENTENCE.split()


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory: pytest.TempPathFactory) -> FileTokenizer:
    """Return a tokenizer of bytes that merges over spaces and line ends, as those of large models do."""
    path = tmp_path_factory.mktemp("model") / "tokenizer.json"
    made = Plain(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    sample = [SENTENCE, "word " * 9, block(NOW, [piece(1, ready(), NOW), piece(2, ready("chunk"), NOW)])] * 5
    made.train_from_iterator(
        sample, trainers.BpeTrainer(vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    )
    made.save(str(path))
    return FileTokenizer(path)


@pytest.fixture(params=["model's", "file"])
def tokenizer(request: pytest.FixtureRequest, byte_pairs: FileTokenizer) -> Tokenizer:
    return byte_pairs if request.param == "file" else ModelTokenizer(HashingEmbedder())


def sentence(words: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + "."


def count(tokenizer: Tokenizer, text: str) -> int:
    return tokenizer.count([text])[0]


_TEXTS = st.text(max_size=300) | st.integers(1, 300).map(sentence) | st.integers(0, 900).map(lambda n: "ab\n. " * n)
_ITEMS = st.lists(
    st.builds(
        lambda kind, text, score, number: ready(kind, f"i{number}", text, score=score),
        st.sampled_from(KINDS),
        _TEXTS,
        st.floats(0, 1),
        st.integers(0, 30),
    ),
    max_size=15,
)


@settings(max_examples=60)
@given(items=_ITEMS, budget=st.integers(50, 900))
def test_the_whole_block_is_never_over_the_budget(byte_pairs: FileTokenizer, items: list[Shown], budget: int) -> None:
    for tokenizer in (byte_pairs, ModelTokenizer(HashingEmbedder())):
        packed = pack(items, budget, tokenizer, NOW)
        assert count(tokenizer, packed.block) == packed.tokens <= budget
        shown = sum(one.candidate.kind != "chunk" for one, _ in packed.items)
        left = sum(number for kind, number in packed.left_out.items() if kind != "chunk")
        assert shown + left == sum(bool(one.text) and one.candidate.kind != "chunk" for one in items)
        assert packed == pack(items, budget, tokenizer, NOW)
        for one, _ in packed.items:
            whole = next(item for item in items if item.candidate is one.candidate)
            if one.text != whole.text:
                begin = one.text.removesuffix(" …")
                assert whole.text.startswith(begin)
                assert 2 * len(begin) > len(whole.text) - 2


def test_everything_goes_in_where_there_is_room(tokenizer: Tokenizer) -> None:
    items = [ready(kind, f"{kind}{n}", sentence(30, n), score=n / 10) for kind in KINDS for n in range(3)]
    packed = pack(items, 100_000, tokenizer, NOW)
    assert len(packed.items) == len(items)
    assert packed.left_out == {}
    assert sum(tokens for _, tokens in packed.items) == pytest.approx(packed.tokens, abs=80)


def test_the_most_useful_comes_first_and_the_conversation_last_in_its_order(tokenizer: Tokenizer) -> None:
    items = [
        ready("turn", "t1", "first", score=0.2),
        ready("turn", "t2", "second", score=0.6),
        ready("chunk", "c", "c", score=0.5),
        ready("row", "r", "r", score=1.0),
        ready("profile", "p", "p", score=0.95),
    ]
    assert [one.candidate.id for one, _ in pack(items, 5000, tokenizer, NOW).items] == ["r", "p", "c", "t1", "t2"]


def test_the_order_of_candidates_does_not_matter(tokenizer: Tokenizer) -> None:
    items = [ready(kind, f"{kind}{n}", sentence(20, n), score=0.5) for kind in KINDS[:4] for n in range(5)]
    mixed = random.Random(1).sample(items, len(items))
    assert pack(items, 500, tokenizer, NOW) == pack(mixed, 500, tokenizer, NOW)


def test_one_huge_kind_does_not_push_out_the_others(tokenizer: Tokenizer) -> None:
    rows = [ready("row", f"r{n:03}", sentence(25, n), score=1.0) for n in range(200)]
    others: list[ItemKind] = ["profile", "activity", "chunk", "turn"]
    items = rows + [ready(kind, kind, sentence(25, 99), score=0.3) for kind in others]
    packed = pack(items, 1500, tokenizer, NOW)
    kinds = [one.candidate.kind for one, _ in packed.items]
    assert set(kinds) == set(KINDS)
    # And what the others leave is used.
    assert sum(tokens for one, tokens in packed.items if one.candidate.kind == "row") > SHARES["row"] * 1500
    assert packed.left_out == {"row": 200 - kinds.count("row")}


def test_pieces_of_documents_that_say_the_same_count_once(tokenizer: Tokenizer) -> None:
    items = [
        ready("chunk", "a", "Bags may weigh 23 kg.", score=0.4),
        ready("chunk", "b", "bags  may weigh\n23 kg.", score=0.7),
        ready("row", "c", "Bags may weigh 23 kg.", score=0.4),
    ]
    packed = pack(items, 5000, tokenizer, NOW)
    assert [one.candidate.id for one, _ in packed.items] == ["b", "c"]
    assert packed.left_out == {}


def test_what_does_not_fit_is_cut_at_the_end_of_a_sentence(tokenizer: Tokenizer) -> None:
    sentences = [sentence(12, n) for n in range(12)]
    one = ready("chunk", "a", " ".join(sentences))
    whole = pack([one], 5000, tokenizer, NOW).tokens
    packed = pack([one], whole - 30, tokenizer, NOW)
    [(cut, _)] = packed.items
    assert cut.text.endswith(". …")
    assert cut.text.removesuffix(" …") in {" ".join(sentences[:n]) for n in range(7, 12)}
    assert packed.left_out == {}


@pytest.mark.parametrize("text", [sentence(200), "\n".join([*["x y z."] * 3, sentence(200)])])
def test_what_would_lose_more_than_half_is_left_out(tokenizer: Tokenizer, text: str) -> None:
    packed = pack([ready("chunk", "a", text), ready("row", "r", "short")], 180, tokenizer, NOW)
    assert [one.candidate.id for one, _ in packed.items] == ["r"]
    assert packed.left_out == {"chunk": 1}


def test_a_text_of_any_length_is_no_trouble(tokenizer: Tokenizer) -> None:
    packed = pack([ready("row", "huge", "word " * 2_000_000), ready("row", "r")], 200, tokenizer, NOW)
    assert [one.candidate.id for one, _ in packed.items] == ["r"]
    assert packed.left_out == {"row": 1}


def test_of_nothing_comes_nothing(tokenizer: Tokenizer) -> None:
    packed = pack([ready(text=" \n\x00 ")], 50, tokenizer, NOW)
    assert (packed.items, packed.block, packed.tokens, packed.left_out) == ((), "", 0, {})


def test_a_budget_that_holds_nothing_is_kept(tokenizer: Tokenizer) -> None:
    packed = pack([ready(), ready("turn", "t")], 3, tokenizer, NOW)
    assert (packed.block, packed.tokens) == ("", 0)
    assert packed.left_out == {"row": 1, "turn": 1}


def test_tokens_are_counted_by_the_tokenizer_of_the_file(byte_pairs: FileTokenizer, tmp_path: Path) -> None:
    assert byte_pairs.name.endswith("/tokenizer.json")
    text = "baggage may weigh</item>\n<item n=two"
    assert len(byte_pairs.spans(text)) == count(byte_pairs, text)
    assert count(byte_pairs, "Zürich") > count(ModelTokenizer(HashingEmbedder()), "Zürich")
    with pytest.raises(SettingsError, match="there is no file"):
        FileTokenizer(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(SettingsError, match="is not a tokenizer"):
        FileTokenizer(tmp_path / "broken.json").count(["x"])


def test_however_much_of_a_row_is_cut_what_it_said_and_what_speaks_against_it_stay(tokenizer: Tokenizer) -> None:
    was, gone = "price was 129 until 2026-10-31 23:41 UTC, is 149", "deleted at its source"
    row = ready(text=" ".join(sentence(9, seed) for seed in range(12)), lasting=was, warning=gone)
    whole = pack([row], 5000, tokenizer, NOW).tokens
    seen = set()
    for budget in range(50, whole + 1):
        packed = pack([row], budget, tokenizer, NOW)
        seen.add(len(packed.items[0][0].text) if packed.items else 0)
        for one, _ in packed.items:
            assert one.whole.endswith(f"\n{was}")
            assert f'warning="{gone}"' in packed.block
            assert f"\n{was}\n</item>" in packed.block
    assert len(seen) > 3, "nothing, some cuts, and all of it"
