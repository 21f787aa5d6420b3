"""Which column is explained: by number, by name, as predicted, by label."""

import numpy as np
import pytest

from tfx_explain.config import ConfigError, ExplainConfig
from tfx_explain.explainer_gen.target import Target, TargetError, check_fits, known_classes, resolve_target

NAMES = ("cat", "dog", "owl")
SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.2, 0.2, 0.6]])


@pytest.mark.parametrize(
    ("target", "classes", "targets", "want"),
    [
        (None, None, 1, Target("0", 0)),
        ("predicted", None, 1, Target("0", 0)),
        (0, None, 1, Target("0", 0)),
        (None, NAMES, 3, Target("predicted", None)),
        ("label", NAMES, 3, Target("label", None)),
        (2, None, 3, Target("2", 2)),
        (2, NAMES, 3, Target("owl", 2)),
        ("dog", NAMES, 3, Target("dog", 1)),
        (0, ("no", "yes"), 1, Target("0", 0)),  # names of 0 and 1 are none of the one column's
    ],
)
def test_a_target_is_resolved(target, classes, targets, want):
    assert resolve_target(ExplainConfig(target=target), classes, targets) == want


@pytest.mark.parametrize(
    ("target", "classes", "targets", "message"),
    [
        (3, NAMES, 3, "below the number of output columns, 3. Received: target=3"),
        ("cow", NAMES, 3, r"one of the classes \['cat', 'dog', 'owl'\]. Received: target='cow'"),
        ("cow", None, 3, "the model tells no class names"),
        ("label", None, 1, "a column for each class"),
        ("yes", ("no", "yes"), 1, "tells no class names"),
    ],
)
def test_a_column_that_is_not_there_is_refused(target, classes, targets, message):
    with pytest.raises(TargetError, match=message):
        resolve_target(ExplainConfig(target=target), classes, targets)


def test_each_row_has_its_own_column():
    assert Target("predicted", None).of(SCORES)[0].tolist() == [1, 0, 2]
    column, known = Target("label", None).of(SCORES, np.array([2.0, np.nan, 7.0]))
    assert column[0] == 2 and known.tolist() == [True, False, False]
    assert not Target("label", None).of(SCORES)[1].any()
    assert not Target("label", None).of(SCORES, np.array([0.5, -1.0, 3.0]))[1].any()
    assert Target("owl", 2).of(SCORES)[0].tolist() == [2, 2, 2]


def test_the_configurations_class_names_go_first_and_must_be_as_many():
    assert known_classes(ExplainConfig(), NAMES, 3) == NAMES
    assert known_classes(ExplainConfig(), None, 3) is None
    assert known_classes(ExplainConfig(class_names=("x", "y", "z")), NAMES, 3) == ("x", "y", "z")
    assert known_classes(ExplainConfig(class_names=("no", "yes")), None, 1) == ("no", "yes")
    assert known_classes(ExplainConfig(class_names=("x", "y", "z")), None, 1, "class") == ("x", "y", "z")
    with pytest.raises(TargetError, match="the 3 classes of an output with 3 columns"):
        known_classes(ExplainConfig(class_names=("x", "y")), None, 3)


def test_class_names_are_distinct_and_no_words_of_ours():
    for names in (["a", "a"], ["label", "b"], [""]):
        with pytest.raises(ConfigError, match="class_names must be distinct"):
            ExplainConfig.make({"class_names": names})


PREDICTED, LABEL, COLUMN = Target("predicted", None), Target("label", None), Target("2", 2)


@pytest.mark.parametrize(
    ("target", "links"),
    [
        (COLUMN, ("raw", "sigmoid", "softmax", "logsoftmax")),
        (PREDICTED, ("sigmoid", "softmax", "logsoftmax")),
        (LABEL, ("softmax", "logsoftmax")),
    ],
)
def test_rows_have_their_own_column_only_where_columns_are_classes(target, links):
    for link in ("raw", "sigmoid", "softmax", "logsoftmax"):
        if link in links:
            check_fits(target, link, 3)
            continue
        with pytest.raises(
            TargetError, match=f"must be a column, 0 to 2, .* Received: target='{target.name}'"
        ) as caught:
            check_fits(target, link, 3)
        assert ("from_logits" in str(caught.value)) == (link == "raw")
