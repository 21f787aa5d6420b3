"""What was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.engine.compare import TOLERANCE

TITLES = {
    "torch_loop": "bare torch loop",
    "captum": "Captum",
    "alibi": "alibi",
    "xplique": "Xplique",
    "saliency": "PAIR saliency",
    "shap": "SHAP GradientExplainer",
}
NETWORKS = {
    "small": "30 numbers, 64-64, ReLU",
    "medium": "200 numbers, 3 x 256, ReLU",
    "wide": "10,000 words embedded, and 10 numbers",
    "cnn": "28 x 28 image, two convolutions",
    "swish": "log1p of 30 numbers, 64-64, swish",
    "taxi": "TFX's taxi example, behind Transform",
}
RULES = {
    "torch_loop": "Gauss-Legendre",
    "captum": "Gauss-Legendre",
    "alibi": "Gauss-Legendre",
    "xplique": "trapezoid",
    "saliency": "mean with both ends",
    "shap": "uniform draws",
}


def page(results: Mapping[str, Any]) -> str:
    """The whole page: the engine and its bound, the peers, what did not run, the environment."""
    models = results["models"]
    environment = results["environment"]
    missing = _not_run(models)
    parts = [
        "# The engine beside its bound and its peers\n",
        f"CPU microseconds a row, {environment['steps']} nodes, {environment['threads']} thread(s) a process, medians "
        f"of {environment['rounds']} rounds in which all took turns. Made by `make bench-engine`; what the columns "
        "mean is in `benchmarks/README.md`.\n",
        "## In short\n",
        "How many times faster the engine is, at 50 nodes; the last column at as few nodes as leave it as complete as "
        "the fastest library.\n",
        _short_table(models),
        "## The engine and its bound\n",
        _engine_table(models),
        "## The peers\n",
        _peer_table(models),
        "Fastest library by model, the loop without one, and how many times faster ours is: "
        + "; ".join(_fastest(models) or ["none ran"])
        + ".\n",
    ]
    if missing:
        parts += ["## Not run\n", "\n".join(f"- {line}" for line in missing) + "\n"]
    versions = "; ".join(
        f"{name}: " + ", ".join(f"{package} {version}" for package, version in sorted(found.items()))
        for name, found in sorted(environment["versions"].items())
    )
    parts.append(f"{environment['cpus']} CPUs. {versions}.\n")
    return "\n".join(parts)


def wrong(results: Mapping[str, Any]) -> list[str]:
    """Sentences on what must not be: attributions that differ, or no peer that was compared."""
    sentences = []
    compared = 0
    for model, found in results["models"].items():
        differences = {"its bound": found.get("bound_difference")}
        differences |= {TITLES[name]: peer.get("difference") for name, peer in found["peers"].items()}
        for name, apart in differences.items():
            if apart is None:
                continue
            compared += name != "its bound"
            if not apart["equal"]:
                sentences.append(
                    f"{model}: {name} and the engine must agree to {TOLERANCE:g} of the row's summed absolute "
                    f"attribution at the same rule. Received: {apart['largest_without_kinks']:.2g} "
                    f"({apart['rows_wrong']} of {apart['rows']} rows)"
                )
    if not compared:
        sentences.append("at least one peer must have been compared. Received: none")
    return sentences


def _engine_table(models: Mapping[str, Any]) -> str:
    header = (
        "model",
        "rows",
        "bound",
        "by XLA",
        "ours",
        "by XLA",
        "plain",
        "bound / ours",
        "encode",
        "with repair",
        "unconverged, before and after",
        "fixed nodes for as few",
        "their cost",
    )
    lines = []
    for name, found in models.items():
        us, repair = found["us"], found["repair"]
        fixed = repair["fixed_steps"]
        lines.append(
            (
                name,
                f"{found['rows']:,}",
                _us(us["bound"]),
                "yes" if found["bound"]["xla"] else "no",
                _us(us["ours"]),
                "yes" if found["compiled"] else "no",
                _us(us["plain"]),
                f"{found['ratio_to_bound']:.2f}",
                _us(us["encode"]),
                _us(repair["us"]),
                f"{repair['unconverged_at_first']:.2%}, {repair['unconverged']:.2%}",
                "none tried" if fixed is None else str(fixed),
                "-" if fixed is None else _us(repair["fixed_us"]),
            )
        )
    return _table(header, lines)


def _short_table(models: Mapping[str, Any]) -> str:
    """What the README shows."""
    header = ("network", "us a row", "plain", "bound", *TITLES.values(), "fastest library, as complete")
    lines = []
    for model, found in models.items():
        ran = {name: peer for name, peer in found["peers"].items() if "not_run" not in peer}
        libraries = {name: peer for name, peer in ran.items() if name != "torch_loop"}
        at_error = "-"
        if libraries:
            fastest = min(libraries, key=lambda name: libraries[name]["us"])
            at_error = f"{TITLES[fastest]}, {_at_error(libraries[fastest]['at_its_error'])}"
        times = [_times(ran[name]["times_faster"]) if name in ran else "-" for name in TITLES]
        own = found["us"]["ours"], found["us"]["plain"]
        lines.append((NETWORKS.get(model, model), *map(_us, own), f"{found['ratio_to_bound']:.2f}", *times, at_error))
    return _table(header, lines)


def _peer_table(models: Mapping[str, Any]) -> str:
    header = (
        "model",
        "peer",
        "its rule",
        "cost",
        "ours is faster",
        "at its error",
        "completeness error, median / p99",
        "ours",
        "largest difference at its rule",
        "rows at kinks",
        "equal",
    )
    lines = []
    for model, found in models.items():
        ours = _error(found["completeness"]["ours"])
        if found.get("bound_difference"):
            apart = found["bound_difference"]
            error = _error(found["completeness"]["bound"])
            cost = (_us(found["us"]["bound"]), f"{found['ratio_to_bound']:.2f} x", "-")
            lines.append((model, "bound", "Gauss-Legendre", *cost, error, ours, *_apart(apart)))
        for name, peer in found["peers"].items():
            if "not_run" in peer:
                lines.append((model, TITLES[name], RULES[name], "not run", *["-"] * 7))
                continue
            cost = (_us(peer["us"]), f"{peer['times_faster']:.1f} x", _at_error(peer["at_its_error"]))
            error = _error(peer["completeness"])
            lines.append((model, TITLES[name], RULES[name], *cost, error, ours, *_apart(peer["difference"])))
    return _table(header, lines)


def _apart(apart: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        f"{apart['largest']:.1e}",
        f"{apart['rows_at_kinks']} of {apart['rows']:,}",
        "yes" if apart["equal"] else f"no: {apart['rows_wrong']} rows",
    )


def _at_error(found: Mapping[str, Any] | None) -> str:
    return "never" if found is None else f"{found['times_faster']:.1f} x, {found['steps']} nodes"


def _fastest(models: Mapping[str, Any]) -> list[str]:
    out = []
    for model, found in models.items():
        ran = {name: peer for name, peer in found["peers"].items() if "not_run" not in peer}
        loop = ran.pop("torch_loop", None)
        named = [(name, ran[name]) for name in sorted(ran, key=lambda name: ran[name]["us"])[:1]]
        if loop is not None:
            named.append(("torch_loop", loop))
        best = [
            f"{TITLES[name]}, {peer['times_faster']:.1f} x (at its error {_at_error(peer['at_its_error'])})"
            for name, peer in named
        ]
        if best:
            out.append(f"{model}: {' and '.join(best)}")
    return out


def _not_run(models: Mapping[str, Any]) -> list[str]:
    return [
        f"{TITLES[name]} on {model}: {peer['not_run']}"
        for model, found in models.items()
        for name, peer in found["peers"].items()
        if "not_run" in peer
    ]


def _times(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _us(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _error(found: Mapping[str, float]) -> str:
    return f"{found['median']:.1e} / {found['p99']:.1e}"


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)) + "\n"
