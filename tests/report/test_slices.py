import re

from tests.report.page_reader import Page
from tests.report.report_data import anomalies, evidence, importance, known, result, slice_entry, summary

from tfx_explain.report.anomalies import render_anomalies
from tfx_explain.report.attributions import render_attributions
from tfx_explain.report.heat_map import MAX_SLICES, share_heat_map
from tfx_explain.report.slice_data import slices_of

OVERALL = {"fare": 0.6, "miles": 0.4}
LEANS = slice_entry("hour=3", {"miles": known(0.7, 0.65, 0.75), "fare": known(0.3, 0.1, 0.7)})


def render(*slices, **more):
    return render_attributions(evidence(OVERALL, slices=list(slices), **more))


def slicing(**more):
    return {"slices": 1, "rows_per_slice": 10, "small_slices": {}, "required": [], "missing": []} | more


def by_first(page, first):
    return [row for row in page.rows if row[0] == first]


def test_a_slice_stands_below_the_overall_one_with_what_it_leans_on():
    page = Page(render(LEANS))
    where = [row[0] for row in page.rows].index("overall")
    assert page.rows[where - 1] == ["slice", "rows", "leads (share, points from overall)", "mean prediction", "auc"]
    assert page.rows[where] == [
        "overall", "5,000\n2,000 explained", "fare 60.0 %\nmiles 40.0 %", "-1.25", "0.591\n[0.57 to 0.61]",
    ]  # fmt: skip
    assert page.rows[where + 1] == [
        "hour=3", "100\n80 explained", "miles 70.0 % (+30.0)\nfare 30.0 % (-30.0)", "-0.5",
        "0.7\n[0.65 to 0.75]",
    ]  # fmt: skip


def test_only_what_differs_clearly_is_bold():
    text = render(LEANS)
    assert "<strong>miles 70.0 % (+30.0)</strong>" in text
    assert "<strong>fare" not in text


def test_evaluators_metrics_stand_beside_ours_of_the_same_name():
    one = LEANS | {"evaluator_metrics": {"auc": known(0.69), "example_count": known(120.0), "calibration": known(1.1)}}
    page = Page(render(one, evaluator_metrics={"auc": known(0.58)}))
    header = next(row for row in page.rows if row[:1] == ["slice"])
    assert header[4:] == ["auc", "calibration, Evaluator", "example_count, Evaluator"]
    assert by_first(page, "hour=3")[0][4:] == ["0.7\n[0.65 to 0.75]\nEvaluator 0.69", "1.1", "120"]
    assert by_first(page, "overall")[0][4:] == ["0.591\n[0.57 to 0.61]\nEvaluator 0.58", "–", "–"]
    assert by_first(page, "auc")[0] == ["auc", "0.591", "0.57 to 0.61", "0.58", "–"]


def test_metrics_that_do_not_fit_are_named():
    metrics = {f"m{i}": known(0.5) for i in range(6)}
    page = Page(render(LEANS | {"evaluator_metrics": metrics}))
    assert "Left out of Evaluator's metrics: m4, m5." in page.text


def test_a_slice_needs_what_clearly_loses_there():
    needs = [
        importance("miles", auc=known(0.2, 0.1, 0.3)),
        importance("fare", auc=known(0.1, -0.1, 0.3)),
        importance("harm", auc=known(-0.2, -0.3, -0.1)),
    ]
    overall = evidence(OVERALL)["permutation_importance"] | {"features": needs}
    page = Page(render(LEANS | {"permutation_importance": needs}, permutation_importance=overall))
    assert by_first(page, "hour=3")[0][3] == "miles 0.2"


def test_every_slice_has_its_features_with_their_intervals():
    page = Page(render(LEANS))
    assert by_first(page, "miles")[0] == [
        "miles", "70.0 %", "65.0 % to 75.0 %", "40.0 %", "0.1", "0.05 to 0.15",
    ]  # fmt: skip


def test_what_was_left_out_is_said():
    page = Page(
        render(
            LEANS,
            slicing=slicing(
                slices=70,
                small_slices={"remainder of hour (5 small slices)": {"slices": 5, "rows": 40}},
                missing=["hour=<9>"],
                only_ours=["hour=3"],
                only_evaluators=[f"day={i}" for i in range(30)],
                evaluator_skipped={"another model": 12},
            ),
        )
    )
    assert "1 of 70 slices are shown" in page.text
    assert "are merged (remainder of hour (5 small slices): 40 rows)." in page.text
    assert "Required slices without a row: hour=<9>." in page.text
    assert "Slices that Evaluator's result lacks: hour=3." in page.text
    assert "day=19 and 10 more." in page.text
    assert "Left out of Evaluator's numbers: 12 (another model)." in page.text


def test_required_slices_stand_first_and_remainders_last():
    entries = [
        slice_entry(name, {}, key=None if name == "rest" else []) for name in ("rest", "large", "asked", "named")
    ]
    data = evidence(OVERALL, slices=entries, slicing=slicing(required=["asked"]))
    assert [one["name"] for one in slices_of(data, None, {"named"})] == ["named", "asked", "large", "rest"]


def test_a_refused_slice_stands_first_on_the_page_of_the_verdict():
    refusal = result("share_change", "FAIL", feature="fare", slice="hour=4")
    other = slice_entry("hour=4", {"fare": known(0.5, 0.4, 0.6)})
    page = Page(render_anomalies(anomalies(refusal), evidence(OVERALL, slices=[LEANS, other])))
    names = [row[0] for row in page.rows]
    assert names.index("hour=4") < names.index("hour=3")


def test_a_summary_of_before_there_were_slices_has_no_such_section():
    text = Page(render_attributions(summary(OVERALL))).text
    for title in (
        "Slices",
        "Where it does badly",
        "Where the leading features matter most",
        "Permutation importance",
        "move together",
        "Cost",
    ):
        assert title not in text
    assert "No slice was explained beside the overall one." in Page(render()).text


def test_a_cell_is_coloured_where_the_interval_leaves_out_the_overall_share():
    svg = share_heat_map(slices_of(evidence(OVERALL, slices=[LEANS]), None), OVERALL)
    colors = re.findall('<path[^>]*aria|fill="(#[0-9a-f]{6}|rgb\\([^)]*\\))"', svg[svg.index("</div>") :])
    cells = [color for color in colors if color.startswith("rgb")]
    assert cells.count("rgb(244, 246, 248)") == 3
    assert cells.count("rgb(116, 171, 223)") == 1


def test_the_map_draws_so_many_slices_and_says_so():
    many = [slice_entry(f"hour={i}", {"fare": known(0.5, 0.4, 0.6)}) for i in range(MAX_SLICES + 5)]
    text = render(*many)
    svg = text[text.index("<h2>Slices") : text.index("</figure>", text.index("<h2>Slices"))]
    assert "hour=29<" in svg and "hour=30<" not in svg
    assert "Drawn are 30 of 35 slices." in Page(text).text


def test_no_share_no_map():
    page = Page(render(slice_entry("hour=3", {"fare": known(None)})))
    assert "No slice has a share between 0 and 1 to draw." in page.text
    assert by_first(page, "hour=3")[0][2] == "fare –"


def test_50_slices_of_20_features_are_a_page_that_can_be_sent():
    shares = {f"feature_{i}": (i + 1) / 210 for i in range(20)}
    measured = {name: known(share, 0.9 * share, 1.1 * share) for name, share in shares.items()}
    needs = [importance(name, auc=known(0.1, 0.05, 0.2), loss=known(0.1, 0.05, 0.2)) for name in shares]
    slices = [slice_entry(f"hour={i}", measured, permutation_importance=needs) for i in range(50)]
    data = evidence(shares, slices=slices)
    data["permutation_importance"]["features"] = needs
    text = render_attributions(data)
    assert len(text.encode()) < 1_500_000
    assert len(by_first(Page(text), "feature_7")) >= 50
    assert render_attributions(data) == text


def test_hostile_slices_stay_text():
    name = 'company="</text><script>\u202e", day=\n1'
    leak = known(0.9, 0.8, 1.0)
    one = slice_entry(
        name,
        {"<b>": leak, "\udc80": known(float("nan"), None, 10**400)},
        evaluator_metrics={"<i>": known(float("inf"))},
        group_shares={"<u>": leak},
    )
    text = render(
        one,
        slicing=slicing(missing=["<script>"], small_slices={"<script>": {"slices": 1, "rows": None}}),
        weak_slices=[{"slice": name, "feature": "<b>", "metric": "<i>", "gap": leak, "shift": leak, "score": 1.0}],
        groups={"<u>": ["<b>"]},
        group_shares={"<u>": leak},
    )
    assert not Page(text).names & {"script", "b", "i", "u"}
    assert "\u202e" not in text
    text.encode("utf-8")
