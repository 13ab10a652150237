"""Random feedback, dense enough that everything that can belong together does: few ids, few times, a short horizon."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal, TypeAlias, cast

import msgspec

from events.feedback import (
    Comment,
    FeedbackEvent,
    Judgement,
    Point,
    Rating,
    Role,
    Scale,
    ShownContext,
    ShownItem,
    Turn,
    Verdict,
)

HORIZON = 10
Event: TypeAlias = "FeedbackEvent | Judgement"
_FEW = ("", "", "x", "y")
_ROLES: tuple[Role, ...] = ("user", "user", "assistant", "assistant", "assistant", "tool")


class World:
    """Makes random events.

    :arg span: Event times are from 0 to this.
    :arg drifting: Whether ids go with time, so that nothing is amended from further away than the horizon.
    """

    def __init__(self, random: Random, span: int, *, drifting: bool = False) -> None:
        self._random = random
        self._span = span
        self._drifting = drifting
        # Some say next to nothing: what they lack comes from far away.
        self._silence = random.choice((0.0, 0.5, 0.9))

    def events(self, count: int) -> list[Event]:
        """Return events in any order, some of them twice, and verdicts on some of what they say."""
        makers: tuple[Callable[[], FeedbackEvent], ...] = (
            self._turn, self._turn, self._turn, self._rating, self._comment, self._context, self._point,
        )  # fmt: skip
        events: list[Event] = [self._random.choice(makers)() for _ in range(count)]
        for event in list(events):
            if isinstance(event, Turn | Comment):
                for _ in range(self._random.choice((0, 0, 1, 2))):
                    events.append(self._judgement(event))
            if isinstance(event, Comment) and self._random.random() < 0.5:
                # The same comment, judged otherwise.
                events.append(msgspec.structs.replace(event, verdict=self._verdict()))
        events += [self._random.choice(events) for _ in range(count // 5)]
        self._random.shuffle(events)
        return events

    def _id(self, time: int, *, back: int = 0) -> str:
        number = str(self._random.randrange(1, 7))
        return f"{time // HORIZON - self._random.randint(0, back)}-{number}" if self._drifting else number

    def _some(self) -> str:
        return "" if self._random.random() < self._silence else self._random.choice(_FEW)

    def _common(self, *, ids: bool = True) -> dict[str, Any]:
        time = self._random.randint(0, self._span)
        common = {"id": self._id(time), "time": time}
        return {"conversation": self._random.choice("cccd"), **common} if ids else common

    def _turn(self) -> Turn:
        common = self._common()
        pick = self._random.choice
        return Turn(
            **common,
            role=pick(_ROLES),
            application=self._some(),
            model=self._some(),
            language=self._some(),
            topic=self._some(),
            person=self._some(),
            latency=pick((None, 1.5, 20.0)),
            tokens_in=pick((None, 3)),
            tokens_out=pick((None, 4)),
            cost=pick((None, 0.25)),
            fallback=pick((True, False)),
            context=pick(("", self._id(common["time"], back=1))),
        )

    def _rating(self) -> Rating:
        common = self._common()
        scale = self._random.choice(("thumbs", "stars", "csat"))
        value = self._random.choice((0.0, 1.0) if scale == "thumbs" else (1.0, 2.3, 3.0, 4.1, 5.0))
        return Rating(**common, scale=cast("Scale", scale), value=value, turn=self._about(common), person=self._some())

    def _comment(self) -> Comment:
        common = self._common()
        return Comment(
            **common,
            text=self._random.choice(("good", "bad", "long " * 200)),
            turn=self._about(common),
            person=self._some(),
            language=self._some(),
            verdict=self._random.choice((None, None, self._verdict())),
        )

    def _context(self) -> ShownContext:
        pick = self._random.choice
        items = [
            ShownItem(
                source=pick(("docs", "prices", "")),
                document=pick(_FEW),
                lag=pick((None, 1.0, 3.0, 6.0)),
                stale=pick((False, False, True)),
            )
            for _ in range(self._random.randrange(4))
        ]
        return ShownContext(**self._common(), items=tuple(items))

    def _point(self) -> Point:
        common = self._common(ids=False)
        common["id"] = f"{common['time']}" if self._drifting else common["id"]
        labels = self._random.choice(({}, {"host": "a"}, {"name": "b", "host": "a"}))
        return Point(**common, name=self._random.choice(("load", "heat")), value=self._random.random(), labels=labels)

    def _about(self, common: dict[str, Any]) -> str:
        return self._random.choice(("", self._id(common["time"], back=1)))

    def _judgement(self, event: Turn | Comment) -> Judgement:
        kind: Literal["turn", "comment"] = "turn" if isinstance(event, Turn) else "comment"
        return Judgement(kind, event.conversation, event.id, event.time, self._verdict(), self._random.randint(0, 40))

    def _verdict(self) -> Verdict:
        pick = self._random.choice
        topics = cast("tuple[str, ...]", pick(((), ("fares",), ("bags", "fares"))))
        return Verdict(pick(("", "satisfied", "dissatisfied")), topics, pick((0.5, 0.9)))
