"""What becomes a line, what does not and why, and which side it is on."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from typing import Any

import pytest

from events.feedback import Rating, Said, Turn
from serving.finetune.build import Span
from serving.finetune.lines import Form
from tests.serving.finetune.conversations import BEGIN, DAY, MINUTE, built, chat, preferences, said, taught

GOOD = ("May I take a dog?", "Yes, up to 8 kg in the cabin.")
BAD = ("May I take a dog?", "No idea, ask somebody else.", 1)
CHAT: tuple[Form, ...] = ("chat",)


def test_a_good_answer_becomes_a_line_with_everything_before_it() -> None:
    made = built(
        said("c", ("Hi", "Hello, what can I do?", None), GOOD, ("Thanks", "You are welcome.", None), system="Be kind.")
    )
    [line] = made.lines["chat", "train"]
    assert line["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello, what can I do?", "weight": 0},
        {"role": "user", "content": "May I take a dog?"},
        {"role": "assistant", "content": "Yes, up to 8 kg in the cabin.", "weight": 1},
    ]


@pytest.mark.parametrize(
    ("conversation", "rules", "reason"),
    [
        ({"consent": False}, {"consent": "assumed"}, "consent_refused"),
        ({"consent": None}, {}, "consent_unknown"),
        ({"stale": True}, {}, "context_stale"),
        ({"stale": True}, {"context": "not-stale"}, "context_stale"),
        ({"stale": None}, {}, "context_unknown"),
        ({"fallback": True}, {}, "fallback"),
        ({}, {"languages": ["de"]}, "language"),
        ({}, {"applications": ["desk"]}, "application"),
        ({"topic": "dogs"}, {"topics": ["refund"]}, "topic"),
        ({}, {"least_characters": 100}, "too_short"),
        ({}, {"most_characters": 10}, "too_long"),
        ({"system": "x" * 100}, {"most_line_characters": 100}, "too_long"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(
    conversation: dict[str, Any], rules: dict[str, Any], reason: str
) -> None:
    made = built(said("c", GOOD, **conversation), forms=CHAT, **rules)
    assert taught(made) == []
    assert made.dropped["answers"] + made.dropped["chat"] == Counter({reason: 1})
    assert taught(built(said("c", GOOD))) == [GOOD[1]]


@pytest.mark.parametrize(
    ("conversation", "rules"),
    [
        ({"consent": None}, {"consent": "assumed"}),
        ({"stale": True}, {"context": "any"}),
        ({"stale": None}, {"context": "not-stale"}),
        ({"topic": "dogs"}, {"topics": ["dogs"]}),
    ],
)
def test_what_was_asked_for_is_taken(conversation: dict[str, Any], rules: dict[str, Any]) -> None:
    assert taught(built(said("c", GOOD, **conversation), **rules)) == [GOOD[1]]


@pytest.mark.parametrize(("stars", "taken"), [(5, True), (4, True), (3, False), (1, False), (None, False)])
def test_only_what_was_rated_well_is_taught(stars: float | None, taken: bool) -> None:
    made = built(said("c", (*GOOD, stars)), forms=CHAT)
    assert bool(taught(made)) is taken
    assert made.dropped["chat"] == ({} if taken else {"unrated" if stars is None else "rating": 1})


def test_unrated_answers_are_taught_when_asked_for_but_never_preferred() -> None:
    made = built(said("c", (*GOOD, None)), said("d", BAD), unrated=True)
    assert taught(made) == [GOOD[1]]
    assert preferences(made) == []


def test_the_rating_of_a_conversation_counts_where_nobody_rated_the_answer() -> None:
    whole = Rating("c", "w", BEGIN + MINUTE, "thumbs", 1.0)
    assert taught(built([*said("c", (*GOOD, None)), whole])) == [GOOD[1]]
    assert taught(built([*said("c", (*GOOD, 2)), whole])) == []


def test_several_ratings_of_an_answer_count_as_their_mean() -> None:
    more = [Rating("c", f"m{stars}", BEGIN + MINUTE, "stars", float(stars), "a0") for stars in (5, 2)]
    assert taught(built([*said("c", GOOD), *more])) == [GOOD[1]]
    worse = Rating("c", "m1", BEGIN + MINUTE, "thumbs", 0.0, "a0")
    assert taught(built([*said("c", GOOD), *more, worse])) == []


def test_an_answer_behind_a_bad_one_is_not_taught() -> None:
    made = built(said("c", ("A?", "bad answer", 1), GOOD), forms=CHAT)
    assert made.dropped["chat"] == {"rating": 1, "history": 1}


def test_tools_and_contexts_are_shown_in_the_first_message_when_asked_for() -> None:
    events = said("c", GOOD, shown="Dogs: 8 kg.", system="Be kind.")
    events.append(Turn("c", "t", BEGIN + 6, "tool", '{"dogs": 8}'))
    events.append(Turn("c", "w", BEGIN + 5, "assistant", "Let me look."))
    assert chat(built(events)) == [[("system", "Be kind."), ("user", GOOD[0]), ("assistant", GOOD[1])]]
    [messages] = chat(built(events, with_context=True))
    assert messages[0] == ("system", 'Be kind.\n\nWhat is known:\n\nDogs: 8 kg.\n\n{"dogs": 8}')
    assert [role for role, _ in messages] == ["system", "user", "assistant"]


def test_several_messages_of_a_person_are_one_question() -> None:
    events = said("c", GOOD)
    events.append(Turn("c", "p", BEGIN - 5, "user", "Hello!", person=""))
    assert chat(built(events))[0][0] == ("user", "Hello!\n\nMay I take a dog?")


def test_a_greeting_answers_nothing() -> None:
    events = [*said("c", GOOD), Turn("c", "g", BEGIN - 5, "assistant", "Welcome!", consent=True)]
    made = built(events, forms=CHAT)
    assert chat(made) == [[("user", GOOD[0]), ("assistant", GOOD[1])]]
    assert made.dropped["answers"] == {"no_question": 1}


def test_who_takes_consent_back_is_in_no_line_of_any_conversation() -> None:
    first = said("a", GOOD, person="p1")
    other = said("b", ("Which fares are there?", "Light, Classic and Flex."), person="p2")
    back = said("z", ("Stop", "Done.", None), person="p1", consent=False, at=BEGIN + DAY)
    assert len(taught(built(first, other))) == 2
    made = built(first, other, back, span=Span(until=BEGIN + MINUTE))
    assert taught(made) == ["Light, Classic and Flex."]
    assert made.dropped["answers"] == {"consent_refused": 1, "time": 1}


def test_consent_that_was_given_later_counts_from_then_on() -> None:
    refused = said("a", GOOD, person="p1", consent=False)
    given = said("b", ("Which fares are there?", "Light, Classic and Flex."), person="p1", at=BEGIN + DAY)
    assert taught(built(refused, given)) == ["Light, Classic and Flex."]


def test_the_span_of_time_goes_by_the_begin_of_conversations() -> None:
    early, late = said("a", GOOD), said("b", ("Which fares?", "Light and Flex."), at=BEGIN + DAY)
    assert taught(built(early, late, span=Span(since=BEGIN + 1))) == ["Light and Flex."]
    assert taught(built(early, late, span=Span(until=BEGIN + DAY))) == [GOOD[1]]


def test_of_equal_lines_the_best_rated_stays() -> None:
    made = built(
        said("a", (*GOOD, 4)), said("b", ("may i take a DOG", "Yes - up to 8 kg, in the cabin!", 5)), forms=CHAT
    )
    assert taught(made) == ["Yes - up to 8 kg, in the cabin!"]
    assert made.dropped["chat"] == {"duplicate": 1}


def test_lines_that_differ_in_a_word_are_near_duplicates() -> None:
    long = "You may take {} with you in the cabin if it weighs no more than eight kilos and travels in a closed bag"
    first, second = (said(one, ("May I bring it along?", long.format(one))) for one in ("dogs", "cats"))
    made = built(first, second, forms=CHAT)
    assert (len(taught(made)), made.dropped["chat"]) == (1, {"near_duplicate": 1})
    assert len(taught(built(first, second, near_duplicates=1))) == 2


def test_two_answers_to_the_same_question_are_a_pair() -> None:
    assert preferences(built(said("a", GOOD), said("b", BAD))) == [(GOOD[0], GOOD[1], BAD[1])]


def test_a_pair_needs_a_gap_and_the_same_prompt() -> None:
    assert preferences(built(said("a", (*GOOD, 4)), said("b", (*BAD[:2], 3)))) == []
    assert preferences(built(said("a", GOOD, system="Be kind."), said("b", BAD))) == []
    assert preferences(built(said("a", GOOD), said("b", BAD, stale=True))) == []


def test_a_good_answer_to_a_question_asked_again_is_a_pair_with_the_bad_one() -> None:
    made = built(said("c", ("Hi", "Hello!", None), BAD, ("may I take a dog", GOOD[1])))
    [line] = made.lines["preference", "train"]
    assert [message["content"] for message in line["prompt"]] == ["Hi", "Hello!", BAD[0]]
    assert preferences(made) == [(BAD[0], GOOD[1], BAD[1])]


def test_an_answer_written_again_is_a_pair_with_the_first_one() -> None:
    events: list[Said] = [
        *said("c", BAD),
        Turn("c", "again", BEGIN + 30, "assistant", GOOD[1], context="x0", consent=True),
    ]
    events.append(Rating("c", "r", BEGIN + 40, "thumbs", 1.0, "again"))
    assert preferences(built(events)) == [(GOOD[0], GOOD[1], BAD[1])]


def test_what_people_think_of_the_same_answer_counts_together() -> None:
    liked = [said(f"a{number}", GOOD) for number in range(3)]
    disliked = [said(f"b{number}", (*GOOD, 1)) for number in range(3)]
    assert preferences(built(*liked, said("z", BAD))) != []
    assert preferences(built(*liked, *disliked, said("z", BAD))) == []


def test_each_answer_is_in_one_pair_at_most() -> None:
    good = [said(f"a{number}", ("Why?", f"good answer {number}")) for number in range(3)]
    bad = [said(f"b{number}", ("Why?", f"bad answer {number}", 1)) for number in range(2)]
    made = preferences(built(*good, *bad, near_duplicates=1))
    assert len(made) == 2
    assert len({text for _, *pair in made for text in pair}) == 4


def _crowd(people: int, conversations: int, seed: int = 3) -> list[list[Said]]:
    """Return conversations whose words are all different, each of one or two persons, some of nobody."""
    chance = random.Random(seed)
    words = (f"w{number}" for number in itertools.count())
    made = []
    for number in range(conversations):
        person = f"p{chance.randrange(people)}" if chance.random() < 0.9 else ""
        question, answer = (" ".join(itertools.islice(words, 12)) for _ in range(2))
        events = said(f"c{number}", (question, answer), person=person, at=BEGIN + number)
        if chance.random() < 0.02:
            events.append(
                Rating(f"c{number}", "other", BEGIN + DAY, "thumbs", 1.0, "a0", f"p{chance.randrange(people)}")
            )
        made.append(events)
    return made


def _persons(made: Any, crowd: list[list[Said]], side: str) -> set[str]:
    texts = set(taught(made, side))
    return {
        event.person
        for events in crowd
        if any(isinstance(event, Turn) and event.text in texts for event in events)
        for event in events
        if isinstance(event, (Turn, Rating)) and event.person
    }


def test_nobody_is_on_both_sides() -> None:
    crowd = _crowd(people=300, conversations=900)
    made = built(*crowd, validation=0.3)
    train, validation = (_persons(made, crowd, side) for side in ("train", "validation"))
    assert not train & validation
    assert len(taught(made, "train")) + len(taught(made, "validation")) == len(crowd)
    assert 0.2 < len(validation) / (len(train) + len(validation)) < 0.4


def test_more_conversations_of_the_same_people_move_nobody() -> None:
    crowd = _crowd(people=200, conversations=500)
    of_one = [events for events in crowd if len({e.person for e in events if isinstance(e, (Turn, Rating))}) == 1]
    early, late = (built(*some, validation=0.3) for some in (of_one[:200], of_one))
    for side in ("train", "validation"):
        assert set(taught(early, side)) <= set(taught(late, side))


def test_another_salt_is_another_split() -> None:
    crowd = _crowd(people=100, conversations=100)
    one, other, same = (built(*crowd, validation=0.5, salt=salt) for salt in ("a", "b", "a"))
    assert taught(one, "validation") != taught(other, "validation")
    assert one == same


def test_what_is_validated_does_not_nearly_stand_in_what_is_trained_on() -> None:
    crowd = _crowd(people=60, conversations=60)
    chance = random.Random(5)
    copies = []
    for number, events in enumerate(crowd):
        question, answer = (event.text for event in events if isinstance(event, Turn))
        copies.append(said(f"d{number}", (question, f"{answer} indeed"), person=f"x{chance.randrange(60)}"))
    made = built(*crowd, *copies, validation=0.4, forms=CHAT)
    train, validation = (
        {re.sub(" indeed", "", text) for text in taught(made, side)} for side in ("train", "validation")
    )
    assert validation
    assert made.dropped["chat"]["leak"] > 0
    assert not train & validation


def test_the_order_in_which_conversations_come_does_not_matter() -> None:
    crowd = [*_crowd(people=30, conversations=40), said("z1", GOOD), said("z2", BAD), said("z3", (*GOOD, 4))]
    shuffled = crowd[:]
    random.Random(1).shuffle(shuffled)
    assert built(*crowd, validation=0.3) == built(*shuffled, validation=0.3)
