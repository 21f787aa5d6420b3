import numpy as np
import pytest
from tests.engine.aggregates.block_data import block

from tfx_explain.engine.aggregates.buckets import Rows, accumulate
from tfx_explain.engine.aggregates.groups import GroupStatistics, group_shares, present_groups
from tfx_explain.engine.aggregates.intervals import bucket_draws

DRAWS = bucket_draws(11)
ONE = np.ones((1, 64))


def shares(a: np.ndarray, groups: dict[str, tuple[str, ...]], weight: np.ndarray | None = None) -> np.ndarray:
    rows, features = block(a, weight=weight), tuple("abcdefgh"[: a.shape[1]])
    statistics = accumulate(features, (2,) * len(features), rows, 1.0)
    return group_shares(GroupStatistics.of(tuple(groups.items()), features, rows), statistics, ONE)[0]


def test_a_leak_in_two_copies_has_its_whole_share():
    rng = np.random.default_rng(0)
    leak, other, w = 8 * rng.normal(size=500), rng.normal(size=500), rng.integers(1, 4, 500).astype(float)
    whole = shares(np.stack([leak, other], axis=1), {"leak": ("a",)}, w)
    halves = shares(np.stack([leak / 2, other, leak / 2], axis=1), {"leak": ("a", "c"), "half": ("a",)}, w)
    assert halves[0] == pytest.approx(whole[0], abs=1e-7)
    assert halves[1] == pytest.approx(whole[0] / 2, abs=1e-7)


def test_opposite_signs_cancel():
    x = np.random.default_rng(1).normal(size=400)
    rows = block(np.stack([3 * x, -x, x], axis=1))
    groups = GroupStatistics.of((("g", ("a", "b")), ("h", ("a", "c"))), ("a", "b", "c"), rows)
    statistics = accumulate(("a", "b", "c"), (2, 2, 2), rows, 1.0)
    np.testing.assert_allclose(group_shares(groups, statistics, DRAWS), [[2 / 5, 4 / 5]] * len(DRAWS), rtol=1e-6)
    joint, apart = groups.sum_joint.sum(axis=0), groups.sum_apart.sum(axis=0)
    np.testing.assert_allclose(joint / apart, [0.5, 1.0], atol=1e-6)


def test_a_group_of_one_is_the_feature_and_a_group_of_all_is_one():
    a = np.abs(np.random.default_rng(2).normal(size=(300, 3)))
    got = shares(a, {"one": ("b",), "all": ("a", "b", "c")})
    assert got == pytest.approx([a[:, 1].sum() / a.sum(), 1.0], rel=1e-6)


def test_groups_may_share_members():
    a = np.ones((50, 3))
    assert shares(a, {"g": ("a", "b"), "h": ("b", "c")}) == pytest.approx([2 / 3, 2 / 3])


def test_parts_add_up_and_join_to_the_whole():
    rows, groups = block(np.random.default_rng(3).normal(size=(400, 3))), (("g", ("a", "c")),)
    whole = GroupStatistics.of(groups, ("a", "b", "c"), rows)
    early = np.arange(400) < 130
    fields = {k: v for k, v in vars(rows).items() if isinstance(v, np.ndarray) and not k.startswith("failed")}
    parts = [
        GroupStatistics.of(groups, ("a", "b", "c"), Rows(**(vars(rows) | {k: v[chosen] for k, v in fields.items()})))
        for chosen in (early, ~early)
    ]
    added = parts[0] + parts[1]
    np.testing.assert_allclose(added.sum_joint, whole.sum_joint, rtol=1e-12)
    np.testing.assert_allclose(added.sum_apart, whole.sum_apart, rtol=1e-12)
    joined = GroupStatistics.join({b: whole.bucket(b) for b in reversed(range(64))})
    assert joined.sum_joint.tobytes() == whole.sum_joint.tobytes()
    assert joined.sum_apart.tobytes() == whole.sum_apart.tobytes()


def test_without_attribution_there_is_no_share():
    assert np.isnan(shares(np.zeros((20, 2)), {"g": ("a", "b")})).all()
    assert shares(np.ones((20, 2)), {}).shape == (0,)


def test_members_that_the_model_does_not_use_are_left_out_knowingly():
    groups = (("g", ("a", "gone")), ("h", ("gone",)))
    assert present_groups(groups, {"a", "b"}) == (("g", ("a",)),)
    with pytest.raises(ValueError, match="members of group 'g' must be attributed.*'gone'"):
        GroupStatistics.of(groups, ("a", "b"), block(np.ones((5, 2))))


@pytest.mark.parametrize("members", [(), ("a", "a")])
def test_a_group_without_distinct_members_is_refused(members):
    with pytest.raises(ValueError, match="distinct members"):
        GroupStatistics.of((("g", members),), ("a",), block(np.ones((5, 1))))


def test_statistics_of_other_groups_do_not_add():
    with pytest.raises(ValueError, match="other groups"):
        _ = GroupStatistics.empty((("g", ("a",)),)) + GroupStatistics.empty((("g", ("b",)),))
