"""Errors that name why a model, a signature, a row or a cut cannot be used."""


class FeatureModelError(ValueError):
    """Base of every refusal of this package."""


class SavedModelError(FeatureModelError):
    """The folder is no SavedModel, or a part of it is missing or truncated."""


class SignatureError(FeatureModelError):
    """The signature is absent, or does not take one batch of serialised tf.Examples."""


class OutputError(FeatureModelError):
    """The named output is absent or is no floating tensor [rows, ...]."""


class ExampleError(FeatureModelError):
    """The model's parser refuses a row."""


class NoGradientError(FeatureModelError):
    """No gradient reaches the output from single features: `PredictionModel` and permutation importance need none."""


class UnsupportedOpError(FeatureModelError):
    """The graph holds an operation that this process does not know, or that cannot be run outside the exporter's."""


class BatchDependentError(FeatureModelError):
    """A row's output depends on the other rows of its batch, or on the batch's size."""


class NotRepeatableError(FeatureModelError):
    """The output changes between two calls on the same rows."""


class SelfCheckError(FeatureModelError):
    """The model cut in two does not give the output of the whole model."""


class CutPolicyError(FeatureModelError):
    """A pinned cut policy cannot be honoured, or does not converge on the sample."""


class ConvergenceError(FeatureModelError):
    """A feature's path integral converges on the sample under no cut policy."""
