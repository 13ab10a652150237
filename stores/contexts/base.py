"""The port of kept contexts: what a model was shown, byte for byte, by whom it may be seen again, for some time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

import msgspec

from events.feedback import Turn


class KeptContext(msgspec.Struct, frozen=True):
    """A context as it was served.

    :arg person: Whose data may be in it; empty for nobody's. Only that person may see it again.
    :arg audiences: Labels that its documents were chosen for: only who has all of them may see it again.
    :arg key: What tells the key of the application that asked from all others, and from later ones of its name.
    :arg at: When it was assembled (ms since epoch).
    :arg body: The very bytes.
    """

    id: str
    conversation: str
    realm: str
    person: str
    audiences: tuple[str, ...]
    key: str
    at: int
    body: bytes


class Holder(msgspec.Struct, frozen=True):
    """Who a conversation belongs to: only they may add to it, rate it or see it.

    :arg key: What tells the key of the application from all others, and from later ones of its name.
    """

    realm: str
    person: str
    key: str


class ContextStore(ABC):
    """Any number of processes may write and read at once."""

    @abstractmethod
    def keep(self, context: KeptContext) -> None:
        """Keep a context. One of the same id that is there stays as it is."""

    @abstractmethod
    def get(self, id_: str) -> KeptContext | None:
        """Return a context as it was served; None if there is none, or it was let go."""

    @abstractmethod
    def of_conversation(self, conversation: str, limit: int) -> list[KeptContext]:
        """Return up to `limit` contexts of a conversation, newest first."""

    @abstractmethod
    def claim(self, conversation: str, holder: Holder, at: int) -> Holder:
        """Return who a conversation belongs to: whoever claimed it first; from now on `holder`, if nobody did.

        :arg at: When that is: a claim after which nothing is kept grows old, too.
        """

    @abstractmethod
    def holder(self, conversation: str) -> Holder | None:
        """Return who a conversation belongs to; None if nobody has claimed it."""

    @abstractmethod
    def add_turns(self, turns: Sequence[Turn]) -> None:
        """Keep turns of conversations. One that is there stays as it is."""

    @abstractmethod
    def turns(self, conversation: str, limit: int) -> list[Turn]:
        """Return the last `limit` turns of a conversation, in their order."""

    @abstractmethod
    def prune(self, before: int, most_bytes: int) -> int:
        """Let go of contexts and turns from before `before`, and of the oldest until at most `most_bytes` stay.

        Who a conversation belongs to is remembered until nothing of it is left and `before` is past its last.

        :returns: How much went: contexts, turns and claims. A call may let go of a part only; after one that returns 0
            nothing is there that is too old or too much.
        """

    @abstractmethod
    def conversations(self, realm: str, persons: Collection[str]) -> list[str]:
        """Return the ids of the conversations of these persons, sorted: claimed by one, or one is named in them."""

    @abstractmethod
    def held(self, realm: str, persons: Collection[str], conversations: Collection[str]) -> int:
        """Return how many contexts and turns there are of these persons and conversations."""

    @abstractmethod
    def erase(self, realm: str, persons: Collection[str], conversations: Collection[str], ids: Collection[str]) -> int:
        """Remove for good everything of these persons and conversations, in no byte of the file; return how much.

        :arg ids: Further contexts that go.
        :returns: How many contexts and turns went.
        """

    @abstractmethod
    def mentions(self, texts: Collection[str]) -> list[str]:
        """Return the ids of contexts in which any of these texts stands: an erased person's, in somebody else's."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the store. Closing twice does nothing."""
