import dataclasses

import numpy as np
import pytest

from tfx_explain.engine.methods.integrated_gradients import integrated_gradients


@dataclasses.dataclass
class Rows:
    x: np.ndarray

    def __len__(self):
        return len(self.x)

    def take(self, rows):
        return Rows(self.x[rows])


@dataclasses.dataclass
class Integral:
    attributions: np.ndarray
    prediction: np.ndarray
    baseline_prediction: np.ndarray


class Model:
    """f(x)[target] = scale[target] * sum_i function(x_i), with its gradient; remembers its calls."""

    def __init__(self, function, gradient, scale=(1.0,)):
        self.function, self.gradient = function, gradient
        self.scale = np.asarray(scale)
        self.calls = []

    def path_gradients(self, encoded, input_baseline, target, nodes, weights):
        self.calls.append((len(encoded), len(nodes)))
        x, b = encoded.x, input_baseline.x
        points = b + nodes[:, None, None] * (x - b)  # [steps, rows, features]
        scale = self.scale[target]
        attributions = (x - b) * np.tensordot(weights, self.gradient(points), 1) * scale[:, None]
        return Integral(
            attributions.astype(np.float32),
            (scale * self.function(x).sum(axis=1)).astype(np.float32),
            np.broadcast_to(scale * self.function(b).sum(axis=1), len(x)).astype(np.float32),
        )


def cubic():
    return Model(lambda x: x**3, lambda x: 3 * x**2, scale=(1.0, -2.0))


def step_at(threshold, width):
    """A steep ramp: few nodes miss it, more meet it."""
    return Model(
        lambda x: np.clip((x - threshold) / width, 0, 1),
        lambda x: ((x > threshold) & (x < threshold + width)) / width,
    )


def random_rows(count, seed=0):
    return Rows(np.random.default_rng(seed).normal(size=(count, 3)))


def test_attributions_of_a_polynomial_are_exact_and_add_up():
    rows, baseline = random_rows(20), Rows(np.array([[0.1, -0.2, 0.3]]))
    result = integrated_gradients(cubic(), rows, baseline, 0, num_steps=2, repair_steps=())
    np.testing.assert_allclose(result.attributions, rows.x**3 - baseline.x**3, atol=1e-5)
    np.testing.assert_allclose(result.convergence_delta, 0, atol=1e-5)
    assert result.converged.all()
    assert result.num_steps.tolist() == [2] * 20
    assert result.num_steps.dtype == np.int32


def test_each_row_has_its_target():
    rows, baseline = random_rows(4), Rows(np.zeros((1, 3)))
    result = integrated_gradients(cubic(), rows, baseline, np.array([0, 1, 0, 1]), num_steps=2, repair_steps=())
    np.testing.assert_allclose(result.attributions, rows.x**3 * np.array([[1], [-2], [1], [-2]]), atol=1e-4)


def test_only_rows_that_have_not_converged_run_again_in_fixed_batches():
    model = step_at(0.5, 0.02)
    x = np.zeros((10, 2))
    x[[2, 5, 7], 0] = 1.0  # these cross the ramp, which four nodes do not meet
    result = integrated_gradients(
        model, Rows(x), Rows(np.zeros((1, 2))), 0, num_steps=4, repair_steps=(400, 2000), repair_batch=2
    )
    assert model.calls[:3] == [(10, 4), (2, 400), (2, 400)]
    assert all(rows == 2 for rows, _ in model.calls[1:])
    assert result.converged.all()
    assert (result.num_steps[[2, 5, 7]] > 4).all()
    assert (np.delete(result.num_steps, [2, 5, 7]) == 4).all()
    np.testing.assert_allclose(result.attributions[[2, 5, 7], 0], 1, atol=0.05)
    expected = sum(rows * (3 * steps + 1) + 1 for rows, steps in model.calls)
    assert result.forward_equivalents == expected


@pytest.mark.parametrize(("left", "batches"), [(3, [16]), (17, [32]), (33, [64]), (64, [64]), (85, [64, 32])])
def test_few_rows_run_again_in_a_smaller_batch(left, batches):
    model = step_at(0.5, 0.02)
    x = np.zeros((100, 2))
    x[:left, 0] = 1.0
    result = integrated_gradients(model, Rows(x), Rows(np.zeros((1, 2))), 0, num_steps=4, repair_steps=(400,))
    assert model.calls == [(100, 4), *((rows, 400) for rows in batches)]
    assert result.converged.all()


def test_rows_that_stay_unconverged_say_so():
    x = np.ones((3, 1))
    result = integrated_gradients(
        step_at(0.5, 1e-6), Rows(x), Rows(np.zeros((1, 1))), 0, num_steps=5, repair_steps=(6,)
    )
    assert not result.converged.any()
    assert result.num_steps.tolist() == [6, 6, 6]
    np.testing.assert_allclose(result.convergence_delta, -1, atol=1e-6)


def test_padding_never_runs_again():
    model = step_at(0.5, 1e-6)
    valid = np.array([False, False, True])
    result = integrated_gradients(
        model,
        Rows(np.ones((3, 1))),
        Rows(np.zeros((1, 1))),
        0,
        num_steps=5,
        repair_steps=(6,),
        repair_batch=4,
        valid=valid,
    )
    assert model.calls == [(3, 5), (4, 6)]
    assert result.num_steps.tolist() == [5, 5, 6]
    model.calls.clear()
    integrated_gradients(
        model, Rows(np.ones((3, 1))), Rows(np.zeros((1, 1))), 0, num_steps=5, repair_steps=(6,), valid=np.zeros(3, bool)
    )
    assert model.calls == [(3, 5)]


def test_rows_that_are_not_finite_are_unconverged_and_do_not_run_again():
    model = cubic()
    rows = random_rows(3)
    rows.x[1, 0] = np.nan
    result = integrated_gradients(model, rows, Rows(np.zeros((1, 3))), 0, num_steps=2, repair_steps=(4,))
    assert result.converged.tolist() == [True, False, True]
    assert model.calls == [(3, 2)]


def test_the_result_of_a_row_does_not_depend_on_which_rows_are_repaired_with_it():
    x = np.random.default_rng(1).uniform(0, 2, size=(40, 2))
    arguments = {"num_steps": 5, "repair_steps": (50, 100), "repair_batch": 8}
    whole = integrated_gradients(step_at(0.5, 0.05), Rows(x), Rows(np.zeros((1, 2))), 0, **arguments)
    half = integrated_gradients(step_at(0.5, 0.05), Rows(x[:20]), Rows(np.zeros((1, 2))), 0, **arguments)
    assert (whole.num_steps > 5).any()
    np.testing.assert_array_equal(whole.attributions[:20], half.attributions)


def test_a_row_that_is_repaired_keeps_the_baseline_of_its_own():
    x, b = np.zeros((10, 2)), np.zeros((10, 2))
    x[[2, 7], 0], b[4, 1] = 1.0, 1.0  # the ramp is met upwards by two rows, downwards by one
    model = step_at(0.5, 0.02)
    found = integrated_gradients(model, Rows(x), Rows(b), 0, num_steps=4, repair_steps=(400,), repair_batch=2)
    expected = np.zeros((10, 2))
    expected[[2, 7], 0], expected[4, 1] = 1, -1
    np.testing.assert_allclose(found.attributions, expected, atol=0.05)
    assert model.calls == [(10, 4), (2, 400), (2, 400)]
    assert found.forward_equivalents == 10 * (3 * 4 + 1) + 10 + 2 * (2 * (3 * 400 + 1) + 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0, "repair_steps": ()}, "num_steps must be >= 1"),
        ({"repair_steps": (200, 100)}, "repair_steps must increase"),
        ({"repair_steps": (50, 100)}, "repair_steps must increase"),
        ({"repair_batch": 0}, "repair_batch must be >= 1"),
        ({"valid": np.ones(2, bool)}, "valid must have the shape"),
    ],
)
def test_refuses_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(cubic(), random_rows(3), Rows(np.zeros((1, 3))), 0, **changes)


def test_refuses_fewer_baselines_than_rows():
    with pytest.raises(ValueError, match="input_baseline must have one row, or as many as encoded"):
        integrated_gradients(cubic(), random_rows(3), random_rows(2), 0)
