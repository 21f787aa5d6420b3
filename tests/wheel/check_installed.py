"""What a container with the wheel must be able to import, by the names that pipelines carry."""

import importlib
import sys

TYPES = ("tfx_explain.ModelAttributions", "tfx_explain.AttributionAnomalies", "tfx_explain.AttributionReference")
EXECUTORS = ("tfx_explain.explainer_gen.executor.Executor", "tfx_explain.attribution_validator.executor.Executor")


def main() -> None:
    """Fails with the name of what cannot be imported."""
    package = importlib.import_module("tfx_explain")
    if "site-packages" not in (package.__file__ or ""):
        raise SystemExit(f"tfx_explain must come from the wheel. Received: {package.__file__}")
    for path in TYPES + EXECUTORS:
        module, name = path.rsplit(".", 1)
        found = getattr(importlib.import_module(module), name)
        if path in TYPES and path != found.TYPE_NAME:
            raise SystemExit(f"{path} must be its own TYPE_NAME. Received: {found.TYPE_NAME}")
    for name in package.__all__:
        getattr(package, name)
    sys.stdout.write(f"wheel: {len(TYPES)} types, {len(EXECUTORS)} executors and {len(package.__all__)} names import\n")


if __name__ == "__main__":
    main()
