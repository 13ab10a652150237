"""Settings of exports for fine-tuning: which answers are good enough, whose they may be, and what is taken out."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias, get_args

from pydantic import Field, field_validator, model_validator

from stores.bounded_patterns import bounded
from stores.sections import Section

_KIND = re.compile(r"[A-Z][A-Z0-9_]{0,30}")
_MOST_CHARACTERS = 1_000_000

Personal: TypeAlias = Literal["email", "phone", "iban", "card", "ip", "known"]
"""What is found by itself; `known`: names and identifiers that the person's conversation or profile tells."""
PERSONAL: tuple[Personal, ...] = get_args(Personal)


class PatternSettings(Section):
    """`[[export.patterns]]`: more that is taken out of texts, such as booking references."""

    name: str = Field(description="what stands in its place: BOOKING becomes [BOOKING_1]")
    pattern: str = Field(description="regular expression; repeats are bounded: {1,40} instead of * or +")
    ignore_case: bool = Field(False, description="whether capital and small letters are the same")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        if not _KIND.fullmatch(value) or value in {kind.upper() for kind in PERSONAL} | {"NAME", "ID"}:
            message = f"{value!r} cannot name a pattern; use capital letters, digits and '_', and a name of its own"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _bounded(self) -> PatternSettings:
        bounded(self.pattern, ignore_case=self.ignore_case)
        return self


class ExportSettings(Section):
    """`[export]`: exports for fine-tuning."""

    min_rating: float = Field(0.75, ge=0, le=1, allow_inf_nan=False, description="of a good answer, from 0 to 1")
    least_gap: float = Field(
        0.5, gt=0, le=1, allow_inf_nan=False, description="by which the two answers of a preference pair differ"
    )
    unrated: bool = Field(False, description="whether chat lines are also made of answers that nobody has rated")
    context: Literal["fresh", "not-stale", "any"] = Field(
        "fresh", description="of answers: known to be fresh, not known to be stale, or whatever it was"
    )
    consent: Literal["given", "assumed"] = Field(
        "given", description="`assumed`: also where nothing was said; who has refused is never exported"
    )
    with_context: bool = Field(
        False, description="whether what the model was shown, tools' results included, stands before the question"
    )
    languages: tuple[str, ...] = Field((), description="only these; default: all")
    applications: tuple[str, ...] = Field((), description="only these; default: all")
    topics: tuple[str, ...] = Field((), description="only these; default: all")
    least_characters: int = Field(2, ge=1, le=_MOST_CHARACTERS, description="of an answer")
    most_characters: int = Field(8_000, ge=1, le=_MOST_CHARACTERS, description="of an answer")
    most_line_characters: int = Field(40_000, ge=1, le=_MOST_CHARACTERS, description="of all messages of a line")
    near_duplicates: float = Field(
        0.8,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="share of word pairs in common above which texts are one; 1: equal texts",
    )
    validation: float = Field(0.1, ge=0, lt=1, allow_inf_nan=False, description="share of persons for validation")
    salt: str = Field(
        "headrace", min_length=1, max_length=200, description="which persons those are; the same salt, the same persons"
    )
    scrub: tuple[Personal, ...] = Field(PERSONAL, description="personal data that placeholders stand for")
    patterns: tuple[PatternSettings, ...] = Field(
        (), max_length=50, description="`[[export.patterns]]`: more that placeholders stand for"
    )
    fields: tuple[str, ...] = Field(
        ("name", "full_name", "first_name", "last_name", "address", "street", "birth_date", "email", "phone"),
        description="fields of profiles whose values are taken out of the person's conversations",
    )
    region: str = Field("", description="country of phone numbers without one, such as DE; default: of [profiles]")

    @field_validator("region")
    @classmethod
    def _known(cls, value: str) -> str:
        if value:
            from phonenumbers import SUPPORTED_REGIONS

            if value not in SUPPORTED_REGIONS:
                message = f"{value!r} is no country; use two capital letters, such as DE"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _sensible(self) -> ExportSettings:
        if self.least_characters > self.most_characters:
            message = "least_characters is more than most_characters"
            raise ValueError(message)
        names = [pattern.name for pattern in self.patterns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"two patterns are named {twice[0]!r}; give each its own name"
            raise ValueError(message)
        return self
