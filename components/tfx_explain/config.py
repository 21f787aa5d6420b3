"""ExplainConfig and ValidationConfig: what a user may set, checked where it is made."""

from __future__ import annotations

import datetime
import difflib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

import pydantic
import yaml

from tfx_explain.names import SliceKey

FeatureValue = bool | int | float | str
CutPolicy = Literal["feature", "latest", "element"]
Severity = Literal["block", "warn", "off"]
Method = Literal["integrated_gradients", "expected_gradients", "gradient_x_input", "gradient", "smoothgrad"]
METHODS: tuple[Method, ...] = get_args(Method)
CompleteMethod = Literal["integrated_gradients", "expected_gradients"]
COMPLETE_METHODS: tuple[CompleteMethod, ...] = ("integrated_gradients", "expected_gradients")
"""Methods whose attributions add up to the prediction's change: shares, and hence a verdict, have a meaning."""

_Config = TypeVar("_Config", bound="_Base")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names each field, the rule and the value."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would take the last, and a policy would not be what it reads like."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As SafeLoader does, but every key once."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be one word", key_node.start_mark)
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`: what it brings may be set anew
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Base(pydantic.BaseModel):
    """Immutable, closed to unknown keys, and written as canonical (sorted) JSON."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _no_word_for_a_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """A threshold of `on` would be 1, which switches a check off."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {*(get_args(kind) or (kind,))} <= {int, float, type(None)}:
            raise ValueError("must be a number; YAML reads on, off, yes and no as true and false")
        return value

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, defaults written out, so that equal settings are equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def make(cls: type[_Config], value: Any, source: str = "") -> _Config:
        """Builds the config from keyword data.

        Raises:
          ConfigError: naming every wrong field by its path, the rule and the value received.
        """
        if not isinstance(value, dict):
            raise ConfigError(f"{source or cls.__name__} must be a mapping of settings. Received: {value!r}")
        try:
            return cls.model_validate(value)
        except pydantic.ValidationError as error:
            lines = [
                f"  {'.'.join(str(p) for p in e['loc']) or '(whole)'}: {_rule(cls, e)}. Received: {e['input']!r}"
                for e in error.errors()
            ]
            raise ConfigError("\n".join([f"{source or cls.__name__} cannot be used:", *lines])) from error

    @classmethod
    def load(cls: type[_Config], value: _Config | dict[str, Any] | str | os.PathLike[str]) -> _Config:
        """A config from itself, from a mapping, or from the path of a YAML or JSON file, which is read now.

        Raises:
          ConfigError: the file is missing, is not YAML, or holds settings that are refused.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, dict):
            return cls.make(value)
        if not isinstance(value, (str, os.PathLike)):
            raise ConfigError(
                f"{cls.__name__} must be given as itself, a mapping or a file's path. Received: {value!r}"
            )
        try:
            with open(value, encoding="utf-8") as file:
                data = yaml.load(file, Loader=_UniqueKeyLoader)
        except OSError as error:
            raise ConfigError(f"{cls.__name__}: cannot read {os.fspath(value)!r}: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{cls.__name__}: {os.fspath(value)!r} is not YAML: {error}") from error
        return cls.make({} if data is None else data, source=os.fspath(value))

    @classmethod
    def from_json(cls: type[_Config], text: str) -> _Config:
        """The inverse of `to_json`."""
        return cls.make(json.loads(text))


def _rule(cls: type[pydantic.BaseModel], error: Any) -> str:
    """What a value breaks; of an unknown key, or of no mapping where one must be, which keys there are."""
    if error["type"] == "model_type":
        keys = sorted({name for model in _models_at(cls, error["loc"]) for name in model.model_fields})
        return f"must be a mapping, of the keys {', '.join(keys)}"
    if error["type"] != "extra_forbidden":
        return str(error["msg"])
    *path, key = error["loc"]
    known = sorted({name for model in _models_at(cls, path) for name in model.model_fields})
    close = difflib.get_close_matches(str(key), known, n=1)
    meant = f", did you mean {close[0]!r}?" if close else "."
    return f"{key!r} is no setting{meant} There are: {', '.join(known)}"


def _models_at(cls: type[pydantic.BaseModel], path: Sequence[str | int]) -> list[type[pydantic.BaseModel]]:
    """The classes that a value at a path may have; indices, keys of mappings and tags of unions name no field."""
    models = [cls]
    for part in path:
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
    return models


def _models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """The classes of settings that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


class Label(_Base):
    """Where the label is found; the same two names as in TFMA's ModelSpec."""

    key: str = pydantic.Field(min_length=1)
    """A raw feature, or, with a preprocessing_function, an output of that function."""
    preprocessing_function: str | None = None
    """Signature of the model that maps serialised examples to transformed features, e.g. `transform_features`."""


class SlicingSpec(_Base):
    """Slices as TFMA's SlicingSpec names them: every combination of the keys' values, or given values, or both."""

    feature_keys: tuple[str, ...] = ()
    feature_values: dict[str, str] = {}
    slice_keys_sql: str = ""

    @pydantic.field_validator("feature_values", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return {k: _value_text(v) for k, v in value.items()} if isinstance(value, dict) else value


def _value_text(value: Any) -> Any:
    """A feature's value as TFMA's `feature_values` writes it."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class RequiredSlice(_Base):
    """One slice that checks name, by the value of each of its features: `{feature_values: {trip_start_hour: 3}}`."""

    feature_values: dict[str, str] = pydantic.Field(min_length=1)

    _text = pydantic.field_validator("feature_values", mode="before")(
        lambda value: {k: _value_text(v) for k, v in value.items()} if isinstance(value, dict) else value
    )

    @property
    def name(self) -> str:
        """As sentences call it."""
        return ", ".join(f"{k}={v}" for k, v in sorted(self.feature_values.items()))

    def matches(self, key: SliceKey) -> bool:
        """Whether a slice key is this slice."""
        return {k: str(v) for k, v in key} == self.feature_values


class Slices(_Base):
    """Which slices get statistics of their own, and how many rows."""

    specs: tuple[SlicingSpec, ...] = ()
    """Taken where ExplainerGen gets no `evaluation`; else Evaluator's slices are."""
    min_rows_per_slice: int = pydantic.Field(default=500, ge=0, le=10_000)
    """Distinct rows that are explained of each slice beyond what the overall sample holds; fewer where that would more
    than double the sample. A required slice gets them in any case."""
    min_slice_size: int = pydantic.Field(default=10, ge=1)
    """Slices with fewer rows are merged into a remainder, by the features that they are made of."""
    max_slices: int = pydantic.Field(default=1000, ge=1, le=10_000)
    """The largest so many are kept; the others go to the remainder too."""


class PermutationImportanceConfig(_Base):
    """Settings of permutation importance (Breiman 2001; Fisher et al. 2019)."""

    repeats: int = pydantic.Field(default=10, ge=0, le=1000)
    """Donors of every row and feature; 0 leaves permutation importance out."""
    scheme: Literal["marginal", "within_strata"] = "marginal"
    """Donors from all rows, or from the rows that agree in `strata`."""
    strata: tuple[str, ...] = ()
    """Raw features whose values, taken together, make the strata."""
    max_slices: int = pydantic.Field(default=20, ge=0)
    """Besides the overall and the required slices, the largest so many."""
    max_side_input_bytes: int = pydantic.Field(default=100_000_000, ge=0)
    """Above it donors travel from block to block instead; results are the same."""

    @pydantic.model_validator(mode="after")
    def _strata_go_with_their_scheme(self) -> PermutationImportanceConfig:
        if (self.scheme == "within_strata") != bool(self.strata):
            raise ValueError("strata must be given with scheme within_strata, and only with it")
        return self


class CostConfig(_Base):
    """A forecast of the job's cost, and limits."""

    forecast: bool = True
    """Before the job, a few batches are explained where the component runs."""
    max_forward_equivalents: float | None = pydantic.Field(default=None, gt=0)
    """Forward passes of one row in all; a gradient counts as three. Above it, repeats and rows are lowered."""
    max_minutes: float | None = pydantic.Field(default=None, gt=0)
    """The same by the clock: results then depend on how fast the machine is."""
    min_examples: int = pydantic.Field(default=1000, ge=1)
    """Rows are never lowered below it: the gate's evidence floor."""
    min_repeats: int = pydantic.Field(default=3, ge=0)
    workers: int = pydantic.Field(default=1, ge=1)
    """Batches that are explained at once; for the forecast of minutes alone."""

    @pydantic.model_validator(mode="after")
    def _limits_need_a_forecast(self) -> CostConfig:
        if not self.forecast and (self.max_forward_equivalents is not None or self.max_minutes is not None):
            raise ValueError("a limit needs forecast: true")
        return self


class _PathConfig(_Base):
    """Nodes of a path integral, and of its repairs."""

    num_steps: int
    repair_steps: tuple[int, ...]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _follow(cls, data: Any) -> Any:
        if isinstance(data, dict) and "repair_steps" not in data and isinstance(data.get("num_steps"), int):
            return data | {"repair_steps": (2 * data["num_steps"], 4 * data["num_steps"])}
        return data

    @pydantic.field_validator("repair_steps")
    @classmethod
    def _increasing(cls, value: tuple[int, ...], info: pydantic.ValidationInfo) -> tuple[int, ...]:
        steps = [info.data.get("num_steps", 1), *value]
        if any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
            raise ValueError("repair_steps must rise, and begin above num_steps")
        return value


class IntegratedGradientsConfig(_PathConfig):
    """Settings of integrated gradients (Sundararajan et al. 2017)."""

    num_steps: int = pydantic.Field(default=50, ge=1, le=4096)
    """Gauss-Legendre nodes of every row."""
    repair_steps: tuple[int, ...] = (100, 200)
    """Nodes with which rows that have not converged run again, in order; twice and four times num_steps by default."""


class ExpectedGradientsConfig(_PathConfig):
    """Settings of expected gradients (Erion et al. 2021)."""

    num_steps: int = pydantic.Field(default=4, ge=1, le=4096)
    """Gauss-Legendre nodes from each background row to every row."""
    repair_steps: tuple[int, ...] = (8, 16)
    """As those of integrated gradients, from each background row."""


class SmoothGradConfig(_Base):
    """Settings of SmoothGrad (Smilkov et al. 2017)."""

    samples: int = pydantic.Field(default=25, ge=1, le=4096)
    """Noisy copies of every row."""
    noise_level: float = pydantic.Field(default=0.1, gt=0, le=10)
    """Standard deviation of the noise, in parts of each feature's spread over the rows that verify the model."""
    squared: bool = False
    """SmoothGrad^2: the mean of squared gradients."""


class ElementsConfig(_Base):
    """Attributions of single pixels or tokens, of a few rows."""

    features: tuple[str, ...] = ()
    """Attributed features whose elements are written one by one."""
    max_rows: int = pydantic.Field(default=200, ge=1, le=10_000)
    """Rows of each split; those with the smallest ids."""

    @pydantic.field_validator("features")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not all(value):
            raise ValueError("features must be distinct, non-empty names")
        return value


class ImageBaseline(_Base):
    """Where the path of an image's pixels begins."""

    kind: Literal["black", "blur"]
    """Zeros, or each row's own image under a Gaussian blur; at the cut, where the model has made numbers of it."""
    sigma: float | None = pydantic.Field(default=None, gt=0, le=1000)
    """Standard deviation of the blur in pixels of the cut; None is an eighth of the shorter side."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _word(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @pydantic.model_validator(mode="after")
    def _sigma_is_the_blurs(self) -> ImageBaseline:
        if self.sigma is not None and self.kind != "blur":
            raise ValueError("sigma must be given with blur only")
        return self


class ExplainConfig(_Base):
    """What ExplainerGen explains, and how."""

    signature: str = pydantic.Field(default="serving_default", min_length=1)
    """One that takes serialised tf.Examples; or tensors, each a feature of the examples by its name."""
    preprocessing_function: str | None = pydantic.Field(default=None, min_length=1)
    """Signature that maps serialised tf.Examples to what `signature` takes, such as `transform_features`."""
    input_features: dict[str, str] = {}
    """By input of a signature of tensors the feature that it takes, where their names differ: `{args_0: age}`."""
    output: str | None = None
    """Name of the signature's float output; None takes the one that TFX's conventions name."""
    unit: Literal["logit", "probability"] = "logit"
    """Explain the logit behind a final sigmoid or softmax, or the probability itself."""
    op_libraries: tuple[str, ...] = ()
    """Python modules that register operations of the model, such as tensorflow_text: imported before it is loaded."""
    from_logits: bool = False
    """The output ends in no sigmoid or softmax because it is logits, as with Keras' `from_logits=True`."""
    integer_output: Literal["class", "amount"] = "class"
    """What a model without float outputs gives, or one that ends in an argmax: numbers of classes, whose accuracy is
    measured, or amounts, as a regression's. A string output is a class too, if `class_names` numbers it."""
    target: Annotated[int, pydantic.Field(ge=0)] | Annotated[str, pydantic.Field(min_length=1)] | None = None
    """Output column to explain, by number or class name; `predicted` and `label` are each row's own class. None is the
    only column, or `predicted`."""
    class_names: tuple[str, ...] = ()
    """Names of the output's columns in their order, where the model does not tell them; for one column those of
    0 and 1, or of all numbers where it holds a class's. Labels may then be these names."""
    splits: tuple[str, ...] = pydantic.Field(default=("eval",), min_length=1)
    max_examples: int = pydantic.Field(default=10_000, ge=1)
    """Distinct rows at most; those with the smallest keyed hash are taken."""
    seed: int = pydantic.Field(default=0, ge=0, le=2**53)
    """Orders the sample; never part of a row's identity. Kubeflow carries ints as doubles, hence the limit."""
    method: Method = "integrated_gradients"
    """The gate passes none but integrated and expected gradients: the others' attributions need not add up."""
    integrated_gradients: IntegratedGradientsConfig = IntegratedGradientsConfig()
    expected_gradients: ExpectedGradientsConfig = ExpectedGradientsConfig()
    smoothgrad: SmoothGradConfig = SmoothGradConfig()
    input_baseline: dict[str, FeatureValue | tuple[FeatureValue, ...]] | None = None
    """Raw values per feature; None takes the reference's, else statistics', else the sample's medians and modes."""
    image_baselines: dict[str, ImageBaseline] = {}
    """Per image that takes the place of a raw value: `black` or `blur`. Encoded images that are named neither here nor
    in `input_baseline` are black."""
    elements: ElementsConfig = ElementsConfig()
    crosses: Literal["pair", "equal"] = "pair"
    """What is attributed to a cross of several features stays with the pair `a x b`, or goes to each in equal parts."""
    cut_policies: dict[str, CutPolicy] = {}
    """Per raw feature where the path is walked; what is not named is chosen by convergence, and recorded."""
    label: Label | None = None
    """None takes the label of Evaluator's configuration, where `evaluation` is given."""
    example_weight_key: str | None = None
    """A raw feature, or an output of the label's preprocessing_function; None as with `label`."""
    cluster_key: str | None = None
    """A raw feature whose equal values make rows depend on each other (a user, a plane): sampled and drawn whole."""
    slices: Slices = Slices()
    required_slices: tuple[RequiredSlice, ...] = ()
    """Slices that the gate's checks name; `add_attribution_gate` takes them from ValidationConfig."""
    feature_groups: dict[str, tuple[str, ...]] = {}
    """Features that are permuted, and whose shares are measured, together as well as alone: name -> features."""
    permutation_importance: PermutationImportanceConfig = PermutationImportanceConfig()
    paired: bool = False
    """Explain the newest model that passed on the same rows, so that a refusal can tell the model from the data."""
    cost: CostConfig = CostConfig()
    keep_features: tuple[str, ...] = ()
    """Raw features whose values go into the row files as they are, for joins."""
    min_total_attribution: float = pydantic.Field(default=1e-3, ge=0, le=1)
    """A slice whose total mean |attribution| is below this part of the overall one has no shares."""
    batch_size: int = pydantic.Field(default=1024, ge=1, le=65_536)
    """Rows of one fixed, padded batch."""
    write_rows: bool = True
    """False keeps the row files (ids and attributions of single rows) out of the artifact."""

    @pydantic.field_validator("feature_groups")
    @classmethod
    def _groups(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, members in value.items():
            if len(set(members)) < 2 or len(set(members)) != len(members):
                raise ValueError(f"feature group {name!r} must have at least two different features")
        return value

    @pydantic.model_validator(mode="after")
    def _one_baseline_a_feature(self) -> ExplainConfig:
        twice = sorted({*self.image_baselines} & {*(self.input_baseline or {})})
        if twice:
            raise ValueError(f"features must stand in input_baseline or in image_baselines, not in both: {twice}")
        return self

    @pydantic.field_validator("target", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("target must be a number or a name; a class called yes, no, true or false needs quotes")
        return value

    @pydantic.field_validator("input_features")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(value) or not all(value.values()):
            raise ValueError("input_features must map non-empty names to non-empty names")
        return value

    @pydantic.field_validator("class_names")
    @classmethod
    def _named_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not all(value) or {"predicted", "label"} & set(value):
            raise ValueError("class_names must be distinct, non-empty, and neither `predicted` nor `label`")
        return value

    @pydantic.field_validator("splits")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not all(value):
            raise ValueError("splits must be distinct, non-empty names")
        return value


def _off_is_a_word(value: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class Check(_Base):
    """One check: its threshold, and whether a failure blocks."""

    threshold: float = pydantic.Field(ge=0, le=100)
    severity: Severity = "block"

    _off = pydantic.field_validator("severity", mode="before")(_off_is_a_word)


class MaxShareCheck(_Base):
    """Cap on the share of one feature, or of a group of features together, of the total attribution."""

    threshold: float | None = pydantic.Field(default=None, gt=0, le=1)
    """None is max(0.4, 0.3 + 1/F) for F used features: a small model leans on few features by nature."""
    severity: Severity = "block"
    with_reference: Severity = "warn"
    """Severity once there is another model to compare with; `severity: off` takes a warning away there too."""

    _off = pydantic.field_validator("severity", "with_reference", mode="before")(_off_is_a_word)


class ShareCheck(Check):
    """A check whose statistic is a share: 18 where 0.18 was meant would switch it off."""

    threshold: float = pydantic.Field(ge=0, le=1)


class Checks(_Base):
    """The checks of AttributionValidator; the constants are those measured on honest retrains."""

    completeness: ShareCheck = ShareCheck(threshold=0.01)
    max_share: MaxShareCheck = MaxShareCheck()
    share_change: ShareCheck = ShareCheck(threshold=0.18)
    profile_change: Check = Check(threshold=0.20)
    direction_flip: ShareCheck = ShareCheck(threshold=0.055)
    total_scale: Check = Check(threshold=0.65)
    vanished: ShareCheck = ShareCheck(threshold=0.05)
    predicted_classes: ShareCheck = ShareCheck(threshold=0.95)
    new_features: ShareCheck = ShareCheck(threshold=0.05)
    removed_features: ShareCheck = ShareCheck(threshold=0.05)


class EvidenceFloor(_Base):
    """What must have been measured before anything can pass."""

    min_effective_rows: float = pydantic.Field(default=1000, ge=1)
    methods: tuple[CompleteMethod, ...] = pydantic.Field(default=COMPLETE_METHODS, min_length=1)
    """Methods whose attributions are evidence."""
    min_num_steps: int = pydantic.Field(default=50, ge=1)
    """Nodes of every row; with expected gradients those of all its background rows together."""
    max_unseen: float = pydantic.Field(default=0.2, ge=0, le=1)
    """Part of the rows that the sample may miss, or have too many of: equal ones, and a cluster's, are taken whole."""
    max_failed_weight: float = pydantic.Field(default=0.001, ge=0, le=1)
    """Share of the weight that may be unreadable, non-finite or refused by the model's parser."""
    min_rows_per_slice: float = pydantic.Field(default=250, ge=1)
    """Effective rows of each required slice: half of the distinct rows that ExplainerGen takes of it by default, since
    weights, repeated rows and failed ones leave fewer."""
    max_failed_weight_per_slice: float = pydantic.Field(default=0.01, ge=0, le=1)
    """As `max_failed_weight`, of a required slice: there a single row is much more."""
    min_total_attribution: float = pydantic.Field(default=1e-3, ge=0, le=1)
    """A required slice whose total mean |attribution| is below this part of the overall one has no shares to judge."""


class Approval(_Base):
    """A person's word that a feature may come or go; a new one up to `max_share`, None for the cap of any feature."""

    name: str = pydantic.Field(min_length=1)
    reason: str = pydantic.Field(min_length=1)
    until: datetime.date
    max_share: float | None = pydantic.Field(default=None, gt=0, le=1)


class DominantFeature(_Base):
    """A feature, or a group of features, that may lead by nature, with a cap and a reason of its own."""

    max_share: float = pydantic.Field(gt=0, le=1)
    reason: str = pydantic.Field(min_length=1)


class AbsoluteChecksDecideUntil(_Base):
    """Up to and including this date a model without a reference is judged by the absolute checks alone."""

    until: datetime.date


class AbsoluteChecksDecide(_Base):
    """`without_reference: {absolute_checks_decide: {until: 2027-01-31}}`."""

    absolute_checks_decide: AbsoluteChecksDecideUntil


class ValidationConfig(_Base):
    """The policy of AttributionValidator."""

    gate_id: str = pydantic.Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Keeps two gates of one pipeline apart: a reference of another gate is refused."""
    without_reference: Literal["refuse"] | AbsoluteChecksDecide = "refuse"
    evidence: EvidenceFloor = EvidenceFloor()
    checks: Checks = Checks()
    required_slices: tuple[RequiredSlice, ...] = ()
    """Slices on which shares, profiles, directions, scale, completeness, new, removed and vanished features are judged;
    `add_attribution_gate` has ExplainerGen explain them. Kept in one order, whatever the order they are written in."""
    approved_features: tuple[Approval, ...] = ()
    dominant_features: dict[str, DominantFeature] = {}
    """By a feature's name, or by the name of a group of features."""

    @pydantic.field_validator("required_slices")
    @classmethod
    def _each_slice_once(cls, value: tuple[RequiredSlice, ...]) -> tuple[RequiredSlice, ...]:
        return unique_slices(value)

    def approval(self, name: str, today: datetime.date) -> Approval | None:
        """The approval of a feature that holds today."""
        return next((a for a in self.approved_features if a.name == name and a.until >= today), None)

    def ended(self, today: datetime.date) -> tuple[datetime.date, ...]:
        """The dates up to which something was allowed, as far as they are over; rising."""
        rule = self.without_reference
        dates = {a.until for a in self.approved_features}
        dates |= {rule.absolute_checks_decide.until} if isinstance(rule, AbsoluteChecksDecide) else set()
        return tuple(sorted(date for date in dates if date < today))


def unique_slices(slices: Iterable[RequiredSlice]) -> tuple[RequiredSlice, ...]:
    """Each slice once, in an order that does not depend on how they came."""
    by_text = {required.to_json(): required for required in slices}
    return tuple(by_text[text] for text in sorted(by_text))
