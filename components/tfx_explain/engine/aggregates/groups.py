"""Shares of groups of features: what several columns carry together, such as copies of one cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tfx_explain.engine.aggregates.buckets import BucketStatistics, Rows
from tfx_explain.engine.aggregates.intervals import drawn
from tfx_explain.names import NUM_BUCKETS

Group = tuple[str, tuple[str, ...]]
"""A group's name and its members."""


@dataclasses.dataclass(frozen=True)
class GroupStatistics:
    """Sums of one slice over 64 hash buckets by group; two sets of rows are merged by adding.

    Attributes:
      groups: G groups.
      sum_joint: float64 [buckets, G] of w |sum of a over the members|.
      sum_apart: float64 [buckets, G] of w (sum of |a| over the members); never less than `sum_joint`.
    """

    groups: tuple[Group, ...]
    sum_joint: np.ndarray
    sum_apart: np.ndarray

    @classmethod
    def empty(cls, groups: tuple[Group, ...]) -> GroupStatistics:
        """All sums zero."""
        return cls(groups, np.zeros((NUM_BUCKETS, len(groups))), np.zeros((NUM_BUCKETS, len(groups))))

    @classmethod
    def of(cls, groups: tuple[Group, ...], features: Sequence[str], rows: Rows) -> GroupStatistics:
        """Sums one block of explained rows.

        Args:
          groups: members must be among `features`; see `present_groups`.
          features: names of the columns of `rows.attributions`.
          rows: the block.

        Raises:
          ValueError: a group has no member, the same member twice, or one without attributions.
        """
        column = {feature: j for j, feature in enumerate(features)}
        out = cls.empty(groups)
        for g, (name, members) in enumerate(groups):
            if not members or len(set(members)) != len(members):
                raise ValueError(f"a group must have distinct members, at least one. Received: {name!r}: {members}")
            unknown = [m for m in members if m not in column]
            if unknown:
                raise ValueError(
                    f"members of group {name!r} must be attributed features; leave out what the model does not use. "
                    f"Received: {unknown}"
                )
            joint, apart = np.zeros(len(rows.bucket)), np.zeros(len(rows.bucket))
            for member in members:  # one by one: the bits of a row's sum do not depend on the block's shape
                a = rows.attributions[:, column[member]].astype(np.float64)
                joint += a
                apart += np.abs(a)
            for sums, values in ((out.sum_joint, np.abs(joint)), (out.sum_apart, apart)):
                sums[:, g] = np.bincount(rows.bucket, weights=rows.weight * values, minlength=NUM_BUCKETS)
        return out

    def __add__(self, other: GroupStatistics) -> GroupStatistics:
        if self.groups != other.groups:
            raise ValueError(f"statistics of other groups cannot be added. Received: {self.groups} and {other.groups}")
        return GroupStatistics(self.groups, self.sum_joint + other.sum_joint, self.sum_apart + other.sum_apart)

    def bucket(self, index: int) -> GroupStatistics:
        """The sums of one bucket alone: every array keeps its axes, the first of length 1."""
        at = slice(index, index + 1)
        return GroupStatistics(self.groups, self.sum_joint[at], self.sum_apart[at])

    @classmethod
    def join(cls, parts: Mapping[int, GroupStatistics]) -> GroupStatistics:
        """All buckets from single ones by index; a bucket without rows may be absent. At least one is needed."""
        out = cls.empty(next(iter(parts.values())).groups)
        for index, part in parts.items():
            out.sum_joint[index], out.sum_apart[index] = part.sum_joint[0], part.sum_apart[0]
        return out


def present_groups(groups: Sequence[Group], features: Collection[str]) -> tuple[Group, ...]:
    """The groups with those members alone that are among `features`; a group without any is left out."""
    kept = ((name, tuple(m for m in members if m in features)) for name, members in groups)
    return tuple((name, members) for name, members in kept if members)


def group_shares(groups: GroupStatistics, statistics: BucketStatistics, draws: np.ndarray) -> np.ndarray:
    """Share of each group by draw: [D, G].

    sum w |sum of a over the group| over sum w (sum of |a| over all features). A cause that is spread over copies has
    its whole share; members that pull a row both ways cancel. For one feature it is the feature's share. NaN where
    nothing is attributed.

    Args:
      groups: sums by group.
      statistics: of the same rows.
      draws: [D, buckets] of `bucket_draws`.
    """
    total = drawn(draws, statistics.sums["sum_absolute"]).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return drawn(draws, groups.sum_joint) / total
