"""What permutation importance is expected to cost, on a clock that the steps themselves move on."""

import types

import numpy as np
import pytest

from tfx_explain.config import ExplainConfig
from tfx_explain.engine.aggregates.permuted_rows import PermutedRows
from tfx_explain.explainer_gen import permutation_cost as module
from tfx_explain.explainer_gen.permutation_cost import PermutationCost, permutation_cost
from tfx_explain.explainer_gen.permute import DonorBlock

pytestmark = pytest.mark.pipeline

ROWS, REPEATS = 8, 3
ENCODE, OWN, PAIR, SUM, FINISH = 0.5, 0.25, 0.01, 0.001, 0.125  # seconds: a block twice, a block's item and repeat, ...


def donors():
    number = np.arange(ROWS)
    return DonorBlock(
        index=0,
        raw=[b""] * ROWS,
        payloads={name: (number[:, None].astype(np.float32),) for name in "abcdef"},
        weight=np.ones(ROWS),
        bucket=number,
        label=number % 2.0,
        stratum=None,
        member_row=np.concatenate([number, number[:4]]),  # all of them, and half of them in a slice
        member_place=np.repeat([0, 1], [ROWS, 4]),
    )


@pytest.fixture
def steps(monkeypatch):
    """Steps that take no time but on a clock of their own; what they were asked to do."""
    clock, done = [0.0], []

    def donors_of(*_):
        clock[0] += ENCODE
        return donors()

    def permute(_, block, items, plan, give):
        repeats = plan.repeats
        assert {g.payload.keys() == {items[i][0]} for i in range(len(items)) for g in give(i)} == {True}
        done.append(("permute", [name for name, _ in items], repeats))
        clock[0] += OWN + PAIR * len(items) * repeats
        shape = len(items), repeats, ROWS
        scores, bucket = np.zeros((*shape, 1), np.float32), np.zeros(shape, np.uint8)
        return PermutedRows("regression", bucket[0, 0], np.ones(ROWS), block.label, scores[0, 0], scores, bucket)

    def sum_permuted(element, scale):
        ((place, _), [(_, rows)]) = element
        done.append(("sum", place, len(rows), len(scale.items)))
        clock[0] += SUM * rows.permuted[..., 0].size
        return place, (0, None)

    def finish_permuted(*_):
        clock[0] += FINISH * 6

    for step in (donors_of, permute, sum_permuted, finish_permuted):
        monkeypatch.setattr(module, step.__name__, step)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    return done


def cost(max_slices=20, rows_of_job=80, items="abcdef"):
    config = ExplainConfig.make({"permutation_importance": {"repeats": REPEATS, "max_slices": max_slices}})
    slices = types.SimpleNamespace(keys=((),), required=(), rows={})
    block = types.SimpleNamespace(ids=np.arange(ROWS))
    scale = module.Scale(1.0, 1.0, (), None, tuple(items), tuple((name, (name,)) for name in items), "regression")
    return permutation_cost(None, types.SimpleNamespace(config=config), block, None, slices, scale, rows_of_job)


def test_every_step_is_counted_once_for_what_it_depends_on(steps):
    found = cost()
    assert found.row == pytest.approx((ENCODE + OWN) / ROWS)
    # Half of the rows are summed twice; in the job's number of rows, of which the block has a tenth.
    assert found.pair == pytest.approx(PAIR / ROWS + 1.5 * SUM)
    assert found.item == pytest.approx(FINISH)
    assert [step for step in steps if step[0] == "sum"] == [("sum", 0, 80, 6), ("sum", 1, 40, 6)]
    assert all(repeats == REPEATS for step, _, repeats, *_ in steps if step == "permute")


def test_slices_without_permutations_are_not_summed(steps):
    assert cost(max_slices=0).pair == pytest.approx(PAIR / ROWS + SUM)


def test_a_slow_model_is_timed_on_items_from_all_over(steps, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 3.5 * (OWN + PAIR * REPEATS))
    found = cost()
    assert steps[2] == ("permute", ["a", "c", "f"], REPEATS)
    assert (found.row, found.pair) == pytest.approx(((ENCODE + OWN) / ROWS, PAIR / ROWS + 1.5 * SUM))


def test_nothing_to_permute_costs_nothing(steps):
    assert cost(items="") == PermutationCost()
