import pathlib

import pytest

from benchmarks.engine import tables


def measured(wrong_rows: int = 0) -> dict:
    apart = {
        "largest": 3e-3,
        "largest_without_kinks": 2e-3 if wrong_rows else 1e-7,
        "rows": 2000,
        "rows_at_kinks": 4,
        "rows_wrong": wrong_rows,
        "equal": not wrong_rows,
    }
    error = {"median": 1e-3, "p99": 2e-2}
    peer = {
        "us": 90.0,
        "wall_us": 95.0,
        "times_faster": 3.0,
        "at_its_error": {"steps": 40, "times_faster": 3.7},
        "difference": apart,
        "completeness": error,
    }
    model = {
        "rows": 10240,
        "us": {"bound": 20.0, "ours": 30.0, "plain": 55.0, "encode": 4.0},
        "compiled": True,
        "ratio_to_bound": 0.67,
        "bound": {"xla": True},
        "completeness": {"ours": error, "bound": error},
        "repair": {
            "us": 40.0,
            "unconverged_at_first": 0.01,
            "unconverged": 0.0,
            "fixed_steps": None,
            "fixed_us": None,
        },
        "bound_difference": {**apart, "rows_wrong": 0, "equal": True},
        "peers": {"captum": peer, "alibi": {"not_run": "needs python3.10 on PATH: there is none"}},
    }
    environment = {"steps": 50, "threads": 1, "rounds": 5, "cpus": 2, "versions": {"ours": {"numpy": "1"}}}
    return {"environment": environment, "models": {"small": model}}


def test_a_peer_that_did_not_run_is_named_with_its_reason():
    text = tables.page(measured())
    assert "| small | alibi | Gauss-Legendre | not run |" in text
    assert "- alibi on small: needs python3.10 on PATH: there is none" in text


def test_the_page_has_ratios_and_the_fastest_library():
    results = measured()
    peers = results["models"]["small"]["peers"]
    peers["xplique"] = {**peers["captum"], "us": 91.0, "times_faster": 3.1}
    peers["torch_loop"] = {**peers["captum"], "us": 60.0, "times_faster": 2.0, "at_its_error": None}
    text = tables.page(results)
    assert (
        "| small | 10,240 | 20.0 | yes | 30.0 | yes | 55.0 | 0.67 | 4.0 | 40.0 | 1.00%, 0.00% | none tried | - |"
        in text
    )
    assert "| small | Captum | Gauss-Legendre | 90.0 | 3.0 x | 3.7 x, 40 nodes | 1.0e-03 / 2.0e-02 | 1.0e-03" in text
    assert (
        "small: Captum, 3.0 x (at its error 3.7 x, 40 nodes) and bare torch loop, 2.0 x (at its error never)." in text
    )
    short = "| 30 numbers, 64-64, ReLU | 30.0 | 55.0 | 0.67 | 2.0 | 3.0 | - | 3.1 | - | - | Captum, 3.7 x, 40 nodes |"
    assert short in text


def test_the_readme_shows_the_committed_page():
    root = pathlib.Path(__file__).parents[3]
    page = (root / "benchmarks/results/engine.md").read_text()
    short = page.partition("## In short")[2].partition("\n## ")[0]
    lines = [line for line in short.splitlines() if line.startswith("|")]
    assert len(lines) > 2 + 4
    readme = (root / "README.md").read_text()
    assert [line for line in lines if line not in readme] == []


def test_equal_results_are_no_problem():
    assert tables.wrong(measured()) == []


def test_a_difference_is_a_problem_with_its_size():
    (sentence,) = tables.wrong(measured(wrong_rows=3))
    assert "small: Captum" in sentence
    assert "0.002 (3 of 2000 rows)" in sentence


@pytest.mark.parametrize("reason", ["pip install torch: no route", "RuntimeError"])
def test_nothing_compared_is_a_problem(reason):
    results = measured()
    results["models"]["small"]["peers"] = {"captum": {"not_run": reason}}
    assert tables.wrong(results) == ["at least one peer must have been compared. Received: none"]
