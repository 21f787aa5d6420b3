"""The input baseline as raw values: the reference's, the configuration's, StatisticsGen's or the sample's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx_explain.artifacts.pins import Values
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.explainer_gen.profiles import FeatureProfile


def resolve_input_baseline(spec: JobSpec, profiles: Mapping[str, FeatureProfile]) -> tuple[dict[str, Values], str]:
    """(raw value of each feature, where most of it comes from).

    For each feature the first that knows it: the reference, the configuration, StatisticsGen, the sample. One that the
    reference's models used without any value of it stays without (see `Pins.raw_features`).
    """
    sample = {n: (p.kind, p.central) for n, p in profiles.items()}
    given = {n: _typed(n, v, profiles) for n, v in (spec.config.input_baseline or {}).items()}
    pinned = dict(spec.pins.input_baseline) if spec.pins else {}
    known = {n: v for n, v in spec.statistics_baseline.items() if n not in sample or sample[n][0] == v[0]}
    source = "reference" if pinned else "given" if given else "statistics" if known else "sample"
    absent = spec.pins.raw_features if spec.pins else frozenset()
    return {n: v for n, v in (sample | known | given).items() if n not in absent} | pinned, source


def _typed(name: str, value: Any, profiles: Mapping[str, FeatureProfile]) -> Values:
    """A configured value in the kind that the examples have."""
    values = tuple(value) if isinstance(value, tuple) else (value,)
    kind = profiles[name].kind if name in profiles else None
    if kind is None:
        kind = "b" if isinstance(values[0], str) else "f" if isinstance(values[0], float) else "i"
    if kind == "b":
        return kind, tuple(str(v).encode() for v in values)
    if any(isinstance(v, str) for v in values):
        raise ValueError(f"input_baseline of feature {name!r} must be a number. Received: {value!r}")
    return kind, tuple(float(v) if kind == "f" else int(v) for v in values)
