"""A graph parted at the cut: which tensors are interpolated, and which are fed as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from tfx_explain.engine.feature_graph.blocked import find_blockers, no_gradient_sentence
from tfx_explain.engine.feature_graph.cut import CutFinder
from tfx_explain.engine.feature_graph.dependencies import find_dependencies
from tfx_explain.engine.feature_graph.errors import NoGradientError, SignatureError
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph, topological
from tfx_explain.engine.feature_graph.frozen import find_frozen
from tfx_explain.engine.feature_graph.named_operation import NamedOperation
from tfx_explain.engine.feature_graph.output import Output
from tfx_explain.engine.feature_graph.rewrites import split_edges
from tfx_explain.engine.feature_graph.row_tensors import shapes_that_vary
from tfx_explain.engine.feature_graph.sources import Sources, find_sources

# Every round bans at least one tensor or splits at least one edge; real models need two or three.
_MAX_ROUNDS = 100


@dataclasses.dataclass(frozen=True)
class Partition:
    """The graph and its cut; all fields are in an order that the graph decides.

    Attributes:
        flat: the graph, raw edges split where needed.
        target: name of the tensor that is explained.
        cuts: names of the cut tensors, sorted by feature.
        cut_features: for each cut, the raw feature or features that it stands for.
        frozen: names of what else the part after the cut reads.
        structure: those of `frozen` that are dense_shapes of sparse features.
        parsed: every raw feature that the parser gives.
        used: raw features with a path to the target.
        blocked: raw features that reach the target round the cuts, and the operation that keeps gradients from them.
        notes: what a reader of the attributions should know.
    """

    flat: FlatGraph
    target: str
    cuts: tuple[str, ...]
    cut_features: tuple[tuple[str, ...], ...]
    frozen: tuple[str, ...]
    structure: frozenset[str]
    parsed: tuple[str, ...]
    used: tuple[str, ...]
    blocked: Mapping[str, NamedOperation]
    notes: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """For each cut, the name under which it is attributed."""
        return tuple(" x ".join(features) for features in self.cut_features)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Used features that no cut stands for."""
        covered = {feature for features in self.cut_features for feature in features}
        return tuple(feature for feature in self.used if feature not in covered)


def find_partition(flat: FlatGraph, output: Output, policies: Mapping[str, str], sample: tf.Tensor) -> Partition:
    """Searches until every cut is batch-major on the sample: one row of each tensor for each example.

    The values of a sparse feature are not, nor is a padded width that changes with the batch.

    Args:
        flat: the graph.
        output: what is explained.
        policies: cut policy by raw feature.
        sample: serialised tf.Examples, string [rows].

    Raises:
        NoGradientError: if no single feature has a tensor from which a gradient reaches the output.
        SignatureError: if a feature is called as a cross of others is.
    """
    avoid: set[str] = set()
    for _ in range(_MAX_ROUNDS):
        sources = find_sources(flat)
        target = flat.tensor(output.tensor)
        order = topological([target])
        dependencies = find_dependencies(flat, sources, order)
        search = CutFinder(order, target, sources, dependencies).search(policies, avoid)
        if search.split:
            flat = split_edges(flat, list(search.split))
            continue
        used = dependencies.features(target)
        cut_features = [tuple(sorted(dependencies.features(tensor))) for tensor in search.cuts]
        if not _tells_features_apart(cut_features, used):
            raise _no_gradient(used, find_blockers(order, target, sources, (), used))
        _check_names(cut_features)
        values, shapes = find_frozen(search.cuts, target, order, dependencies, sources)
        uneven = _not_batch_major(flat, [*search.cuts, *values], sources, sample)
        uneven_cuts = {tensor.name for tensor in search.cuts} & uneven
        if uneven_cuts:
            avoid |= uneven_cuts
            continue
        frozen = _with_sources(values, uneven, search.cuts, sources, dependencies.features) + shapes
        by_feature = sorted(zip(cut_features, range(len(search.cuts)), strict=True))
        structure = {tensor.name for tensor in sources.dense_shapes}
        return Partition(
            flat=flat,
            target=output.tensor,
            cuts=tuple(search.cuts[index].name for _, index in by_feature),
            cut_features=tuple(features for features, _ in by_feature),
            frozen=tuple(dict.fromkeys(tensor.name for tensor in frozen)),
            structure=frozenset(tensor.name for tensor in frozen if tensor.name in structure),
            parsed=tuple(sorted(sources.features)),
            used=tuple(sorted(used)),
            blocked=find_blockers(order, target, sources, search.cuts, used),
            notes=search.notes,
        )
    raise NoGradientError(f"no batch-major cut was found in {_MAX_ROUNDS} rounds. Tried: {sorted(avoid)}")


def _tells_features_apart(cut_features: Sequence[tuple[str, ...]], used: frozenset[str]) -> bool:
    """Whether there is a cut, and not only such that mix several features, one of them all."""
    alone = any(len(features) == 1 for features in cut_features)
    return alone or (bool(cut_features) and all(set(features) != used for features in cut_features))


def _check_names(cut_features: Sequence[tuple[str, ...]]) -> None:
    crosses = {" x ".join(features): features for features in cut_features if len(features) > 1}
    for name, features in sorted(crosses.items()):
        if (name,) in cut_features:
            raise SignatureError(
                "a feature and a cross must not share a name, under which both would be attributed. Received: "
                f"{name!r}, and the cross of {list(features)}. Rename the feature."
            )


def _no_gradient(used: frozenset[str], blocked: Mapping[str, NamedOperation]) -> NoGradientError:
    if not used:
        return NoGradientError(
            "a gradient must lead from single features to the output, but the output depends on no feature: explain an "
            "output that does."
        )
    return NoGradientError(no_gradient_sentence(used, blocked))


def _not_batch_major(flat: FlatGraph, tensors: Sequence[tf.Tensor], sources: Sources, sample: tf.Tensor) -> set[str]:
    """Names of tensors that do not have one row, of one shape, for each example."""
    names = [tensor.name for tensor in tensors]
    function = flat.function(flat.input_names, names)
    together, alone = function(sample), function(sample[:1])
    uneven = set()
    for name, many, one in zip(names, together, alone, strict=True):
        of_rows = many.shape.rank and many.shape[0] == len(sample) and one.shape[0] == 1
        if not of_rows or many.shape[1:] != one.shape[1:]:
            uneven.add(name)
    even = [name for name in names if name not in uneven]
    return uneven | shapes_that_vary(flat, even, sources, sample.numpy())


def _with_sources(
    values: Sequence[tf.Tensor],
    uneven: set[str],
    cuts: Sequence[tf.Tensor],
    sources: Sources,
    features_of: Callable[[tf.Tensor], frozenset[str]],
) -> list[tf.Tensor]:
    """The frozen values; those that are not batch-major are computed again from what the parser gives."""
    cut_names = {tensor.name for tensor in cuts}
    kept = []
    for tensor in values:
        if tensor.name not in uneven:
            kept.append(tensor)
            continue
        for feature in sorted(features_of(tensor)):
            kept.extend(source for source in sources.features[feature] if source.name not in cut_names)
            kept.extend(sources.structure.get(feature, ()))
    return kept
