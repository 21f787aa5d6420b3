"""Weight randomisation of every method on the wheel's taxi model and on scikit-learn's digits: the model or the data?

    .venv/bin/python -m benchmarks.sanity

Prints the mean rank correlation of the features of 64 rows (of the digits: of each row's pixels) with the trained
model's ranking, as its weights are drawn anew from the output on, and at the end that of sizes alone. Integrated
gradients, expected gradients and gradient x input must come below the bound, else the command fails. Gradient and
SmoothGrad are printed beside them: their norms carry the scale of each feature's cut tensor, whatever the weights, so
they do not rank features of a tabular model. Pixels are of one scale: there every method must come below the bound.
Sizes of products with x - b keep the image's outline whatever the network is.

References:
    Adebayo et al. 2018, Sanity Checks for Saliency Maps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.fixtures.exported_models.export import export

from tfx_explain.config import METHODS, ExplainConfig
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.sanity_check import MAX_SIMILARITY, sanity_check

RESULT = Path(__file__).parent / "results" / "sanity.json"
ROWS, DRAWS = 64, 4
MODELS = {"taxi": ExplainConfig(), "digit_floats": ExplainConfig(elements={"features": ["image"]})}


def main() -> int:
    """Runs every method on every model and writes the result."""
    record: dict[str, Any] = {"rows": ROWS, "draws": DRAWS, "bound": MAX_SIMILARITY, "models": {}}
    failed = False
    for name, config in MODELS.items():
        exported = export(name)
        spec = JobSpec(model_path=exported.path, config=config)
        record["models"][name] = []
        for result in sanity_check(spec, exported.examples[:ROWS], METHODS, DRAWS):
            record["models"][name].append(result.to_dict())
            cascade = " ".join(f"{value:.2f}" for value in result.similarity)
            by_scale = not result.signed and result.feature is None
            verdict = "passed" if result.passed else "ranks by scale" if by_scale else "FAILED"
            failed |= not result.passed and not by_scale
            sys.stdout.write(
                f"{name:<13} {result.ranked:<20} {result.method:<22} {cascade}   sizes {result.size_similarity[-1]:.2f}"
                f"   {verdict} (at most {MAX_SIMILARITY})\n"
            )
            sys.stdout.flush()
    RESULT.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
