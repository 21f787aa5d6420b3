"""What the head of a verdict's page says of where it comes from: run, model, what it was compared with, files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfx_explain.report.formats import text
from tfx_explain.report.html import Html, joined, tag


@dataclasses.dataclass(frozen=True)
class Origin:
    """Which run a verdict is of; empty where that is not known, as without a pipeline.

    It stands on the page alone: `anomalies.json` depends on the run that reached it by its paths at most.

    Attributes:
      pipeline, run: the pipeline's name, and the id of its run.
      node, execution: ids of the gate's node and of its execution.
      model_uri, fingerprint: of the model to push, and of its files; the verdict's `model` is the one explained.
      passed_in: fingerprint of a model that passed -> id of the run in which it did.
    """

    pipeline: str = ""
    run: str = ""
    node: str = ""
    execution: str = ""
    model_uri: str = ""
    fingerprint: str = ""
    passed_in: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Linked:
    """A file that a page names.

    Attributes:
      name: what the reader sees.
      href: relative to the page; empty where no browser can follow it.
    """

    name: str
    href: str = ""


def judged_of(anomalies: Mapping[str, Any], origin: Origin) -> Html:
    """Run and model of the verdict; where the attributions are of another model, that one too."""
    known = {"Pipeline": origin.pipeline, "run": origin.run, "node": origin.node, "execution": origin.execution}
    parts = [joined((f"{word} ", tag("b", value))) for word, value in known.items() if value]
    lines = [_between(" · ", parts)] if parts else []
    explained, model_id = anomalies["model"], anomalies.get("model_id")
    if origin.model_uri:
        judged = {"uri": origin.model_uri, "fingerprint": origin.fingerprint}
        lines.append(joined(("Model ", _model(judged, "uri", model_id))))
        if origin.fingerprint and explained and explained.get("fingerprint") != origin.fingerprint:
            lines.append(joined(("The attributions are of another one: ", _model(explained, "uri"))))
    else:
        lines.append(joined(("Model ", _model(explained, "uri", model_id))))
    return _lines(lines)


def read_next(anomalies: Mapping[str, Any], origin: Origin, files: Mapping[str, Sequence[Linked]]) -> Html:
    """The model of the reference that the checks compare with, and what there is to read.

    Args:
      anomalies: what `anomalies.json` holds.
      origin: the run.
      files: by what they are of; lines in this order.
    """
    newest = _last_passed(anomalies)
    if newest is None:
        lines = [joined(("No model that passed was at hand to compare with.",))]
    else:
        own = newest.get("fingerprint") == anomalies["model"].get("fingerprint")
        words = "Reference, this model itself: " if own else "Reference, the last model that passed: "
        lines = [joined((words, _passed(newest, origin)))]
    lines += [joined((f"{of}: ", _files(named))) for of, named in files.items() if named]
    return _lines(lines)


def earlier_models(anomalies: Mapping[str, Any], origin: Origin) -> list[Html]:
    """The models of the reference besides the last one, the newest first."""
    newest, own = _last_passed(anomalies), anomalies["model"].get("fingerprint")
    lines = [
        tag("li", "This model: " if model.get("fingerprint") == own else "", _passed(model, origin))
        for model in reversed(anomalies.get("reference") or ())
        if model is not newest
    ]
    return [tag("h2", "Other models of the reference"), tag("ul", *lines)] if lines else []


def _last_passed(anomalies: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The model that the checks compare with: the newest that passed but this one; this one where there is no other."""
    references: Sequence[Mapping[str, Any]] = anomalies.get("reference") or ()
    own = anomalies["model"].get("fingerprint")
    others = [reference for reference in references if reference.get("fingerprint") != own]
    return others[-1] if others else references[-1] if references else None


def _passed(model: Mapping[str, Any], origin: Origin) -> Html:
    run = origin.passed_in.get(str(model.get("fingerprint")), "")
    return _model(model, "model_uri", model.get("model_id"), run)


def _model(model: Mapping[str, Any], uri: str, model_id: object = None, run: str = "") -> Html:
    """Where a model lies, and how to tell it from others; each as far as it is known."""
    known = {"id": model_id, "files": str(model.get("fingerprint") or "")[:12], "passed in run": run}
    names = ", ".join(f"{word} {value}" for word, value in known.items() if value not in (None, ""))
    return joined((tag("code", text(model.get(uri))), f" ({names})" if names else ""))


def _files(files: Sequence[Linked]) -> Html:
    names = [tag("code", file.name) for file in files]
    linked = [tag("a", name, href=file.href) if file.href else name for name, file in zip(names, files, strict=True)]
    return _between(", ", linked)


def _lines(lines: Sequence[Html]) -> Html:
    return joined(tag("p", line, class_="soft") for line in lines)


def _between(separator: str, parts: Sequence[Html]) -> Html:
    return joined(piece for i, part in enumerate(parts) for piece in ((separator, part) if i else (part,)))
