import numpy as np
import pytest

from tfx_explain.explainer_gen.slice_keys import plain_key, typed_key


def test_types_keep_equal_numbers_apart():
    keys = [(("hour", 1),), (("hour", 1.0),), (("hour", "1"),)]
    assert len({typed_key(key) for key in keys}) == 3
    assert len(set(keys)) == 2


def test_floats_are_rounded_as_tfma_stores_them():
    assert typed_key((("x", 0.1),)) == typed_key((("x", float(np.float32(0.1))),))
    assert typed_key((("x", 0.1),)) != typed_key((("x", 0.1001),))
    assert typed_key((("x", float("nan")),)) == typed_key((("x", float("nan")),))


def test_numpy_scalars_are_made_plain():
    key = (("a", np.int64(3)), ("b", np.float32(0.5)), ("c", "z"))
    assert [type(value) for _, value in plain_key(key)] == [int, float, str]
    assert typed_key(key) == typed_key((("a", 3), ("b", 0.5), ("c", "z")))


@pytest.mark.parametrize("value", [True, None, b"x"])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError, match="a slice's value must be a str, int or float. Received: a="):
        typed_key((("a", value),))
