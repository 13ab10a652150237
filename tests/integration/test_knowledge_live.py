"""A day with the knowledge flow: started, edited under, asked, fed by events, stopped, started again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.live import Home, Running, wait_until


def test_what_happens_in_the_folder_happens_in_the_index(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.documents / "fees.md").write_text("# Fees\n\nA suitcase costs 30 euros.\n")
    with Running(home):
        wait_until(lambda: "docs/fees.md" in home.documents_stored(), "the first index")
        assert "30 euros" in str(home.found("suitcase")[0]["text"])

        (home.documents / "fees.md").write_text("# Fees\n\nA suitcase costs 35 euros.\n")
        wait_until(lambda: "35 euros" in str(home.found("suitcase")), "the edit")
        assert "30 euros" not in str(home.found("suitcase"))

        (home.documents / "fees.md").rename(home.documents / "prices.md")
        wait_until(lambda: home.documents_stored() == {"docs/prices.md"}, "the rename")

        (home.documents / "pets.md").write_text("---\naudience: [staff]\n---\n# Pets\n\nA cat flies in the cabin.\n")
        wait_until(lambda: home.found("cat", "--audience", "staff"), "the new page")
        assert "cat" not in str(home.found("cat"))

        (home.documents / "prices.md").unlink()
        wait_until(lambda: home.documents_stored() == {"docs/pets.md"}, "the delete")

    (home.documents / "away.md").write_text("# Away\n\nWritten while nothing ran.\n")
    (home.documents / "pets.md").unlink()
    with Running(home):
        wait_until(lambda: home.documents_stored() == {"docs/away.md"}, "the second start")


def test_events_on_the_log_become_documents_and_broken_ones_can_be_replayed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    good = {"uri": "notice.md", "content": "# Strike\n\nTrains run hourly on Friday."}
    assert home.headrace("log", "append", "documents", stdin=json.dumps(good)).returncode == 0
    (home.documents / "plan.txt").write_bytes(b"broken \xff here")
    with Running(home):
        wait_until(lambda: "documents/notice.md" in home.documents_stored(), "the event")
        wait_until(lambda: "1 in knowledge" in home.headrace("status").stdout, "the dead letter in the status")
        listed = home.headrace("dead-letters", "list").stdout
        assert "docs/plan.txt" in listed

        bad = {"uri": "late.md", "content": "# Late", "content_b64": "eA=="}
        assert home.headrace("log", "append", "documents", stdin=json.dumps(bad)).returncode == 0
        wait_until(lambda: "late.md" in home.headrace("dead-letters", "list").stdout, "the broken event")

        # Handed back unmended, both fail again and wait again; nothing is lost on the way.
        assert "2 dead letters handed back" in home.headrace("dead-letters", "replay", "--all").stdout
        wait_until(lambda: "2 dead letters" in home.headrace("dead-letters", "list").stdout, "both failing again")
        assert "2 dead letters removed" in home.headrace("dead-letters", "discard", "--all").stdout
        assert "0 dead letters" in home.headrace("dead-letters", "list").stdout


def test_a_second_flow_on_the_same_data_says_so_and_the_first_goes_on(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.documents / "a.md").write_text("# A\n\nThe letter a.\n")
    with Running(home):
        wait_until(home.documents_stored, "the first index")
        second = home.headrace("run", "knowledge", "--folder", "docs", "--no-recovery")
        assert second.returncode != 0
        assert "another" in second.stderr or "writer" in second.stderr
        (home.documents / "b.md").write_text("# B\n\nThe letter b.\n")
        wait_until(lambda: "docs/b.md" in home.documents_stored(), "the first flow going on")


def test_a_folder_that_is_not_configured_any_more_can_be_dropped_and_come_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.documents / "a.md").write_text("# A\n\nThe letter a.\n")
    with Running(home):
        wait_until(home.documents_stored, "the first index")
    (tmp_path / "other").mkdir()
    with Running(home, "knowledge", "--folder", "other"):
        wait_until(lambda: "`headrace drop docs` removes them" in (tmp_path / "flow.log").read_text(), "the warning")
    assert home.documents_stored() == {"docs/a.md"}
    dropped = home.headrace("drop", "docs")
    assert dropped.stdout == "1 documents of docs removed\n"
    assert home.documents_stored() == set()
    assert home.headrace("drop", "docs").returncode != 0
    with Running(home):
        wait_until(lambda: home.documents_stored() == {"docs/a.md"}, "its coming back")
