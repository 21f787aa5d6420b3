import itertools

import numpy as np
import pytest

from tfx_explain.engine.feature_graph.vertex_cut import min_vertex_cut

pytestmark = pytest.mark.tf


def reached(edges, sources, removed):
    """What can be reached from the sources without passing the removed vertices."""
    seen, stack = set(), [v for v in sources if v not in removed]
    while stack:
        vertex = stack.pop()
        if vertex not in seen:
            seen.add(vertex)
            stack.extend(v for v in edges.get(vertex, ()) if v not in removed)
    return seen


def every_cut(edges, costs, sources, sinks):
    for size in range(len(costs) + 1):
        for cut in itertools.combinations(costs, size):
            if not reached(edges, sources, set(cut)) & set(sinks):
                yield set(cut)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_cheapest_and_among_those_the_last(seed):
    rng = np.random.default_rng(seed)
    edges = {v: [w for w in range(v + 1, 9) if rng.random() < 0.4] for v in range(9)}
    costs = {v: int(rng.integers(1, 4)) for v in range(8) if rng.random() < 0.8}
    sources, sinks = [0, 1], [8]
    cut = min_vertex_cut(edges, costs, sources, sinks)
    cuts = list(every_cut(edges, costs, sources, sinks))
    assert (cut is None) == (not cuts)
    if cut is not None:
        price = min(sum(costs[v] for v in other) for other in cuts)
        assert sum(costs[v] for v in cut) == price
        assert set(cut) in cuts
        before = reached(edges, sources, set(cut)) | set(cut)
        for other in cuts:
            if sum(costs[v] for v in other) == price:
                assert reached(edges, sources, other) <= before


def test_a_chain_is_cut_at_its_last_narrowest_vertex():
    edges = {"a": "b", "b": "c", "c": "d", "d": "e"}
    assert min_vertex_cut(edges, {"a": 8, "b": 4, "c": 4, "d": 9}, "a", "e") == ["c"]


def test_two_narrow_vertices_against_one_wide():
    edges = {"raw": ["sum", "max"], "sum": ["end"], "max": ["end"]}
    assert min_vertex_cut(edges, {"raw": 12, "sum": 4, "max": 4}, ["raw"], ["end"]) == ["sum", "max"]
    assert min_vertex_cut(edges, {"raw": 7, "sum": 4, "max": 4}, ["raw"], ["end"]) == ["raw"]


def test_no_path_and_no_cut():
    assert min_vertex_cut({"a": ["b"]}, {"a": 1}, ["a"], ["z"]) == []
    assert min_vertex_cut({"a": ["b"], "b": ["z"]}, {}, ["a"], ["z"]) is None
