"""Pins: what must stay the same for two models' attributions to be comparable."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfx_explain.engine.aggregates.bins import FeatureBins

Values = tuple[str, tuple[float | int | bytes, ...]]
"""(kind, values) of one raw feature; kind is `i`, `f` or `b`."""

PINS_FILE = "pins.json"
PINNED_ROWS_FILE = "pinned_rows.parquet"
_NAMED = 3
_CLUSTER_KEY = "cluster_key"
_ADDED = ("signature", "preprocessing_function", "label")
"""Settings that the first artifacts and references lack."""


@dataclasses.dataclass(frozen=True)
class Pins:
    """Settings and data that a reference hands on to every later model.

    Attributes:
      settings: `signature`, `preprocessing_function`, `unit`, `output`, `num_targets`, `link`, `target`, `method`,
        `splits`: what is explained; `label` where each row's own class is, `background` with expected gradients,
        `smoothgrad` with that method, `example_weight_key` where rows have weights, `cluster_key` where rows depend on
        each other.
      input_baseline: raw value of each feature.
      bins: value bins of each raw feature.
      cut_policies: where each attributed feature's path is walked.
      histogram_unit: total mean |attribution| that attribution histograms are measured in; 0 when unknown.
      image_baselines: of images whose path does not begin at their raw value: `black`, or `blur` with its sigma.
    """

    settings: Mapping[str, Any]
    input_baseline: Mapping[str, Values]
    bins: Mapping[str, FeatureBins]
    cut_policies: Mapping[str, str]
    histogram_unit: float
    image_baselines: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON."""
        data = {
            "settings": dict(self.settings),
            "input_baseline": {
                name: {
                    "kind": kind,
                    "values": [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in values],
                }
                for name, (kind, values) in self.input_baseline.items()
            },
            "bins": {name: bins.to_dict() for name, bins in self.bins.items()},
            "cut_policies": dict(self.cut_policies),
            "histogram_unit": self.histogram_unit,
        }
        if self.image_baselines:
            data["image_baselines"] = dict(self.image_baselines)
        return json.dumps(data, sort_keys=True, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Pins:
        """The inverse of `to_json`."""
        data = json.loads(text)
        return cls(
            settings=data["settings"],
            input_baseline={
                name: (
                    v["kind"],
                    tuple(base64.b64decode(x) if v["kind"] == "b" else x for x in v["values"]),
                )
                for name, v in data["input_baseline"].items()
            },
            bins={name: FeatureBins.from_dict(v) for name, v in data["bins"].items()},
            cut_policies=data["cut_policies"],
            histogram_unit=float(data["histogram_unit"]),
            image_baselines=data.get("image_baselines", {}),
        )

    @property
    def raw_features(self) -> frozenset[str]:
        """What models were attributed to, crosses taken apart.

        One without an input baseline, or without bins, had no value in any sample: its absence is the baseline of every
        later model too, and it keeps its one bin. Else models would not be comparable as soon as a row has it.
        """
        return frozenset(name for feature in self.cut_policies for name in self._raw(feature))

    def _raw(self, feature: str) -> list[str]:
        return [feature] if feature in self.input_baseline or feature in self.bins else feature.split(" x ")

    def feature_digest(self, feature: str) -> str:
        """Digest of what is pinned for one attributed feature; a cross `a x b` covers its parts."""
        names = self._raw(feature)
        return _digest(
            [[n, repr(self.input_baseline.get(n)), self.bins[n].to_dict() if n in self.bins else None] for n in names]
            + [self.cut_policies.get(feature)]
            # Nothing for the other features, so that their digests stay what they are in stored references.
            + [[n, self.image_baselines[n]] for n in names if n in self.image_baselines]
        )

    def digest(self) -> str:
        """One digest over the settings and every attributed feature: the `comparability_digest`."""
        return _digest([dict(self.settings), {f: self.feature_digest(f) for f in self.cut_policies}])

    def differences(self, other: Pins, features: Iterable[str]) -> list[str]:
        """What keeps two sets of pins from being comparable over `features`, in words; empty when they are.

        A cluster_key that the reference `other` lacks is no difference: it moves no number of either, and only makes
        intervals as wide as they should be. One that is given up or replaced makes them narrower without a word. Nor is
        a signature or label of which one side does not tell, as the first did not.
        """
        free = {_CLUSTER_KEY} - {*other.settings}
        free |= {key for key in _ADDED if key not in self.settings or key not in other.settings}
        out = [
            f"{key} ({self.settings.get(key)!r} here, {other.settings.get(key)!r} in the reference)"
            for key in sorted({*self.settings, *other.settings} - free)
            if self.settings.get(key) != other.settings.get(key)
        ]
        moved = [f for f in sorted(features) if self.feature_digest(f) != other.feature_digest(f)]
        return [*out, f"input baseline, value bins or cut policy of {named(moved)}"] if moved else out


def named(features: Sequence[str]) -> str:
    """Features as a sentence names them: the first three, and how many more."""
    if len(features) == 1:
        return f"feature {features[0]!r}"
    listed = ", ".join(map(repr, features[:_NAMED]))
    more = f" and {len(features) - _NAMED} more" if len(features) > _NAMED else ""
    return f"{len(features)} features ({listed}{more})"


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
