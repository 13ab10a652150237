"""Models that think aloud: what stands between `<think>` and `</think>` at the very beginning is not the answer.

Invariant: how the text is cut makes no difference, and white space before the first word is left out.
"""

from __future__ import annotations

_BEGIN, _END = "<think>", "</think>"


class Thoughts:
    """Takes the thoughts out of one answer."""

    def __init__(self) -> None:
        self._held = ""
        self._is_thinking = False
        self._is_saying = False

    def said(self, text: str) -> str:
        """Return what of the text, and of what was held back before it, belongs to the answer."""
        if self._is_saying:
            return text
        self._held += text
        while not self._is_saying:
            if self._is_thinking:
                _, found, after = self._held.partition(_END)
                if not found:
                    self._held = self._held[-len(_END) :]
                    return ""
                self._is_thinking, self._held = False, after
            self._held = self._held.lstrip()
            if self._held.startswith(_BEGIN):
                self._is_thinking, self._held = True, self._held[len(_BEGIN) :]
            elif _BEGIN.startswith(self._held):
                return ""
            else:
                self._is_saying = True
        return self._held

    def rest(self) -> str:
        """Return what was held back, if it turns out at the end to belong to the answer."""
        return "" if self._is_saying or self._is_thinking else self._held
