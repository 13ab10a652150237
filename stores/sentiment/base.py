"""The ports of sentiment: what a text says, at once by a model at hand, or later by one that has to be asked.

A verdict is a function of the text and of the model that its name identifies, not of the texts beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from events.feedback import Verdict


class Classifier(ABC):
    """Tells at once what texts say. Loading is lazy: constructing it costs nothing but reading its examples."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Name and digest of everything that a verdict depends on; it stands in each verdict."""

    @abstractmethod
    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """Return one verdict for each text, in order. No text: no verdict. May be called by several threads."""


class Judge(ABC):
    """Is asked, and tells later what a text says."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Name and digest of everything that a verdict depends on; it stands in each verdict."""

    @abstractmethod
    def submit(self, text: str) -> Future[Verdict]:
        """Ask for a verdict, without waiting for it. May be called by several threads.

        The future raises RejectedError, with the reason in one line, once the text has been given up. The same text
        may share one future with others.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. What is still open is cancelled; a second time does nothing."""
