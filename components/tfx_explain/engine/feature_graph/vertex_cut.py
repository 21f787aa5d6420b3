"""The cheapest set of vertices that parts sources from sinks in a small directed graph."""

from __future__ import annotations

import collections
from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

Vertex = TypeVar("Vertex", bound=Hashable)

_Residual = dict[int, dict[int, int]]


def min_vertex_cut(
    edges: Mapping[Vertex, Collection[Vertex]],
    costs: Mapping[Vertex, int],
    sources: Collection[Vertex],
    sinks: Collection[Vertex],
) -> list[Vertex] | None:
    """Vertices through which every path from a source to a sink passes, with the smallest total cost.

    Among cuts of equal cost it is the one nearest to the sinks. Sources and sinks may be cut themselves.

    Args:
        edges: successors by vertex; a vertex may be left out that has none.
        costs: cost by vertex, >= 1; a vertex that is left out cannot be cut.
        sources: where paths start.
        sinks: where paths end.

    Returns:
        The cut, in the order of `costs`; empty if no path leads from a source to a sink; None if no cut has a finite
        cost.

    References:
        Ford, L. and Fulkerson, D. (1956). Maximal flow through a network. Canadian Journal of Mathematics, 8, with
        vertices split in two; shortest augmenting paths by Edmonds, J. and Karp, R. (1972), Journal of the ACM, 19(2).
    """
    vertices = list(dict.fromkeys([*costs, *edges, *(v for to in edges.values() for v in to), *sources, *sinks]))
    number = {vertex: index for index, vertex in enumerate(vertices)}
    infinite = sum(costs.values()) + 1
    # Vertex i is the edge 2i -> 2i + 1, which holds its cost.
    start, end = 2 * len(vertices), 2 * len(vertices) + 1
    residual: _Residual = collections.defaultdict(dict)

    def connect(tail: int, head: int, capacity: int) -> None:
        residual[tail][head] = capacity
        residual[head].setdefault(tail, 0)

    for vertex, index in number.items():
        connect(2 * index, 2 * index + 1, costs.get(vertex, infinite))
    for vertex, successors in edges.items():
        for successor in successors:
            connect(2 * number[vertex] + 1, 2 * number[successor], infinite)
    for vertex in sources:
        connect(start, 2 * number[vertex], infinite)
    for vertex in sinks:
        connect(2 * number[vertex] + 1, end, infinite)
    total = 0
    while path := _shortest_path(residual, start, end):
        flow = min(residual[tail][head] for tail, head in path)
        total += flow
        if total >= infinite:
            return None
        for tail, head in path:
            residual[tail][head] -= flow
            residual[head][tail] += flow
    reaching = _reaching(residual, end)
    return [v for v in costs if 2 * number[v] not in reaching and 2 * number[v] + 1 in reaching]


def _shortest_path(residual: _Residual, start: int, end: int) -> list[tuple[int, int]]:
    came_from = {start: start}
    queue = collections.deque([start])
    while queue and end not in came_from:
        tail = queue.popleft()
        for head, left in residual[tail].items():
            if left and head not in came_from:
                came_from[head] = tail
                queue.append(head)
    path = []
    node = end
    while node in came_from and node != start:
        path.append((came_from[node], node))
        node = came_from[node]
    return path


def _reaching(residual: _Residual, end: int) -> set[int]:
    """The nodes from which flow could still reach the end."""
    reached, stack = {end}, [end]
    while stack:
        head = stack.pop()
        for tail in residual[head]:
            if tail not in reached and residual[tail][head]:
                reached.add(tail)
                stack.append(tail)
    return reached
