"""Names that every layer shares: plain types, no imports of any framework."""

GATE_NODE_ID = "AttributionValidator"
"""Default id of the gate's node, and what resolvers filter by."""

FeatureName = str
"""A raw feature's name; a cut of several features is named `a x b`."""

SliceKey = str
"""A slice as text; the overall slice is `overall`."""

OVERALL: SliceKey = "overall"

NUM_BUCKETS = 64
"""Hash buckets by row id: the unit that intervals draw."""
