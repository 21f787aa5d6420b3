"""What a pilot finds, on a clock that the job's steps themselves move on."""

import types

import numpy as np
import pytest
from tests.explainer_gen.evidence_data import NAMES, config, planted, write_examples

from tfx_explain.config import Label
from tfx_explain.explainer_gen import pilot as module
from tfx_explain.explainer_gen.explain import ModelExplainer
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.pilot import run_pilot
from tfx_explain.explainer_gen.slicing import Slicing

pytestmark = pytest.mark.pipeline

ROWS, BATCH = 512, 128
IDENTIFY, MAKE, PROFILE, LOAD, EXPLAIN, PARTS, SUM, FINISH, WRITE, MOVE = (2.0**-k for k in range(1, 11))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """512 rows: of three cities one has a twelfth of the rows, and one a 64th."""
    folder = tmp_path_factory.mktemp("pilot")
    rng = np.random.default_rng(0)

    def city(i):
        return "rare" if i % 64 == 5 else "small" if i % 12 == 0 else "large"

    rows = [
        {n: [float(v)] for n, v in zip(NAMES, rng.normal(size=3), strict=True)} | {"y": [i % 2], "city": [city(i)]}
        for i in range(ROWS)
    ]
    return planted(folder / "model", sigmoid=True), write_examples(folder / "rows", rows)


@pytest.fixture
def clock(monkeypatch):
    """Steps that take no time but on a clock of their own."""
    now = [0.0]

    def slow(owner, name, seconds):
        step = getattr(owner, name)

        def slower(*arguments, **named):
            now[0] += seconds
            return step(*arguments, **named)

        monkeypatch.setattr(owner, name, slower)

    for owner, name, seconds in (
        (module, "identify", IDENTIFY),
        (module, "make_block", MAKE),
        (module, "profiles_of", PROFILE),
        (ModelExplainer, "__init__", LOAD),
        (ModelExplainer, "explain", EXPLAIN),
        (module, "slice_parts", PARTS),
        (module, "sum_shard", SUM),
        (module, "finish_slice", FINISH),
        (module, "row_files", WRITE),
    ):
        slow(owner, name, seconds)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def loads(_):
        now[0] += MOVE

    monkeypatch.setattr(module, "pickle", types.SimpleNamespace(dumps=lambda *_: b"", loads=loads, HIGHEST_PROTOCOL=5))


def found(data, **settings):
    model, rows = data
    given = config(batch_size=BATCH, label=Label(key="y"), slices={"min_slice_size": 20}, **settings)
    spec = JobSpec(model, given, Slicing(((("city",), ()),)), None, fingerprint="model")
    return run_pilot(spec, [(0, rows)])


def test_each_step_is_counted_for_what_it_depends_on(data, clock):
    got = found(data)
    rows = 2 * BATCH
    assert got.load_seconds == pytest.approx(IDENTIFY + LOAD + EXPLAIN)
    assert got.identify_seconds == pytest.approx(2 * IDENTIFY / rows)
    assert got.explain_seconds == pytest.approx(2 * EXPLAIN / rows)
    assert got.slice_seconds == pytest.approx(FINISH)
    # All of them and what remains of the cities share a shard, summed over both blocks.
    assert got.aggregate_seconds == pytest.approx((2 * PARTS + SUM) / rows)
    moved = 2 + 2 + 2 + 1  # batches, blocks, what is explained, the shard
    assert got.row_seconds == pytest.approx((2 * MAKE + PROFILE + 2 * WRITE + module._MOVES * moved * MOVE) / rows)


def test_files_that_are_not_written_take_no_time(data, clock):
    difference = found(data).row_seconds - found(data, write_rows=False).row_seconds
    assert difference == pytest.approx(2 * WRITE / (2 * BATCH))


def test_slices_that_are_too_small_in_the_whole_job_are_not_finished(data, clock):
    got = found(data)
    assert got.rows_read == pytest.approx(ROWS, rel=0.02)
    assert got.slices == 3  # all rows, and two of the three cities
    assert found(data, permutation_importance={"repeats": 0, "max_slices": 1}).slices == 3
