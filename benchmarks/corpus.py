"""Markdown files and edits of them that are the same wherever and whenever they are made from the same seed.

Every file carries one `mark-…` word, so that counting the marks in a store tells how many files it holds; every
edit brings one `token-…` word that nothing else contains, so that finding it proves that the edit was taken in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

SECTIONS = 8
"""Sections of a file; with the paragraphs below, about 600 words."""

MARK = "mark-"
"""What the one word begins with that every file has once."""

_PARAGRAPHS = (1, 2)
_SENTENCES = (2, 5)
_CLAUSES = (1, 3)
_FILES_PER_FOLDER = 50


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_OPENERS = _words("the a this that every each one another our your any no their its")
_NOUNS = _words(
    "account agent airport archive arrival baggage balance bank booking border bridge budget cabin calendar captain "
    "carrier case change charge city claim coach coast company connection contract corridor counter country coupon "
    "crew customer date deck delay delivery departure deposit desk detail dinner discount district door driver engine "
    "event exchange family fare ferry field flight floor folder form gate group guest guide harbour holiday hotel hour "
    "house information insurance invoice island journey kitchen lake letter level library licence line list lobby "
    "luggage machine manager map market meal meeting member message meter method mile minute month morning mountain "
    "museum network night notice number offer office operator option order package park partner passenger passport "
    "payment period person phone place plan platform point policy port price process programme question queue rail "
    "range rate reason receipt record refund region report request reservation resort result return review river road "
    "room route rule safety sale schedule screen sea season seat section service ship shop signal site south staff "
    "stage station status stop storm street summer supplier surface system table tariff tax team term terminal ticket "
    "time tour tower town track trade traffic train transfer traveller tunnel valley value vehicle view village visa "
    "visitor voucher warehouse water weather week weekend window winter world year zone"
)
_VERBS = _words(
    "accepts adds allows answers applies arranges asks becomes begins brings builds calls carries causes changes "
    "checks closes collects compares confirms connects contains continues copies counts covers creates crosses cuts "
    "decides delays delivers describes draws drives ends enters explains fills finds finishes follows forms gathers "
    "gives grows handles helps holds includes issues joins keeps knows leads learns leaves lends lifts limits lists "
    "makes marks meets mentions moves names needs notes offers opens orders passes pays plans posts prepares prints "
    "protects proves provides publishes raises reaches reads receives records reduces remains removes repairs replaces "
    "reports requires reserves returns saves sees sells sends serves sets shows signs solves sorts starts states stops "
    "stores supports takes tells tests trusts turns updates uses visits waits warns watches writes"
)
_ADJECTIVES = _words(
    "able active annual available basic bright broad busy careful central cheap clean clear closed cold common "
    "complete correct current daily deep direct double early easy empty exact external extra fair familiar fast final "
    "first flexible foreign free fresh full general gentle good great happy heavy helpful high honest important "
    "internal joint large last late legal light little local long low main major medium modern monthly narrow natural "
    "near new next northern official old only open ordinary original plain pleasant polite popular possible private "
    "proper public quick quiet rare ready real recent regional regular reliable remote right round safe second secure "
    "separate serious several short silent similar simple single slow small smooth solid southern special stable "
    "standard steady strong sudden sure tall third thick tidy total usual valid warm weekly western wide wild young"
)
_JOINERS = _words("and but while because before after when unless although so until since where if")


class Edit(msgspec.Struct, frozen=True):
    """One save: the file, its whole new content, and the word that is in no earlier one.

    :arg path: Relative to the corpus, with `/`.
    :arg token: Such as `token-000042`.
    :arg paragraph: The paragraph that carries the token.
    :arg content: The file as it is to be saved.
    """

    path: str
    token: str
    paragraph: str
    content: str


class Corpus:
    """So many files, made from a seed, and their edits. Edits change the corpus: later ones build on earlier ones."""

    def __init__(self, files: int, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._blocks = {_path(number): self._document(number) for number in range(files)}
        self._edits = 0

    def files(self) -> dict[str, str]:
        """Return each file's relative path and present content."""
        return {path: _markdown(blocks) for path, blocks in self._blocks.items()}

    def write(self, folder: Path) -> None:
        """Write all files below `folder`."""
        for path, content in self.files().items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8", newline="\n")

    def edits(self, count: int) -> Iterator[Edit]:
        """Yield `count` edits, each replacing one paragraph of one file; no file twice before all had their turn."""
        order: list[str] = []
        for _ in range(count):
            if not order:
                order = sorted(self._blocks)
                self._random.shuffle(order)
            yield self._edit(order.pop())

    def _edit(self, path: str) -> Edit:
        blocks = self._blocks[path]
        # The mark of the file stays: it is in the last block, which no edit touches.
        places = [place for place, block in enumerate(blocks[:-1]) if not block.startswith("#")]
        token = f"token-{self._edits:06d}"
        self._edits += 1
        sentences = self._paragraph().split(". ")
        sentences.insert(self._random.randint(0, len(sentences) - 1), f"{self._clause().capitalize()} under {token}")
        paragraph = ". ".join(sentences)
        blocks[self._random.choice(places)] = paragraph
        return Edit(path, token, paragraph, _markdown(blocks))

    def _document(self, number: int) -> list[str]:
        blocks = [f"# {self._title()}"]
        for _ in range(SECTIONS):
            blocks.append(f"## {self._title()}")
            blocks.extend(self._paragraph() for _ in range(self._random.randint(*_PARAGRAPHS)))
        blocks.append(f"{self._sentence()} Filed under {_mark(number)}.")
        return blocks

    def _title(self) -> str:
        return f"{self._random.choice(_ADJECTIVES)} {self._random.choice(_NOUNS)} {self._random.choice(_NOUNS)}".title()

    def _paragraph(self) -> str:
        return " ".join(self._sentence() for _ in range(self._random.randint(*_SENTENCES)))

    def _sentence(self) -> str:
        words = self._clause()
        for _ in range(self._random.randint(*_CLAUSES) - 1):
            words += f" {self._random.choice(_JOINERS)} {self._clause()}"
        return f"{words.capitalize()}."

    def _clause(self) -> str:
        pick = self._random.choice
        return f"{pick(_OPENERS)} {pick(_ADJECTIVES)} {pick(_NOUNS)} {pick(_VERBS)} {pick(_OPENERS)} {pick(_NOUNS)}"


def _mark(number: int) -> str:
    return f"{MARK}{number:06d}"


def _path(number: int) -> str:
    return f"shelf-{number // _FILES_PER_FOLDER:03d}/file-{number:05d}.md"


def _markdown(blocks: list[str]) -> str:
    return "\n\n".join(blocks) + "\n"
