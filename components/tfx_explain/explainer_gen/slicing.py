"""Slices as TFMA means them: which rows of a batch belong to which slice keys."""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tfx_explain.explainer_gen.columns import KINDS, Column, Columns
from tfx_explain.names import SliceKey

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2

FeatureSpec = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""(feature keys, (feature, value) pairs): every combination of the keys' values among the rows with these values."""

_DEFAULT_FUNCTIONS = ("transformed_features", "transformed_labels")
_MEMO_SIZE = 100_000
_ROWS_PER_CALL = 64
_SQL_TYPES = ("int64", "float32", "S1")
_ROW_NUMBER = "tfx_explain_row_number"
_UNKNOWN_NAME = re.compile(r"Unrecognized name: `?(\w+)`?|Name `?(\w+)`? not found inside example")


@dataclasses.dataclass(frozen=True)
class Slicing:
    """Which slices there are; plain values, so it can be pickled.

    Attributes:
      specs: TFMA's slicing specs without those of the overall slice, which there always is.
      sql: TFMA's `slice_keys_sql` statements.
      preprocessing_functions: signatures of the model whose outputs may be sliced on, before raw features of the same
        name. Empty takes TFMA's defaults `transformed_features` and `transformed_labels`, where the model has them.
    """

    specs: tuple[FeatureSpec, ...] = ()
    sql: tuple[str, ...] = ()
    preprocessing_functions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the specs.

        Raises:
          ValueError: a feature is both a key and has a value in one spec.
        """
        for keys, values in self.specs:
            both = sorted(set(keys) & {k for k, _ in values})
            if both:
                raise ValueError(
                    f"feature_keys and feature_values of a slicing spec must name different features. Received: {both} "
                    "in both. Leave them out of feature_keys"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """Features that the specs name, without those of the statements."""
        return tuple(sorted({c for spec in self.specs for c in _columns_of(spec)}))

    @classmethod
    def of_specs(cls, specs: Iterable[Mapping[str, Any]], preprocessing_functions: Iterable[str] = ()) -> Slicing:
        """From plain dicts with TFMA's names: `{feature_keys: [...], feature_values: {...}, slice_keys_sql: "..."}`.

        Raises:
          ValueError: a dict has another name, or a feature is both a key and has a value.
        """
        features: dict[FeatureSpec, None] = {}
        sql: dict[str, None] = {}
        for spec in specs:
            unknown = sorted(set(spec) - {"feature_keys", "feature_values", "slice_keys_sql"})
            if unknown:
                raise ValueError(
                    f"a slicing spec may have feature_keys, feature_values and slice_keys_sql. Received: {unknown}"
                )
            keys = tuple(sorted(set(spec.get("feature_keys") or ())))
            values = tuple(sorted((k, str(v)) for k, v in (spec.get("feature_values") or {}).items()))
            if keys or values:
                features[keys, values] = None
            if spec.get("slice_keys_sql"):
                sql[spec["slice_keys_sql"]] = None
        return cls(tuple(features), tuple(sql), tuple(preprocessing_functions))

    @classmethod
    def of_eval_config(cls, eval_config: config_pb2.EvalConfig) -> Slicing:
        """The slices of Evaluator's configuration: slicing_specs, and both sides of cross_slicing_specs.

        As in TFMA, slice_keys_sql counts in slicing_specs alone. Preprocessing functions are the candidate's: those of
        the first model that is no baseline.
        """
        specs = [_as_dict(s) for s in eval_config.slicing_specs]
        for cross in eval_config.cross_slicing_specs:
            for side in (cross.baseline_spec, *cross.slicing_specs):
                specs.append(_as_dict(side) | {"slice_keys_sql": ""})
        candidate = next((m for m in eval_config.model_specs if not m.is_baseline), None)
        return cls.of_specs(specs, candidate.preprocessing_function_names if candidate is not None else ())


@dataclasses.dataclass(frozen=True)
class Memberships:
    """Which rows belong to which slices.

    Attributes:
      keys: the slices that the rows have, each once and sorted; the overall slice `()` comes first.
      row, slice: int64 [m]; row `row[j]` belongs to `keys[slice[j]]`. Each pair once, sorted.
    """

    keys: tuple[SliceKey, ...]
    row: np.ndarray
    slice: np.ndarray


class SliceAssigner:
    """Finds the slices of rows. The result of a row does not depend on the other rows of its batch.

    TFMA's slicer decides, once for each distinct tuple of values of a spec's features; statements run in TFMA's
    extractor. Where TFMA's own result depends on the batch, that of a row alone is taken: a sparse output of a
    preprocessing function is not padded to the longest row of the batch, and a feature of a statement that no row of a
    batch has counts as empty.

    Decided here, since TFMA stops or cannot say:

    - A row that is no tf.Example belongs to the overall slice alone.
    - A row that a preprocessing function refuses has none of that function's outputs, nor raw features of the same
      names; its other slices stay.
    - NaN equals nothing, itself included, so it makes no slice; and -0.0 is 0.0.
    """

    def __init__(self, slicing: Slicing, model_path: str):
        """Loads the model if slices need outputs of its preprocessing functions.

        Raises:
          ValueError: the model lacks a preprocessing function, or has one that cannot be called here.
        """
        self._specs = [(_columns_of(spec), spec, _slicer(spec)) for spec in slicing.specs]
        self._sql = [_Statement(text) for text in slicing.sql]
        self._columns = frozenset(slicing.columns)
        self._memo: dict[tuple, tuple[SliceKey, ...]] = {}
        self._functions: list[_Function] = []
        if self._specs or self._sql:
            self._functions = list(_functions(model_path, slicing.preprocessing_functions, self._is_needed))

    def assign(self, raw: Sequence[bytes], columns: Columns) -> Memberships:
        """The slices of each row.

        Args:
          raw: serialised examples.
          columns: the same rows, decoded.

        Raises:
          ValueError: a value to slice on is no UTF-8 text, or a statement cannot be run.
        """
        everything = np.arange(columns.rows, dtype=np.int64)
        index: dict[SliceKey, int] = {(): 0}
        rows, slices = [everything], [np.zeros_like(everything)]
        if (self._specs or self._sql) and columns.readable.any():
            features = self._features(raw, columns)
            codes = {name: feature.codes() for name, feature in features.items() if name in self._columns}
            for number, (names, _, _) in enumerate(self._specs):
                for row, place in self._of_spec(number, [n for n in names if n in features], features, codes, index):
                    rows.append(row)
                    slices.append(place)
            for statement in self._sql:
                for row, keys in statement.run(features, np.nonzero(columns.readable)[0]):
                    rows.append(row)
                    slices.append(np.array([index.setdefault(k, len(index)) for k in keys], np.int64))
        order = sorted(index, key=_order)
        place_of = np.empty(len(order), np.int64)
        place_of[[index[key] for key in order]] = np.arange(len(order))
        pairs = np.unique(np.concatenate(rows) * len(order) + place_of[np.concatenate(slices)])
        return Memberships(tuple(order), pairs // len(order), pairs % len(order))

    def _of_spec(
        self,
        number: int,
        names: list[str],
        features: Mapping[str, _Feature],
        codes: Mapping[str, np.ndarray],
        index: dict[SliceKey, int],
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows, their slices' numbers in `index`) of one spec; new keys are added to `index`."""
        wanted = self._specs[number][0]
        if len(names) < len(wanted):
            return
        combined = functools.reduce(_combine, (codes[n] for n in names))
        _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        keys = [self._keys(number, [features[n].values(r) for n in names]) for r in first.tolist()]
        lengths = np.array([len(k) for k in keys], np.int64)
        flat = np.array([index.setdefault(k, len(index)) for of_row in keys for k in of_row], np.int64)
        if not len(flat):
            return
        starts, counts = (np.cumsum(lengths) - lengths)[inverse], lengths[inverse]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.repeat(np.arange(len(inverse)), counts), flat[np.repeat(starts, counts) + within]

    def _keys(self, number: int, values: list[np.ndarray]) -> tuple[SliceKey, ...]:
        """The slices of a row with these values of a spec's features, by TFMA."""
        if not all(len(v) for v in values):
            return ()
        # 1, 1.0 and True are equal as dict keys and different slices' values, hence the kinds.
        memo_key = (number, *((v.dtype.kind, *v.tolist()) for v in values))
        found = self._memo.get(memo_key)
        if found is None:
            names, _, find = self._specs[number]
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            found = self._memo[memo_key] = find(dict(zip(names, values, strict=True)))
        return found

    def _features(self, raw: Sequence[bytes], columns: Columns) -> dict[str, _Feature]:
        """The features that slices may be made of: outputs of preprocessing functions, else raw ones."""
        raw_names = sorted({name for name, _ in columns.columns if self._is_needed(name)})
        found = {n: _Feature([_clean(c) for c in _raw_columns(columns, n)]) for n in raw_names}
        for function in self._functions:
            found |= {n: _Feature([_clean(c)]) for n, c in function.run(raw, columns).items()}
        return found

    def _is_needed(self, name: str) -> bool:
        return name in self._columns or any(statement.may_mention(name) for statement in self._sql)


@dataclasses.dataclass(frozen=True)
class _Feature:
    """Values of a feature: one column, or one for each kind where rows differ in it."""

    columns: list[Column]

    def codes(self) -> np.ndarray:
        """Numbers of rows, the same only for rows with the same values: int64 [rows]."""
        return functools.reduce(_combine, map(_codes, self.columns))

    def values(self, row: int) -> np.ndarray:
        """Values of one row."""
        parts = [c.values[c.offsets[row] : c.offsets[row + 1]] for c in self.columns]
        return next((p for p in parts if len(p)), parts[0])

    def kinds(self) -> np.ndarray:
        """Number of the column that holds each row's values: int64 [rows]."""
        return np.argmax([c.lengths > 0 for c in self.columns], axis=0)


def _as_dict(spec: config_pb2.SlicingSpec) -> dict[str, Any]:
    return {
        "feature_keys": list(spec.feature_keys),
        "feature_values": dict(spec.feature_values),
        "slice_keys_sql": spec.slice_keys_sql,
    }


def _columns_of(spec: FeatureSpec) -> tuple[str, ...]:
    keys, values = spec
    return tuple(sorted({*keys, *(k for k, _ in values)}))


def _order(key: SliceKey) -> tuple:
    """Sorts slices: by their features, then by values, numbers before text."""
    return tuple(c for c, _ in key), tuple((isinstance(v, str), v) for _, v in key)


def _slicer(spec: FeatureSpec) -> Callable[[Mapping[str, np.ndarray]], tuple[SliceKey, ...]]:
    """TFMA's slicer for one spec: values of a row by feature -> its slices."""
    # Imported here: it loads TensorFlow, which a job without slices does not need.
    from tensorflow_model_analysis.slicer import slicer_lib

    keys, values = spec
    single = slicer_lib.SingleSliceSpec(columns=keys, features=values)

    def find(features: Mapping[str, np.ndarray]) -> tuple[SliceKey, ...]:
        try:
            return tuple(dict.fromkeys(slicer_lib.get_slices_for_features_dicts([], features, [single])))
        except ValueError as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise
            raise ValueError(
                f"features to slice on must be numbers or UTF-8 text. Received: {error}. Leave the feature out of the "
                "slicing specs"
            ) from error

    return find


def _raw_columns(columns: Columns, name: str) -> list[Column]:
    return [columns.columns[name, kind] for kind in KINDS.values() if (name, kind) in columns.columns]


def _clean(column: Column) -> Column:
    """The column without NaN and with one zero."""
    if column.values.dtype.kind != "f":
        return column
    keep = ~np.isnan(column.values)
    kept_before = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
    return Column(kept_before[column.offsets], column.values[keep] + column.values.dtype.type(0))


def _codes(column: Column) -> np.ndarray:
    """Numbers of rows, the same only for rows with the same values in the same order: int64 [rows]."""
    if column.values.dtype.kind == "O":
        value = pa.array(column.values, pa.large_binary()).dictionary_encode().indices.to_numpy().astype(np.int64)
    else:
        value = np.unique(column.values, return_inverse=True)[1]
    lengths = column.lengths
    out = np.zeros(len(lengths), np.int64)
    used = 1
    for length in np.unique(lengths[lengths > 0]).tolist():
        rows = np.nonzero(lengths == length)[0]
        table = value[column.offsets[rows][:, None] + np.arange(length)]  # [rows, length]
        distinct, inverse = np.unique(table, axis=0, return_inverse=True)
        out[rows] = used + inverse.reshape(-1)
        used += len(distinct)
    return out


def _combine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One number for each pair, dense, so that products of many features do not overflow."""
    a, b = (np.unique(x, return_inverse=True)[1].reshape(-1) for x in (a, b))
    return a * (int(b.max(initial=0)) + 1) + b


class _Function:
    """A preprocessing function of a model, and those of its outputs that are needed."""

    def __init__(self, model: Any, name: str, outputs: Iterable[str]):
        import tensorflow as tf

        self._model = model  # owns the variables and tables
        self._name, self._function = name, model.signatures[name]
        self._outputs = sorted(outputs)
        # A result's own shape tells how long its longest row is.
        self._fixed = {n: None not in (self._function.structured_outputs[n].shape[1:] or ()) for n in self._outputs}
        self._inputs: dict[str, Any] = dict(self._function.structured_input_signature[1])
        only = next(iter(self._inputs.values())) if len(self._inputs) == 1 else None
        self._of_examples = only is not None and only.dtype == tf.string and only.shape.rank in (None, 1)
        if not self._of_examples:
            for key, spec in self._inputs.items():
                if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None or None in list(spec.shape)[1:]:
                    raise ValueError(
                        f"preprocessing function {name!r} must take serialised examples, or dense features of fixed "
                        f"shape. Received: {key}={spec}"
                    )

    def run(self, raw: Sequence[bytes], columns: Columns) -> dict[str, Column]:
        """The needed outputs of every row; rows that cannot be read, or that the function refuses, have no values."""
        rows = np.nonzero(columns.readable)[0]
        if self._of_examples:
            (key,) = self._inputs
            tensors = {key: np.array(list(raw), object)}
        else:
            tensors = {}
            for key, spec in self._inputs.items():
                tensors[key], ok = _dense(columns, key, spec)
                rows = rows[ok[rows]]
        parts: dict[str, list[Column]] = {n: [] for n in self._outputs}
        done = []
        for some, outputs in self._call(tensors, rows):
            done.append(some)
            for name in self._outputs:
                parts[name].append(_rows_of(outputs[name], self._fixed[name], len(some), f"{self._name}.{name}"))
        return {name: _spread(columns.rows, done, parts[name]) for name in self._outputs}

    def _call(
        self, tensors: Mapping[str, np.ndarray], rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, Mapping[str, Any]]]:
        """(rows, outputs), by halving around rows that are refused."""
        import tensorflow as tf

        if not len(rows):
            return
        # Whole multiples, since the last rows of an odd shape may be computed by other instructions.
        padded = np.resize(rows, -(-len(rows) // _ROWS_PER_CALL) * _ROWS_PER_CALL)
        padded[len(rows) :] = rows[0]
        inputs = {key: tf.constant(tensors[key][padded], dtype=self._inputs[key].dtype) for key in sorted(self._inputs)}
        try:
            outputs = self._function(**inputs)
        except tf.errors.InvalidArgumentError:
            outputs = None
        if outputs is not None:
            yield rows, outputs
        elif len(rows) > 1:
            middle = len(rows) // 2
            yield from self._call(tensors, rows[:middle])
            yield from self._call(tensors, rows[middle:])


def _dense(columns: Columns, key: str, spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """(a raw feature in a dense input's shape [rows, ...], bool: the row has all its values)."""
    shape = tuple(list(spec.shape)[1:])
    size = int(np.prod(shape, dtype=np.int64))
    out = np.zeros((columns.rows, size), object if spec.dtype.name == "string" else spec.dtype.as_numpy_dtype)
    ok = np.zeros(columns.rows, bool)
    name = key if _raw_columns(columns, key) else key.removesuffix("_input")
    for column in _raw_columns(columns, name):
        if (column.values.dtype.kind == "O") == (out.dtype.kind == "O"):
            rows = np.nonzero(column.lengths == size)[0]
            out[rows] = column.values[column.offsets[rows][:, None] + np.arange(size)]
            ok[rows] = True
    return out.reshape(columns.rows, *shape), ok


def _rows_of(output: Any, fixed: bool, rows: int, name: str) -> Column:
    """Values of the first rows of a function's output.

    A sparse output has the gaps of a row filled as TFMA fills them, and its end where its length is fixed.
    """
    import tensorflow as tf

    if isinstance(output, tf.RaggedTensor):
        splits, values = output.row_splits.numpy().astype(np.int64), output.values
        while isinstance(values, tf.RaggedTensor):
            splits, values = values.row_splits.numpy().astype(np.int64)[splits], values.values
        inner = int(np.prod(values.shape[1:], dtype=np.int64))
        return _cut(splits * inner, values.numpy().reshape(-1), rows)
    if isinstance(output, tf.SparseTensor):
        if output.shape.rank == 2 and not fixed:
            index, values = output.indices.numpy(), output.values.numpy()
            lengths = np.zeros(int(output.dense_shape[0]), np.int64)
            np.maximum.at(lengths, index[:, 0], index[:, 1] + 1)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            filled = np.full(offsets[-1], b"" if values.dtype.kind == "O" else 0, values.dtype)
            filled[offsets[index[:, 0]] + index[:, 1]] = values
            return _cut(offsets, filled, rows)
        output = tf.sparse.to_dense(output)
    array = np.asarray(output)
    if array.ndim == 0 or len(array) < rows:
        raise ValueError(
            f"output {name} of a preprocessing function must have one row an example. "
            f"Received: shape {array.shape} for {rows} rows and more"
        )
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    return _cut(np.arange(len(array) + 1) * width, array.reshape(-1), rows)


def _cut(offsets: np.ndarray, values: np.ndarray, rows: int) -> Column:
    offsets = offsets[: rows + 1].astype(np.int64)
    return Column(offsets, values[: offsets[-1]])


def _spread(rows: int, done: list[np.ndarray], parts: list[Column]) -> Column:
    """Columns of some rows, rising, as one of all rows."""
    lengths = np.zeros(rows, np.int64)
    for some, part in zip(done, parts, strict=True):
        lengths[some] = part.lengths
    values = np.concatenate([p.values for p in parts]) if parts else np.zeros(0, np.int64)
    return Column(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), values)


_loaded: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def _functions(path: str, names: Sequence[str], needed: Callable[[str], bool]) -> Iterator[_Function]:
    """The functions with outputs that are needed, each with those of them that no later one gives too."""
    outputs = _signature_outputs(path)
    for name in names:
        if name not in outputs:
            raise ValueError(
                f"preprocessing_function_names must be signatures of the model, among {sorted(outputs)}. "
                f"Received: {name!r}"
            )
    taken: dict[str, str] = {}
    for name in names or [n for n in _DEFAULT_FUNCTIONS if n in outputs]:
        taken |= {output: name for output in outputs[name] if needed(output)}
    for name in sorted(set(taken.values())):
        yield _Function(_load(path), name, [o for o, n in taken.items() if n == name])


def _signature_outputs(path: str) -> dict[str, set[str]]:
    """Outputs of each signature of a SavedModel, without loading it; empty where there is none."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    file = f"{path}/saved_model.pb"
    if not tf.io.gfile.exists(file):
        return {}
    saved = saved_model_pb2.SavedModel()
    with tf.io.gfile.GFile(file, "rb") as stream:
        saved.ParseFromString(stream.read())
    return {name: set(s.outputs) for graph in saved.meta_graphs for name, s in graph.signature_def.items()}


def _load(path: str) -> Any:
    """The model, once a process for as long as it is used."""
    import tensorflow as tf

    with _loading:
        model = _loaded.get(path)
        if model is None:
            model = _loaded[path] = tf.saved_model.load(path)
    return model


class _Statement:
    """One `slice_keys_sql` statement, run by TFMA's extractor.

    Raises:
      ValueError: tfx-bsl is built without SQL, as its releases since 1.17 are.
    """

    def __init__(self, text: str):
        from tensorflow_model_analysis.extractors import sql_slice_key_extractor
        from tensorflow_model_analysis.proto import config_pb2

        # TFX 1.21 puts a mock in its place, whose queries find no slice.
        if not isinstance(getattr(sql_slice_key_extractor.sql_util, "RecordBatchSQLSliceQuery", None), type):
            raise ValueError(
                "slice_keys_sql needs a tfx-bsl with SQL, which the installed one is not: name feature_keys or "
                f"feature_values instead. Received: {text!r}"
            )
        self._text = text
        config = config_pb2.EvalConfig(
            model_specs=[config_pb2.ModelSpec()], slicing_specs=[config_pb2.SlicingSpec(slice_keys_sql=text)]
        )
        self._extractor = sql_slice_key_extractor.ExtractSqlSliceKeyFn(config)
        self._extractor.setup()
        self._absent: dict[tuple, dict[str, str]] = {}

    def may_mention(self, name: str) -> bool:
        """Whether the statement may speak of a feature; names in SQL ignore case."""
        return "*" in self._text or name.lower() in self._text.lower()

    def run(self, features: Mapping[str, _Feature], rows: np.ndarray) -> Iterator[tuple[np.ndarray, list[SliceKey]]]:
        """(rows, the slice of each) of the given rows.

        Raises:
          ValueError: the statement cannot be run.
        """
        features = {name: feature for name, feature in sorted(features.items()) if self.may_mention(name)}
        # A statement's column has one type, so rows in which a feature has another one go together.
        kinds = functools.reduce(_combine, (f.kinds()[rows] for f in features.values()), np.zeros(len(rows), np.int64))
        for kind in np.unique(kinds):
            some = rows[kinds == kind]
            columns = {name: feature.columns[feature.kinds()[some[0]]].take(some) for name, feature in features.items()}
            given = {name: column for name, column in columns.items() if len(column.values)}
            schema = tuple((name, column.values.dtype.str) for name, column in given.items())
            try:
                pairs, self._absent[schema] = self._attempt(given, self._absent.get(schema, {}), len(some))
            except RuntimeError as error:
                raise ValueError(
                    f"slice_keys_sql must be a statement that TFMA can run on the features {sorted(given)}. "
                    f"Received: {self._text!r}: {error.__cause__ or error}"
                ) from error
            yield some[pairs[0]], pairs[1]

    def _attempt(
        self, given: Mapping[str, Column], absent: dict[str, str], count: int
    ) -> tuple[tuple[np.ndarray, list[SliceKey]], dict[str, str]]:
        """((rows, slices), absent features -> a type with which the statement can be run)."""
        try:
            return self._execute(given, absent, count), absent
        except RuntimeError as error:
            name = _unknown_name(error)
            if name is None or name in absent or name in given:
                raise
            failure = error
        logging.getLogger(__name__).warning("no row of a batch has %r of slice_keys_sql: it counts as empty", name)
        for kind in _SQL_TYPES:
            try:
                return self._attempt(given, absent | {name: kind}, count)
            except RuntimeError as error:
                failure = error
        raise failure

    def _execute(
        self, given: Mapping[str, Column], absent: Mapping[str, str], count: int
    ) -> tuple[np.ndarray, list[SliceKey]]:
        from tensorflow_model_analysis import constants

        features = {name: _tensor(column) for name, column in given.items()}
        nothing = np.zeros(count + 1, np.int64)
        features |= {name: _tensor(Column(nothing, np.zeros(0, kind))) for name, kind in absent.items()}
        # TFMA counts rows by their features, and a statement may name none.
        features.setdefault(_ROW_NUMBER, _tensor(Column(np.arange(count + 1), np.arange(count))))
        (result,) = self._extractor.process({constants.FEATURES_KEY: features})
        found = result[constants.SLICE_KEY_TYPES_KEY]
        return found.indices.reshape(-1, 2)[:, 0].astype(np.int64), list(found.values)


def _tensor(column: Column) -> Any:
    """A column as TFMA has features of several lengths; it makes the same Arrow column of those of one length."""
    from tensorflow_model_analysis.api import types

    rows = np.repeat(np.arange(len(column.lengths)), column.lengths)
    within = np.arange(len(rows)) - column.offsets[:-1][rows]
    values = column.values.astype(np.int64) if column.values.dtype.kind == "b" else column.values
    shape = np.array([len(column.lengths), column.lengths.max(initial=0)], np.int64)
    return types.VarLenTensorValue(values, np.stack([rows, within], axis=1).astype(np.int64), shape)


def _unknown_name(error: RuntimeError) -> str | None:
    """The feature that a statement names and no row has."""
    match = _UNKNOWN_NAME.search(str(error.__cause__ or error))
    return next(filter(None, match.groups())) if match else None
