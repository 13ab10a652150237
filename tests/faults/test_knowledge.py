"""The knowledge flow, killed again and again, ends with exactly the content of the run that nobody disturbed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from events.documents import DocumentChange
from events.log import LogRecord
from operators.documents.chunk import chunk_document
from operators.documents.parse import media_type_of, parse
from stores.embedders.choose import choose_embedder
from stores.log.files import FileLog
from tests.dataflows.knowledge_content import content
from tests.faults.harness import KILLS, FlowUnderTest, seeded_moments

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"


def knowledge(log: Path, *, processes: int = 1, batch: int = 16) -> FlowUnderTest:
    variables = {
        "HEADRACE_MODE": "replay",
        "HEADRACE_LOG__DIR": str(log),
        "HEADRACE_EMBEDDING__BACKEND": "hashing",
        "HEADRACE_KNOWLEDGE__BATCH_SIZE": str(batch),
    }
    return FlowUnderTest("dataflows.knowledge", content, variables, processes)


def test_two_processes_end_in_the_same_content_as_one(tmp_path: Path) -> None:
    alone = knowledge(STREAMS).run(tmp_path / "one", recovery=False)
    assert alone["documents"]
    assert knowledge(STREAMS, processes=2).run(tmp_path / "two", recovery=False) == alone


@pytest.mark.timeout(600)
def test_the_recorded_stream_survives_kills_in_two_processes(tmp_path: Path) -> None:
    expected = knowledge(STREAMS, batch=4).run(tmp_path / "calm")
    moments = seeded_moments(seed=5, count=KILLS // 3, longest=0.5)
    found, kills = knowledge(STREAMS, processes=2, batch=1).run_killed(tmp_path / "killed", moments)
    assert found == expected
    assert kills > 0


@pytest.mark.realdata("dochist_fastapi_en")
@pytest.mark.timeout(900)
def test_a_real_history_leaves_exactly_its_final_documents(real_data: Path, tmp_path: Path) -> None:
    texts = record_history(real_data, tmp_path / "log")
    found = knowledge(tmp_path / "log", batch=64).run(tmp_path / "calm")
    assert pieces_of(found) == expected_pieces(real_data, texts)

    moments = seeded_moments(seed=11, count=KILLS, longest=1.3)
    killed, kills = knowledge(tmp_path / "log", batch=4).run_killed(tmp_path / "killed", moments)
    assert killed == found
    assert kills == KILLS


def record_history(data: Path, log_dir: Path) -> dict[str, str]:
    """Write the real edits to a stream of document events; return the texts by their hash."""
    with gzip.open(data / "blobs.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {found["blob"]: found["text"] for found in map(json.loads, file)}
    records = []
    with (data / "events.jsonl").open(encoding="utf-8") as file:
        for event in map(json.loads, file):
            path, time = event["path"], event["seq"] * 1000
            if event["op"] == "rename":
                moved = {"uri": event["old_path"], "op": "delete", "moved": path}
                records.append(record(time, moved))
            if event["op"] == "delete":
                records.append(record(time, {"uri": path, "op": "delete"}))
            else:
                moved = {"moved": event["old_path"]} if event["op"] == "rename" else {}
                records.append(record(time, {"uri": path, "content": texts[event["blob"]], **moved}))
    FileLog(log_dir, partitions=4).append("documents", records)
    return texts


def record(time: int, event: dict[str, Any]) -> LogRecord:
    return LogRecord("documents", 0, 0, time, event["uri"].encode(), json.dumps(event).encode())


def pieces_of(found: dict[str, Any]) -> dict[str, list[tuple[tuple[str, ...], str]]]:
    return {
        name: [(tuple(piece[1]), piece[2]) for piece in document["pieces"]]
        for name, document in found["documents"].items()
    }


def expected_pieces(data: Path, texts: dict[str, str]) -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """Chunk the documents that the data set says are there in the end, without any flow."""
    embedder = choose_embedder("hashing", 0)
    expected = {}
    final = json.loads((data / "expected_final_state.json").read_text(encoding="utf-8"))
    for path, blob in final.items():
        media_type = media_type_of(path)
        assert media_type is not None
        change = DocumentChange("documents", path, "upsert", 0, 0, texts[blob].encode(), media_type)
        chunks = chunk_document(parse(change), change.document, embedder.count_tokens, embedder.token_spans)
        expected[change.document] = [(chunk.heading, chunk.text) for chunk in chunks]
    return expected
