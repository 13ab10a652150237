"""Where boxes go: by the graph's distances first, then apart until none touches another. Deterministic."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import networkx as nx

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

N = TypeVar("N", bound=Hashable)
Point = tuple[float, float]
Size = tuple[float, float]

GAP = (34.0, 26.0)
"""Least distance between boxes (px), beside and above each other."""

_AIR = 1.8
_ASPECT = 1.7
_ROUNDS = 600
_FEW = 4
_TOUCH = 0.01  # px


def laid_out(graph: nx.Graph[N], sizes: Mapping[N, Size], width: float) -> tuple[dict[N, Point], Size]:
    """Return the centres of the nodes' boxes, and the size of all of it, which is `width` at most.

    :arg sizes: Width and height of each box; none is wider than `width`.
    """
    groups = sorted((sorted(group, key=repr) for group in nx.connected_components(graph)), key=_first_of_largest)
    placed: dict[N, Point] = {}
    left = top = bottom = right = 0.0
    for group in groups:
        points, (wide, high) = _group(graph.subgraph(group), group, sizes, width)
        if left and left + wide > width:
            left, top = 0.0, bottom + 2 * GAP[1]
        placed.update({node: (left + x, top + y) for node, (x, y) in points.items()})
        right, bottom = max(right, left + wide), max(bottom, top + high)
        left += wide + 2 * GAP[0]
    return placed, (right, bottom)


def _first_of_largest(group: list[Any]) -> tuple[int, str]:
    return -len(group), repr(group[0])


def _group(graph: nx.Graph[N], nodes: list[N], sizes: Mapping[N, Size], width: float) -> tuple[dict[N, Point], Size]:
    import numpy as np

    boxes = np.array([sizes[node] for node in nodes])
    ordered: nx.Graph[N] = nx.Graph()
    ordered.add_nodes_from(nodes)
    ordered.add_edges_from((one, other) for one in nodes for other in nodes if graph.has_edge(one, other))
    found = nx.kamada_kawai_layout(ordered)
    points = _along_x(np.array([found[node] for node in nodes], dtype=np.float64))
    room = float(np.prod(boxes + np.array(GAP), axis=1).sum()) * _AIR
    in_a_row = float((boxes[:, 0] + GAP[0]).sum()) if len(nodes) <= _FEW else 0.0
    wide = min(width, max(float(np.sqrt(room * _ASPECT)), float(boxes[:, 0].max()), in_a_row))
    points = _scaled(points, boxes, (wide, room / wide))
    points = _apart(points, boxes, width)
    low = (points - boxes / 2).min(axis=0)
    high = (points + boxes / 2).max(axis=0)
    points = points - low
    size = high - low
    return {node: (float(x), float(y)) for node, (x, y) in zip(nodes, points, strict=True)}, (
        float(size[0]),
        float(size[1]),
    )


def _along_x(points: Floats) -> Floats:
    """Turn the points so that they spread most from left to right, the first one left and up."""
    import numpy as np

    points = points - points.mean(axis=0)
    if len(points) > 1:
        _, axes = np.linalg.eigh(np.cov(points.T))
        points = np.asarray(points @ axes[:, ::-1])
    signs: Floats = np.where(points[0] > 0, -1.0, 1.0)
    turned: Floats = points * signs
    return turned


def _scaled(points: Floats, boxes: Floats, room: Size) -> Floats:
    import numpy as np

    low, high = points.min(axis=0), points.max(axis=0)
    extent = high - low
    inner = np.maximum(np.array(room) - boxes.max(axis=0), 0.0)
    # A row stays a row: what hardly spreads is not blown up.
    flat = extent < max(extent.max(), 1e-9) * 0.3
    factor = np.where(flat, 0.0, inner / np.where(flat, 1.0, extent))
    scaled: Floats = (points - low) * factor + boxes.max(axis=0) / 2
    return scaled


def _apart(points: Floats, boxes: Floats, width: float) -> Floats:
    """Move boxes out of each other, each the shorter way; what still touches in the end goes below."""
    import numpy as np

    if len(points) == 1:
        return points
    needed = (boxes[:, None, :] + boxes[None, :, :]) / 2 + np.array(GAP)
    order = np.arange(len(points))
    sign = np.where(order[:, None] < order[None, :], -1.0, 1.0)
    for _ in range(_ROUNDS):
        apart = points[:, None, :] - points[None, :, :]
        over = needed - np.abs(apart)
        touching = (over >= _TOUCH).all(axis=2) & ~np.eye(len(points), dtype=bool)
        if not touching.any():
            return points
        ways = np.where(apart == 0, sign[:, :, None], np.sign(apart))
        by_x = over[:, :, 0] / needed[:, :, 0] < over[:, :, 1] / needed[:, :, 1]
        move = np.stack([by_x & touching, ~by_x & touching], axis=2) * over * ways * 0.35
        points = points + move.sum(axis=1)
        points[:, 0] = np.clip(points[:, 0], boxes[:, 0] / 2, width - boxes[:, 0] / 2)
    return _below(points, boxes, needed)


def _below(points: Floats, boxes: Floats, needed: Floats) -> Floats:
    import numpy as np

    order = np.lexsort((points[:, 0], points[:, 1]))
    for number, here in enumerate(order):
        above = order[:number]
        while True:
            over = needed[here, above] - np.abs(points[here] - points[above])
            hit = above[(over >= _TOUCH).all(axis=1)]
            if not len(hit):
                break
            points[here, 1] = float((points[hit, 1] + needed[here, hit, 1]).max())
    return points
