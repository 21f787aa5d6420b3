"""The output to explain, and the logit behind its sigmoid or softmax."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfx_explain.engine.feature_graph.errors import NoGradientError, OutputError
from tfx_explain.engine.feature_graph.flat_graph import FlatGraph

CLASS = "class"
LINKS = {"Sigmoid": "sigmoid", "Softmax": "softmax", "LogSoftmax": "logsoftmax"}
_PREFERRED_NAMES = ("logits", "outputs", "output_0", "scores", "probabilities", "predictions")
_SHAPE_ONLY = frozenset(
    {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Cast", "EnsureShape", "CheckNumerics"}
)


@dataclasses.dataclass(frozen=True)
class Output:
    """One output of the signature.

    Attributes:
        name: the signature's name for it.
        tensor: name of the tensor before the link: the logits, or the output itself.
        link: `sigmoid`, `softmax`, `logsoftmax`; `class` when the output is a class's number; `raw` when it ends
            in none of them.
        applied: whether the graph applies the link itself; False for logits that are declared to be such.
    """

    name: str
    tensor: str
    link: str
    applied: bool = True


def declared_logits(output: Output, num_targets: int) -> Output:
    """An output that ends in no link, as the logits that its user says it is (Keras: `from_logits=True`)."""
    if output.link != "raw":
        return output
    return dataclasses.replace(output, link="sigmoid" if num_targets == 1 else "softmax", applied=False)


def find_output(flat: FlatGraph, name: str | None, *, integers: bool = False, integer_output: str = CLASS) -> Output:
    """Picks the named output, else the first of the usual names, else the first floating one by name.

    Args:
        flat: the graph.
        name: of the output, or None.
        integers: whether an integer (the number of a class) will do where that output, or every output, is none
            of floats. Such an output has no gradient.
        integer_output: whether integers are the numbers of classes (`class`) or amounts (`amount`), and so an argmax
            that was cast to floats.

    Raises:
        NoGradientError: if no output is floating.
        OutputError: if `name` is none of the floating outputs.
    """
    outputs = {key: flat.tensor(tensor) for key, tensor in flat.output_names.items()}
    floating = [key for key, tensor in outputs.items() if tensor.dtype.is_floating]
    if integers:
        whole = [key for key, tensor in outputs.items() if tensor.dtype.is_integer or tensor.dtype.is_bool]
        if name in whole or (name is None and whole and not floating):
            return Output(name or whole[0], outputs[name or whole[0]].name, "raw" if integer_output != CLASS else CLASS)
    if not floating:
        received = {key: tensor.dtype.name for key, tensor in outputs.items()}
        raise NoGradientError(
            f"the signature must have a floating output (scores, logits). Received: {received}. Names of classes can "
            "be permuted, not attributed, where class_names gives them numbers"
        )
    if name is None:
        name = next((usual for usual in _PREFERRED_NAMES if usual in floating), floating[0])
    elif name not in floating:
        raise OutputError(f"output must be one of the floating outputs {floating}. Received: output={name!r}")
    tensor = outputs[name]
    before = tensor
    # The n-th output of IdentityN is its n-th input; the other ops have one output, of number 0.
    while (
        before.op.type in _SHAPE_ONLY and before.op.inputs[before.value_index].dtype.is_floating
    ) or _takes_all_columns(before):
        before = before.op.inputs[before.value_index]
    # A softmax over [rows, tokens, classes] has no one row of logits: such an output is explained as it is.
    if before.op.type == "Sigmoid" or (before.op.type in LINKS and before.shape.rank in (None, 1, 2)):
        return Output(name, before.op.inputs[0].name, LINKS[before.op.type])
    return Output(name, tensor.name, CLASS if integer_output == CLASS and is_argmax(tensor) else "raw")


def without_foreign_link(flat: FlatGraph, output: Output, num_targets: int, sample: tf.Tensor) -> Output:
    """The output as it is, where its softmax is not over its columns: over those of each token, in rows that follow.

    Args:
        flat: the graph.
        output: as `find_output` finds it.
        num_targets: columns of the output.
        sample: serialised tf.Examples, string [rows]; it tells the shape where the graph does not.
    """
    if output.link not in ("softmax", "logsoftmax"):
        return output
    shape = flat.tensor(output.tensor).shape
    if shape.rank is None or shape[-1] is None:
        shape = flat.function(flat.input_names, [output.tensor])(sample)[0].shape
    if shape.rank == 1 or (shape.rank == 2 and shape[-1] == num_targets):
        return output
    return Output(output.name, flat.output_names[output.name], "raw")


def is_argmax(tensor: tf.Tensor) -> bool:
    """Whether a tensor is the number of the largest column, whatever it was cast and reshaped to."""
    while tensor.op.type in _SHAPE_ONLY or tensor.op.type == "StridedSlice":  # `number[:, None]`
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor.op.type == "ArgMax"


def _takes_all_columns(tensor: tf.Tensor) -> bool:
    """Whether a slice leaves out nothing and reverses nothing: `probability[:, 0]` of one column, `scores[:, None]`."""
    op = tensor.op
    if op.type != "StridedSlice" or not tensor.dtype.is_floating:
        return False
    all_rows = op.get_attr("begin_mask") & op.get_attr("end_mask") & ~op.get_attr("new_axis_mask") & 1
    source, strides = op.inputs[0].shape, tf.get_static_value(op.inputs[3])
    if not all_rows or not source.rank or not tensor.shape.rank or strides is None or (strides != 1).any():
        return False
    columns = source[1:].num_elements()
    return columns is not None and columns == tensor.shape[1:].num_elements()


def other_choices(flat: FlatGraph, asked: str | None, found: str) -> list[str]:
    """A sentence where several outputs could be explained and none was asked for."""
    floating = [key for key, name in flat.output_names.items() if flat.tensor(name).dtype.is_floating]
    if asked is not None or len(floating) < 2:
        return []
    return [f"of the floating outputs {floating} {found!r} is explained; `output` takes another"]


def apply_link(logits: tf.Tensor, link: str) -> tf.Tensor:
    """What the model makes of its logits [rows, targets]."""
    if link == "sigmoid":
        return tf.sigmoid(logits)
    if link == "softmax":
        return tf.nn.softmax(logits)
    if link == "logsoftmax":
        return tf.nn.log_softmax(logits)
    return logits


def in_unit(logits: tf.Tensor, link: str, unit: str) -> tf.Tensor:
    """Logits [rows, targets] in the unit that is reported: themselves, or probabilities."""
    if unit != "probability":
        return logits
    return tf.sigmoid(logits) if link == "sigmoid" else tf.nn.softmax(logits)


def explained_value(logits: tf.Tensor, target: tf.Tensor, link: str, unit: str) -> tf.Tensor:
    """The value that is attributed, [rows].

    Softmax logits mean something only by their differences. So in logits, and with more than two classes, the value is
    the target's logit minus the row's mean logit; with two, minus the other class's logit (the log odds).

    Args:
        logits: float32 [rows, targets].
        target: int32 [rows].
        link: see `Output`.
        unit: `logit`, `probability` or `output`.
    """
    values = in_unit(logits, link, unit)
    if unit == "logit" and link in ("softmax", "logsoftmax"):
        values -= tf.reduce_mean(values, axis=1, keepdims=True)
        if values.shape[1] == 2:
            values *= 2.0
    return tf.gather(values, target, axis=1, batch_dims=1)
