"""What a score of another system is: how somebody liked an answer, or a value that some program has measured.

Neither OpenTelemetry nor Langfuse says which of both it is, or on which scale: the name does. A name that is not one of
people's ratings makes a metric point, so that the judgement of a program never counts as satisfaction.
"""

from __future__ import annotations

import re
from typing import Any

from events.errors import RejectedError

_SCALES = {
    "thumbs": {"thumbs", "thumb", "thumbs_up", "feedback", "helpful", "liked", "like", "reaction"},
    "stars": {"stars", "star", "rating", "star_rating"},
    "csat": {"csat", "satisfaction", "customer_satisfaction"},
}
_SCALE = {name: scale for scale, names in _SCALES.items() for name in names}
_SCALE |= {f"user_{name}": scale for name, scale in _SCALE.items()}
_REST = re.compile(r"[^a-z0-9]+")

_THUMBS = {
    **dict.fromkeys(("1", "up", "thumbs_up", "positive", "good", "yes", "true", "like", "liked", "helpful", "pass"), 1),
    **dict.fromkeys(("0", "_1", "down", "thumbs_down", "negative", "bad", "no", "false", "dislike", "disliked"), 0),
    **dict.fromkeys(("not_helpful", "unhelpful", "fail", "👎"), 0),
    "👍": 1,
}
_STEPS = ("very_dissatisfied", "dissatisfied", "neutral", "satisfied", "very_satisfied")
_FIVE = {**{str(step): step for step in range(1, 6)}, **{word: step for step, word in enumerate(_STEPS, start=1)}}


def scored(name: str, value: Any, about: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Return the rating, in our own JSON, that a score is; or the metric point.

    :arg value: A number, a truth value or a word.
    :arg about: `id`, `time`, and of a rating `conversation`, `turn` and `person`.
    :arg labels: Of the metric point.
    :raises RejectedError: When it is a rating by its name, but not on its scale.
    """
    scale = _SCALE.get(_REST.sub("_", name.lower()).strip("_"))
    if scale is None:
        point = {"type": "point", "id": about["id"], "time": about["time"], "name": name}
        if isinstance(value, str):
            return {**point, "value": 1, "labels": {**labels, "category": value}}
        return {**point, "value": value, "labels": labels}
    if isinstance(value, str):
        word = value if value in _THUMBS else _REST.sub("_", value.lower()).removesuffix("_")
        value = (_THUMBS if scale == "thumbs" else _FIVE).get(word, value)
    if scale == "thumbs" and value == -1:
        value = 0
    if isinstance(value, str):
        message = f"the score {name!r} is {value[:40]!r}, which is no value of the scale `{scale}`"
        raise RejectedError(message, "score 0 or 1 for thumbs, 1 to 5 for stars and csat, or name it otherwise")
    return {"type": "rating", **about, "scale": scale, "value": value}
