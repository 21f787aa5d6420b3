"""Names of the artifacts' custom properties, the format's version, and the engine's.

Values are flat strings and numbers, under 1 KB each. Numbers may come back as doubles.
"""

import importlib.metadata
from typing import Final

FORMAT_VERSION: Final = 3
"""Version of every file format of the artifacts; readers accept it and all older ones.

2 added slices, groups of features, `sum_positive`, and weights by inclusion probability. 3 added methods beside
integrated gradients, models without a gradient, image baselines and class names: an older gate would take them for what
it knows.
"""

# ModelAttributions.
STATUS: Final = "status"
STATUS_EXPLAINED: Final = "explained"
STATUS_NOT_EXPLAINED: Final = "not_explained"
METHOD: Final = "method"
NUM_STEPS: Final = "num_steps"
ROWS: Final = "rows"
FEATURES: Final = "features"
MODEL_FINGERPRINT: Final = "model_fingerprint"
EXAMPLES_FINGERPRINT: Final = "examples_fingerprint"
CONFIG_FINGERPRINT: Final = "config_fingerprint"
ENVIRONMENT_FINGERPRINT: Final = "environment_fingerprint"
COMPARABILITY_DIGEST: Final = "comparability_digest"

# AttributionAnomalies; `blessed` and `gate_id` stand on other artifacts too.
BLESSED: Final = "blessed"
BLOCKING: Final = "blocking"
FIRST_REASON: Final = "first_reason"
GATE_ID: Final = "gate_id"

# AttributionReference.
MODELS: Final = "models"
NEWEST_MODEL: Final = "newest_model"
NEWEST_FINGERPRINT: Final = "newest_fingerprint"
NEWEST_RUN: Final = "newest_run"

# ModelBlessing: Evaluator's own names, so that whatever reads its blessing reads ours.
CURRENT_MODEL: Final = "current_model"
CURRENT_MODEL_ID: Final = "current_model_id"
BASELINE_MODEL: Final = "baseline_model"
BASELINE_MODEL_ID: Final = "baseline_model_id"
GATE_REASON: Final = "gate_reason"

MODEL_ATTRIBUTIONS: Final = (
    STATUS,
    METHOD,
    NUM_STEPS,
    ROWS,
    FEATURES,
    MODEL_FINGERPRINT,
    EXAMPLES_FINGERPRINT,
    CONFIG_FINGERPRINT,
    ENVIRONMENT_FINGERPRINT,
    COMPARABILITY_DIGEST,
)
ATTRIBUTION_ANOMALIES: Final = (BLESSED, BLOCKING, FIRST_REASON, GATE_ID)
ATTRIBUTION_REFERENCE: Final = (GATE_ID, MODELS, NEWEST_MODEL, NEWEST_FINGERPRINT, NEWEST_RUN)
MODEL_BLESSING: Final = (
    BLESSED,
    CURRENT_MODEL,
    CURRENT_MODEL_ID,
    BASELINE_MODEL,
    BASELINE_MODEL_ID,
    GATE_ID,
    GATE_REASON,
)


def engine_version() -> str:
    """Package and format version, e.g. `0.1.0+format.3`: what TFX's cache key cannot see of our code."""
    return f"{importlib.metadata.version('tfx-explain')}+format.{FORMAT_VERSION}"
