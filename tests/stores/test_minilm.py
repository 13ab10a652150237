"""The packaged model's identity, and how texts are cut into batches."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stores.embedders.minilm import batches, identity, model_dir, weights_version
from stores.embedders.openvino import read_weights
from stores.embedders.sentence import multiplies_bf16


@given(st.lists(st.integers(0, 3000), max_size=300))
def test_batches_hold_every_text_once_and_keep_their_bounds(lengths: list[int]) -> None:
    cut = list(batches(lengths))
    assert sorted(place for batch in cut for place in batch) == list(range(len(lengths)))
    for batch in cut:
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or (len(batch) <= 64 and len(batch) * longest <= 2048)
    flat = [lengths[place] for batch in cut for place in batch]
    assert flat == sorted(lengths, reverse=True)


def test_the_version_follows_the_weights(tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "same").write_bytes(content)
    (tmp_path / "other header").write_bytes(b"x" + content[1:])
    (tmp_path / "longer").write_bytes(content + b"x")
    (tmp_path / "other weights").write_bytes(content[:500_000] + os.urandom(500_000))
    versions = {path.name: weights_version(path) for path in tmp_path.iterdir()}
    assert versions["a"] == versions["same"]
    assert len(set(versions.values())) == 4
    assert identity().version == weights_version(model_dir() / "model.safetensors")


def test_weights_are_read_as_the_safetensors_library_reads_them() -> None:
    from safetensors.numpy import load_file

    path = model_dir() / "model.safetensors"
    theirs = {name: tensor for name, tensor in load_file(path).items() if tensor.dtype == np.float32}
    ours = read_weights(path)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], tensor) for name, tensor in theirs.items())


def test_bfloat16_is_used_only_where_the_processor_says_so(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n")
    assert multiplies_bf16(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu amx_bf16 amx_tile\n")
    assert multiplies_bf16(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx512f avx512_vnni\n")
    assert not multiplies_bf16(cpuinfo)
    assert not multiplies_bf16(tmp_path / "missing")
