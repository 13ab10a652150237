"""What of a request does not fit, in words that need no knowledge of this program: what is wrong, and what would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.http.shapes import FORMS

_SAID = {
    "missing": "it is missing",
    "extra_forbidden": "there is no field of this name",
    "string_type": "it is no text",
    "int_type": "it is no whole number",
    "int_parsing": "it is no whole number",
    "int_from_float": "it is no whole number",
    "float_type": "it is no number",
    "float_parsing": "it is no number",
    "bool_type": "it is neither true nor false",
    "bool_parsing": "it is neither true nor false",
    "list_type": "it is no list",
    "model_type": "it is no object",
    "model_attributes_type": "it is no object",
    "dict_type": "it is no object",
    "string_too_short": "it is shorter than {min_length} characters",
    "string_too_long": "it is longer than {max_length:,} characters",
    "too_short": "it has fewer than {min_length} entries",
    "too_long": "it has more than {max_length:,} entries",
    "greater_than_equal": "it is less than {ge:,}",
    "greater_than": "it is not more than {gt:,}",
    "less_than_equal": "it is more than {le:,}",
    "less_than": "it is not less than {lt:,}",
    "literal_error": "it is none of: {expected}",
    "union_tag_invalid": "it is none of: {expected_tags}",
    "union_tag_not_found": "its {discriminator} is missing",
}
"""By the type that pydantic gives an error, with its context."""


def misfit(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in a few words, with its place."""
    place = ".".join(str(part)[:100] for part in error["loc"])
    context = error.get("ctx") or {}
    if error["type"] == "string_pattern_mismatch" and context.get("pattern") in FORMS:
        return f"{place}: {FORMS[context['pattern']]}"
    said = _SAID.get(error["type"])
    if said is None:
        message = str(error["msg"]).removeprefix("Value error, ")
        return f"{place}: {message[:1].lower()}{message[1:]}"
    return f"{place}: {said.format_map(context)}"
