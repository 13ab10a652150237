"""An answer on a terminal: the text as it comes, and what is not as it should be.

Invariant: nothing in it is a command to the terminal.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable

from serving.answer.parts import EXTRACTIVE, Answer, AnswerPart
from serving.printable import printable


async def show(parts: AsyncIterable[AnswerPart], write: Callable[[str], object]) -> Answer | None:
    """Write an answer's text as it comes; return the answer, or None where the stream ended without one.

    :arg write: Writes a text as it is, without a line end of its own.
    """
    answer = None
    async for part in parts:
        if isinstance(part, Answer):
            answer = part
        else:
            write("\n".join(map(printable, part.text.split("\n"))))
    return answer


def footnotes(answer: Answer) -> list[str]:
    """Return what stands below an answer and its sources, line by line."""
    lines = []
    if answer.unknown:
        numbers = ", ".join(f"[{number}]" for number in answer.unknown)
        lines.append(f"Not in the context, though cited: {numbers}")
    if answer.degraded:
        lines.append(f"Not as asked for: {printable(answer.degraded)}")
    took = f"{answer.latency / 1000:.1f} s, the first word after {answer.first_token / 1000:.1f} s"
    tokens = "" if answer.tokens_out is None else f", {answer.tokens_out:,} tokens"
    by = "" if answer.model == EXTRACTIVE else f"{printable(answer.model)}: "
    return [*lines, f"({by}{took}{tokens})"]
