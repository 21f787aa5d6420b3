"""A diagnosis in sentences: what changed in the model, what in the data, by feature and slice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOTABLE = 0.05
"""A share that changes by less is not spoken of; the share from which the gate asks for approval of a feature."""
_MOST = 3

MODEL, DATA, BOTH, NEITHER, UNKNOWN = "model", "data", "both", "neither", "unknown"


def describe(data: Mapping[str, Any]) -> dict[str, Any]:
    """`changed` (one of `model`, `data`, `both`, `neither`, `unknown`), `headline` and `sentences` of a diagnosis.

    A part counts when it is at least NOTABLE and its interval does not hold 0; in a slice it must have an interval, and
    the slice as many effective rows as the policy asks for (`min_slice_rows`).

    Args:
      data: what diagnosis.json holds beside these three.
    """
    features = data["overall"]["features"]
    moved = [name for name, value in data["moved_inputs"].items() if value is None or value > 1]
    if data["pairs_absent"] is not None:
        headline = (
            "Whether the model or the data changed is not known, since both were not explained on the same rows: "
            f"{_ended(data['pairs_absent'])}"
        )
        sentences = [*_then_and_now(features), _inputs(moved), *_upstream(data)]
        return {"changed": UNKNOWN, "headline": headline, "sentences": sentences}
    if not data["overall"]["paired_rows"]:
        headline = "The model's part cannot be measured: no row was explained by both models for the same target."
        return {"changed": UNKNOWN, "headline": headline, "sentences": [_inputs(moved), *_upstream(data)]}
    model, by_data = notable(features, "model_part"), notable(features, "data_part")
    changed = BOTH if model and by_data else MODEL if model else DATA if by_data else NEITHER
    headline = {
        MODEL: "The model changed, not the data.",
        DATA: "The data changed, not the model.",
        BOTH: "The model changed, and so did the data.",
        NEITHER: f"Neither the model nor the data changed any feature's share by {_percent(NOTABLE)} or more.",
    }[changed]
    sentences = [_model_sentence(f) for f in model[:_MOST]]
    sentences += [_data_sentence(f) for f in by_data[:_MOST]]
    sentences += _signs(data["overall"])
    slices = [entry for entry in data["slices"] if is_large(entry, data)]
    sentences += _slices(slices, {f["name"] for f in model}, {f["name"] for f in by_data})
    sentences += [_inputs(moved), *_unpaired(data["overall"]), *_upstream(data)]
    return {"changed": changed, "headline": headline, "sentences": sentences}


def notable(features: Iterable[Mapping[str, Any]], part: str) -> list[Mapping[str, Any]]:
    """Features whose part is at least NOTABLE, its interval not holding 0; the largest first."""
    found = [f for f in features if _is_notable(f.get(part))]
    return sorted(found, key=lambda f: (-abs(f[part]["value"]), f["name"]))


def _is_notable(part: Mapping[str, Any] | None) -> bool:
    if part is None or part["value"] is None or abs(part["value"]) < NOTABLE:
        return False
    return part["low"] is None or part["high"] is None or part["low"] > 0 or part["high"] < 0


def _model_sentence(feature: Mapping[str, Any]) -> str:
    now, theirs = _percent(feature["share"]["value"]), _percent(feature["reference_share"]["value"])
    if feature["absent_from"] == "reference":
        return (
            f"Model: {feature['name']!r} carries {now} of the attribution; the last model that passed does not use it."
        )
    if feature["absent_from"] == "candidate":
        return f"Model: {feature['name']!r} is not used any more; it carries {theirs} in the last model that passed."
    return f"Model: on the same rows {feature['name']!r} carries {now}, {theirs} in the last model that passed."


def _data_sentence(feature: Mapping[str, Any]) -> str:
    now, then = _percent(feature["reference_share"]["value"]), _percent(feature["reference_share_then"]["value"])
    return f"Data: in the last model that passed {feature['name']!r} carries {now} on today's rows, {then} at its time."


def _then_and_now(features: Sequence[Mapping[str, Any]]) -> list[str]:
    """The largest changes of share, of which either may be the reason."""

    def change(feature: Mapping[str, Any]) -> float:
        now, then = feature["share"]["value"], feature["reference_share_then"]["value"]
        return 0.0 if now is None or then is None else abs(now - then)

    largest = sorted(features, key=lambda f: (-change(f), f["name"]))[:_MOST]
    return [
        f"{f['name']!r} carries {_percent(f['share']['value'])} now, {_percent(f['reference_share_then']['value'])} in "
        "the last model that passed at its time."
        for f in largest
        if change(f) >= NOTABLE
    ]


def _signs(overall: Mapping[str, Any]) -> list[str]:
    """Features that push the other way on average, where either push is clear.

    Each mean is beside 0 by its interval, and at least half of NOTABLE of its model's total attribution: pushes that
    nearly cancel out turn with every training, and `direction_flip` passes them.
    """
    turned = [
        f["name"]
        for f in overall["features"]
        if f.get("sign_changed")
        and _is_clear(f["mean"], overall["total"])
        and _is_clear(f["reference_mean"], overall["reference_total"])
    ]
    return [f"Model: the mean attribution of {_names(turned)} has turned its sign."] if turned else []


def _is_clear(mean: Mapping[str, Any], total: Mapping[str, Any]) -> bool:
    if mean["value"] is None or not total["value"]:
        return False
    return bool(abs(mean["value"]) >= NOTABLE / 2 * total["value"])


def is_large(entry: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether a slice has the rows that the policy asks for of a slice that is judged."""
    return (entry["effective_rows"] or 0) >= data["min_slice_rows"]


def _slices(slices: Sequence[Mapping[str, Any]], model: set[str], data: set[str]) -> list[str]:
    """What stands out in slices and not in all rows."""
    found = []
    for part, known, word in (("model_part", model, "Model"), ("data_part", data, "Data")):
        for entry in slices:
            new = [
                f
                for f in notable(entry["features"], part)
                if f["name"] not in known and None not in (f[part]["low"], f[part]["high"])
            ]
            if new:
                change = new[0][part]["value"]
                words = (
                    f"{word}: in slice {entry['name']} the share of {new[0]['name']!r} is "
                    f"{'higher' if change > 0 else 'lower'} by {100 * abs(change):.1f} percentage points."
                )
                found.append((-abs(change), words))
    return [words for _, words in sorted(found)[:_MOST]]


def _inputs(moved: Sequence[str]) -> str:
    if not moved:
        return "Data: no feature's values are distributed otherwise than at the time of the last model that passed."
    return (
        f"Data: the values of {_names(moved)} are distributed otherwise than at the time of the last model that passed."
    )


def _unpaired(overall: Mapping[str, Any]) -> list[str]:
    words = {
        "other_target_rows": "rows are explained for another target by each model",
        "candidate_only_rows": "rows could be explained by the candidate alone",
        "reference_only_rows": "rows could be explained by the last model that passed alone",
    }
    counts = [f"{overall[k]} {text}" for k, text in words.items() if overall.get(k)]
    return [f"Not compared: {', '.join(counts)}."] if counts else []


def _upstream(data: Mapping[str, Any]) -> list[str]:
    lineage = data["lineage"]
    if lineage is None:
        return [f"Upstream: unknown, {_ended(data['lineage_absent'])}"]
    if not lineage["sentences"]:
        return ["Upstream: nothing that ML Metadata records differs.", *(f"Upstream: {u}." for u in lineage["unknown"])]
    return [f"Upstream: {_ended(sentence)}" for sentence in lineage["sentences"]]


def _names(names: Sequence[str]) -> str:
    shown = [repr(n) for n in names[:5]]
    if len(names) > 5:
        shown.append(f"{len(names) - 5} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _percent(value: float | None) -> str:
    return "an unknown share" if value is None else f"{100 * value:.1f} %"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(".") else f"{sentence}."
