"""Names that every layer shares: plain types, no imports of any framework."""

import json

GATE_NODE_ID = "AttributionValidator"
"""Default id of the gate's node, and what resolvers filter by."""

FeatureName = str
"""A raw feature's name; a cut of several features is named `a x b`."""

SliceKey = tuple[tuple[str, str | int | float], ...]
"""A slice as TFMA has it: (column, value) pairs, sorted by column; the overall slice is `()`."""

OVERALL = "overall"
"""Name of the overall slice."""


def slice_name(key: SliceKey) -> str:
    """A slice as text, such as `company="Flash Cab", trip_start_hour=3`: strings in quotes, numbers as they are."""
    return ", ".join(f"{column}={json.dumps(value, ensure_ascii=False)}" for column, value in key) or OVERALL


PREDICTED = "predicted"
"""The target that is each row's likeliest column."""

FOR_PREDICTIONS = "prediction"
"""Role of the rows that a reference keeps with the predictions of each model that passed."""

NUM_BUCKETS = 64
"""Hash buckets by row id: the unit that intervals draw."""

MAX_CLUSTERED = 256
"""Features of a model at most, so that those whose attributions move together are looked for."""

ITS_CROSSES = " and its crosses"
"""How the name of a feature with all crosses that it is part of ends."""
