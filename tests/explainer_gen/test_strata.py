"""The plan of slices: who is kept, who is sampled, and weights that make the sample stand for all rows."""

import dataclasses

import numpy as np
import pytest
from tests.explainer_gen.examples_data import serialise

from tfx_explain.config import RequiredSlice, Slices
from tfx_explain.explainer_gen.row_ids import ids_of
from tfx_explain.explainer_gen.sampling import SmallestKeys, identify
from tfx_explain.explainer_gen.strata import SketchSlice, columns_of, plan_slices, sketch_slices

pytestmark = pytest.mark.tf


@dataclasses.dataclass(frozen=True)
class Members:
    keys: tuple
    row: np.ndarray
    slice: np.ndarray


class Assigner:
    """Slices by one int feature, and the overall slice."""

    def __init__(self, values):
        self.values = values

    def assign(self, raw, columns):
        own = columns.columns["g", "i"].values
        names, index = np.unique(own, return_inverse=True)
        keys = ((), *((("g", int(n)),) for n in names))
        rows = np.arange(len(raw))
        return Members(keys, np.concatenate([rows, rows]), np.concatenate([np.zeros_like(rows), 1 + index]))


def batches(groups, size=97, cluster=None):
    raw = [serialise([("n", "i", [i]), ("g", "i", [g]), ("c", "i", [i // 7])]) for i, g in enumerate(groups)]
    return [identify(raw[i : i + size], 0, 0, cluster, Assigner(groups)) for i in range(0, len(raw), size)]


def plan(raw_batches, max_examples, slices, required=()):
    smallest, sketch = SmallestKeys(max_examples + 1), SketchSlice(slices.min_rows_per_slice + 1)
    keys = smallest.merge_accumulators([smallest.add_input(smallest.create_accumulator(), b.keys) for b in raw_batches])
    parts = {}
    for batch in raw_batches:
        for key, part in sketch_slices(batch, slices.min_rows_per_slice + 1):
            parts.setdefault(key, []).append(part)
    joined = {key: sketch.merge_accumulators(p) for key, p in parts.items()}
    counts = {}
    for key, part in joined.items():
        n, rows = counts.get(columns_of(key), (0, 0))
        counts[columns_of(key)] = (n + 1, rows + part.rows)
    wanted = [r for key in joined for r in required if r.matches(key)]
    kept = [(k, v) for k, v in joined.items() if v.rows >= slices.min_slice_size or any(r.matches(k) for r in wanted)]
    kept = sorted(kept, key=lambda item: -item[1].rows)[: slices.max_slices]
    return plan_slices(None, keys, kept, counts.items(), max_examples, slices, required)


def taken(slices, raw_batches):
    """(group of each sampled row, its probability)."""
    groups, probability = [], []
    for batch in raw_batches:
        rows, p = slices.taken(batch)
        own = dict(zip(batch.members.row[len(batch.keys) :], batch.members.slice[len(batch.keys) :], strict=True))
        groups += [batch.members.keys[own[r]][0][1] for r in rows]
        probability += p.tolist()
    return np.array(groups), np.array(probability)


RARE = [0] * 18_000 + [1] * 1_900 + [2] * 100


def test_a_rare_slice_gets_its_rows_and_the_overall_sample_stays():
    found = batches(RARE)
    required = (RequiredSlice(feature_values={"g": 1}), RequiredSlice(feature_values={"g": 2}))
    without, _ = taken(plan(found, 1000, Slices(min_rows_per_slice=0)), found)
    assert len(without) == 1000 and (without == 1).sum() < 150
    slices = plan(found, 1000, Slices(min_rows_per_slice=500), required)
    groups, _ = taken(slices, found)
    assert (groups == 1).sum() >= 500 and (groups == 2).sum() == 100
    assert (groups == 0).sum() == (without == 0).sum()
    assert slices.required == ((("g", 1),), (("g", 2),)) and slices.missing == ()


def test_weights_make_the_sample_stand_for_all_rows():
    """Horvitz-Thompson totals of each slice, averaged over shufflings by other rows, are unbiased."""
    totals = []
    for start in range(40):
        raw = [
            serialise([("n", "i", [start * 10**6 + i]), ("g", "i", [g])])
            for i, g in enumerate([0] * 1800 + [1] * 150 + [2] * 50)
        ]
        found = [identify(raw, 0, 0, None, Assigner(None))]
        groups, probability = taken(plan(found, 200, Slices(min_rows_per_slice=60)), found)
        totals.append([(1 / probability[groups == g]).sum() for g in range(3)])
    mean, error = np.mean(totals, axis=0), np.std(totals, axis=0) / np.sqrt(len(totals))
    assert (np.abs(mean - [1800, 150, 50]) <= 4 * error + 1e-9).all()
    assert error[2] == 0  # taken whole


def test_what_is_not_required_gets_no_more_than_the_sample_again():
    groups = np.random.default_rng(0).integers(0, 100, 20_000).tolist()
    found = batches(groups)
    slices = plan(found, 1000, Slices(min_rows_per_slice=500))
    chosen, _ = taken(slices, found)
    assert 0 < slices.rows_per_slice < 500
    assert 1000 < len(chosen) < 2300
    assert np.bincount(chosen).min() >= slices.rows_per_slice


def test_the_plan_does_not_depend_on_batches():
    a, b = batches(RARE[::3], 1000), batches(RARE[::3], 13)
    settings = Slices(min_rows_per_slice=50)
    assert plan(a, 300, settings) == plan(b, 300, settings)


def test_small_slices_become_a_counted_remainder():
    groups = [0] * 500 + [1] * 300 + list(range(2, 42)) * 5
    found = batches(groups)
    slices = plan(found, 10_000, Slices(min_slice_size=10), (RequiredSlice(feature_values={"g": 7}),))
    assert list(slices.rows.values()) == [500, 300, 5]
    assert slices.small == {("g",): (39, 195)}
    assert slices.names == ("overall", "g=0", "g=1", "g=7", "remainder of g (39 small slices)")
    keys = [(), (("g", 0),), (("g", 7),), (("g", 9),)]
    assert slices.places(keys).tolist() == [0, 1, 3, 4]
    assert slices.keys[4] is None


def test_a_thousand_values_keep_the_plan_small():
    rng = np.random.default_rng(0)
    found = batches(rng.integers(0, 1000, 30_000).tolist(), 1000)
    slices = plan(found, 500, Slices(max_slices=50))
    assert len(slices.rows) == 50 and slices.small[("g",)][0] == 950
    assert sum(slices.rows.values()) + slices.small[("g",)][1] == 30_000


def test_a_required_slice_without_rows_is_named():
    found = batches(RARE[:500])
    slices = plan(found, 100, Slices(), (RequiredSlice(feature_values={"g": 99}),))
    assert slices.missing == ("g=99",)


def test_clusters_are_taken_whole():
    found = batches([0] * 3000, cluster="c")
    slices = plan(found, 700, Slices())
    ids = [(b, r) for b in found for r in slices.taken(b)[0]]
    clusters = np.array([_cluster(b, r) for b, r in ids])
    _, counts = np.unique(clusters, return_counts=True)
    assert (counts[:-1] == 7).all() and 690 <= len(clusters) <= 700


def _cluster(batch, row):
    from tfx_explain.explainer_gen.columns import decode

    return int(decode([batch.raw[row]]).columns["c", "i"].values[0])


def test_every_row_has_probability_one_when_all_are_taken():
    found = batches([0] * 50 + [1] * 30)
    slices = plan(found, 100, Slices())
    groups, probability = taken(slices, found)
    assert len(groups) == 80 and (probability == 1).all()
    assert sorted(i for b in found for i in ids_of(b.keys).tolist()) == sorted(
        i for b in found for i in ids_of(b.keys[slices.taken(b)[0]]).tolist()
    )


@pytest.mark.parametrize("k", [1, 60])
def test_a_sketch_keeps_the_smallest_keys_and_all_counts(k):
    found = batches(RARE[::10], 50)
    sketch = SketchSlice(k)
    parts = [part for b in found for key, part in sketch_slices(b, k) if key == (("g", 0),)]
    forward, backward = sketch.merge_accumulators(parts), sketch.merge_accumulators(parts[::-1])
    assert forward.rows == backward.rows == 1800
    assert forward.keys.tobytes() == backward.keys.tobytes() and len(forward.keys) == k
