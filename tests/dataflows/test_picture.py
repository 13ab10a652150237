"""The picture in the README is drawn from the flows as they are."""

from __future__ import annotations

from dataflows.picture import README, with_picture


def test_the_picture_in_the_readme_is_what_the_flows_are() -> None:
    text = README.read_text(encoding="utf-8")
    assert "```mermaid" in text
    assert with_picture(text) == text
