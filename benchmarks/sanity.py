"""Weight randomisation of every method on the wheel's taxi model: do attributions follow the model or the data?

    .venv/bin/python -m benchmarks.sanity

Prints the mean rank correlation of the features of 64 rows with the trained model's ranking, as its weights are drawn
anew from the output on. Integrated gradients, expected gradients and gradient x input must come below the bound, else
the command fails. Gradient and SmoothGrad are printed beside them: their norms carry the scale of each feature's cut
tensor, whatever the weights, so they do not rank features of a tabular model.

References:
    Adebayo et al. 2018, Sanity Checks for Saliency Maps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.fixtures.exported_models.export import export

from tfx_explain.config import METHODS, ExplainConfig
from tfx_explain.explainer_gen.job_spec import JobSpec
from tfx_explain.sanity_check import MAX_SIMILARITY, sanity_check

RESULT = Path(__file__).parent / "results" / "sanity.json"
ROWS, DRAWS = 64, 4


def main() -> int:
    """Runs every method and writes the result."""
    taxi = export("taxi")
    spec = JobSpec(model_path=taxi.path, config=ExplainConfig())
    found = []
    for result in sanity_check(spec, taxi.examples[:ROWS], METHODS, DRAWS):
        found.append(result)
        cascade = " ".join(f"{value:.2f}" for value in result.similarity)
        verdict = "passed" if result.passed else "FAILED" if result.signed else "ranks by scale"
        sys.stdout.write(f"{result.method:<22} {cascade}   {verdict} (at most {MAX_SIMILARITY})\n")
        sys.stdout.flush()
    record = {"model": "taxi", "rows": ROWS, "draws": DRAWS, "bound": MAX_SIMILARITY}
    record["methods"] = [result.to_dict() for result in found]
    RESULT.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return int(not all(result.passed for result in found if result.signed))


if __name__ == "__main__":
    sys.exit(main())
