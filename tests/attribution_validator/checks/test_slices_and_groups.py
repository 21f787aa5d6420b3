"""Required slices and groups of features, from sums to the verdict."""

import dataclasses
import datetime

import numpy as np
import pytest
from tests.fixtures.synthetic import HONEST, Additive, Part

from tfx_explain.attribution_validator.checks.base import ModelEvidence, SliceOfModel
from tfx_explain.attribution_validator.verdict import judge_model
from tfx_explain.config import ValidationConfig
from tfx_explain.engine.aggregates.comparisons import Profiles, log_scale
from tfx_explain.engine.aggregates.intervals import bucket_draws, measure, seed_from
from tfx_explain.names import slice_name

TODAY = datetime.date(2030, 1, 1)
NIGHT, DAY = (("hour", 3),), (("hour", 12),)
AT_NIGHT, BY_DAY = slice_name(NIGHT), slice_name(DAY)
FIRST_RUN = {"without_reference": {"absolute_checks_decide": {"until": "2999-12-31"}}}
HALVES = {"leak": 1.25, "leak_copy": 1.25}
OTHERS = {"a": 0.7, "b": -0.6, "c": 0.5, "d": 0.4, "e": 0.3}
CAP = {"checks": {"max_share": {"threshold": 0.4}}}


def of(model, *required, groups=(), read=None, **facts):
    """Evidence of a model, with its slices as the policy requires them."""
    groups = model.groups(groups)
    slices = {
        slice_name(key): SliceOfModel(
            model.statistics(key), model.group_sums(groups, key), read or model.slices[key].rows
        )
        for key in required
    }
    return ModelEvidence(
        "this model",
        f"model {model.seed}",
        model.statistics(),
        num_steps=50,
        method="integrated_gradients",
        rows_read=model.rows,
        groups=model.group_sums(groups) if groups else None,
        slices=slices,
        **facts,
    )


def judged(candidate, reference=None, **config):
    return judge_model(candidate, reference, {}, ValidationConfig.make(config), TODAY)


def one(verdict, check, where="overall"):
    (result,) = [r for r in verdict.results if (r.check, r.slice) == (check, where)]
    return result


def verdicts(verdict, check):
    return {r.slice: r.verdict for r in verdict.results if r.check == check}


def sliced(seed, night=None, day=None, **options):
    parts = {NIGHT: night or Part(500), DAY: day or Part(600)}
    return Additive(HONEST, seed=seed, slices=parts, **options)


REFERENCE = of(sliced(1), NIGHT, DAY)


# Required slices.


def test_an_honest_retrain_passes_on_every_slice():
    verdict = judged(of(sliced(2), NIGHT, DAY), REFERENCE)
    assert verdict.blessed
    for check in ("evidence_floor", "max_share", "share_change", "profile_change", "direction_flip"):
        assert verdicts(verdict, check) == {"overall": "PASS", AT_NIGHT: "PASS", BY_DAY: "PASS"}
    assert one(verdict, "share_change", AT_NIGHT).sentence.startswith("In slice hour=3: '")
    assert not one(verdict, "share_change").sentence.startswith("In slice")


def test_eighty_honest_retrains_with_slices_pass():
    results = [judged(of(sliced(100 + i), NIGHT, DAY), REFERENCE) for i in range(80)]
    assert [v.blessed for v in results] == [True] * 80, [v.blocking for v in results if not v.blessed][:3]


def test_slices_that_no_policy_requires_change_no_overall_result_but_for_the_bound_of_a_finding():
    plain, with_slices = judged(of(sliced(2)), REFERENCE), judged(of(sliced(2), NIGHT, DAY), REFERENCE)
    for result in plain.results:
        other = one(with_slices, result.check)
        assert dataclasses.replace(other, low=None) == dataclasses.replace(result, low=None)
        assert result.low is None or other.low <= result.low


def test_a_leak_inside_a_slice_is_found_though_the_whole_looks_honest():
    leaky = of(sliced(3, night=Part(400, {"c": 4.0})), NIGHT, DAY)
    first = judged(leaky, **FIRST_RUN)
    assert verdicts(first, "max_share") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}
    later = judged(leaky, REFERENCE)
    assert verdicts(later, "share_change") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}
    result = one(later, "share_change", AT_NIGHT)
    assert (result.feature, result.severity) == ("c", "block")
    assert result.sentence.startswith("In slice hour=3: 'c' carries") and "a change of 3" in result.sentence
    assert not first.blessed and not later.blessed


def test_a_feature_that_turned_inside_a_slice():
    verdict = judged(of(sliced(3, night=Part(400, {"a": -1.0})), NIGHT, DAY), REFERENCE)
    assert verdicts(verdict, "direction_flip") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}
    assert verdicts(verdict, "profile_change") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}


def grown(seed, night, **weights):
    """A model with more features than HONEST, of which few rows know."""
    parts = {NIGHT: Part(500, night), DAY: Part(600)}
    return of(Additive(HONEST | weights, seed=seed, rows=12_000, slices=parts), NIGHT, DAY)


def test_a_new_feature_that_leads_inside_a_slice_needs_approval_though_the_whole_hardly_uses_it():
    """Every other comparison is among common features, and has nothing to find."""
    candidate = grown(2, {"new": 1.6}, new=0.01)
    verdict = judged(candidate, REFERENCE)
    assert verdicts(verdict, "new_features") == {"overall": "PASS", AT_NIGHT: "NEEDS_APPROVAL", BY_DAY: "PASS"}
    assert [(r.check, r.feature) for r in verdict.blocking] == [("new_features", "new")]
    assert verdict.blocking[0].sentence.startswith("In slice hour=3: 'new' is new")
    approval = {"name": "new", "reason": "asked for", "until": "2999-12-31"}
    assert judged(candidate, REFERENCE, approved_features=[approval]).blessed
    over = judged(candidate, REFERENCE, approved_features=[approval | {"max_share": 0.2}])
    assert [r.slice for r in over.blocking] == [AT_NIGHT] and "reaches to 20.0 %" in over.blocking[0].sentence


def test_small_new_features_count_together_inside_a_slice():
    verdict = judged(grown(2, {"x": 0.13, "y": 0.13}, x=0.001, y=0.001), REFERENCE)
    assert [(r.check, r.slice, r.feature) for r in verdict.blocking] == [("new_features", AT_NIGHT, None)]


def test_a_feature_that_came_back_smaller_makes_no_room_for_new_ones():
    many = of(Additive(HONEST | {"back": 0.05} | {f"leak_{i}": 0.2 for i in range(5)}, seed=2))
    verdict = judge_model(many, of(Additive(HONEST, seed=1)), {"back": 0.3}, ValidationConfig(), TODAY)
    assert [r.check for r in verdict.blocking] == ["new_features"]
    assert "6 features" in verdict.blocking[0].sentence and verdict.blocking[0].value > 0.15
    # Those that only fell are no rise.
    fewer = of(Additive(HONEST | {"back": 0.05, "other": 0.05}, seed=2))
    known = {"back": 0.3, "other": 0.3}
    assert judge_model(fewer, of(Additive(HONEST, seed=1)), known, ValidationConfig(), TODAY).blessed


def test_a_feature_that_died_inside_a_slice():
    """Below the change that retraining may make, and yet no share that retraining leaves."""
    reference = of(sliced(1, night=Part(500, {"c": 0.6}), rows=8000), NIGHT, DAY)
    verdict = judged(of(sliced(2, night=Part(500, {"c": 0.0}), rows=8000), NIGHT, DAY), reference)
    assert verdicts(verdict, "vanished") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}
    assert [(r.check, r.feature) for r in verdict.blocking] == [("vanished", "c")]
    assert verdict.blocking[0].sentence.startswith("In slice hour=3: 'c' carried 1")


def test_a_removed_feature_that_led_inside_a_slice_needs_approval_though_the_whole_hardly_used_it():
    reference = grown(1, {"gone": 4.0}, gone=0.02)
    verdict = judged(of(sliced(2, rows=12_000), NIGHT, DAY), reference)
    assert verdicts(verdict, "removed_features") == {"overall": "PASS", AT_NIGHT: "NEEDS_APPROVAL", BY_DAY: "PASS"}
    assert [(r.check, r.feature) for r in verdict.blocking] == [("removed_features", "gone")]
    assert verdict.blocking[0].sentence.startswith("In slice hour=3: 'gone' has no path")
    approval = {"name": "gone", "reason": "asked for", "until": "2999-12-31"}
    assert judged(of(sliced(2, rows=12_000), NIGHT, DAY), reference, approved_features=[approval]).blessed


@pytest.mark.parametrize(
    ("read", "way_out"),
    [
        (249, "more data, or write into the policy `evidence: {min_rows_per_slice: 249}`"),
        (900, "raise slices.min_rows_per_slice"),
    ],
)
def test_a_slice_with_too_few_rows_is_named_once_with_the_way_out(read, way_out):
    verdict = judged(of(sliced(2, night=Part(249)), NIGHT, DAY, read=read), REFERENCE)
    about = [r for r in verdict.results if r.slice == AT_NIGHT]
    assert [(r.check, r.verdict, r.blocks) for r in about] == [("evidence_floor", "INCONCLUSIVE", True)]
    assert "Only 249 effective rows" in about[0].sentence and way_out in about[0].sentence
    assert (about[0].value, about[0].threshold) == (pytest.approx(249), 250)
    assert judged(of(sliced(2, night=Part(250)), NIGHT, DAY), REFERENCE).blessed


def test_rows_that_failed_are_counted_in_their_slice():
    """Six of 500 are 0.15 % of all rows and 1.2 % of these."""
    verdict = judged(of(sliced(2, night=Part(500, failed=6), failed=6, rows=9000), NIGHT, DAY), REFERENCE)
    assert verdicts(verdict, "evidence_floor") == {"overall": "PASS", AT_NIGHT: "INCONCLUSIVE", BY_DAY: "PASS"}
    assert "could not be explained" in one(verdict, "evidence_floor", AT_NIGHT).sentence
    assert judged(of(sliced(2, night=Part(500, failed=5), failed=5, rows=9000), NIGHT, DAY), REFERENCE).blessed


def test_rows_that_did_not_converge_are_counted_in_their_slice():
    """Thirty of 500 are 0.75 % of all rows and 6 % of these."""
    verdict = judged(of(sliced(2, night=Part(500, unconverged=30)), NIGHT, DAY), REFERENCE)
    assert verdicts(verdict, "completeness") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}
    assert [r.slice for r in verdict.blocking] == [AT_NIGHT]
    assert "In slice hour=3: 6.00 % of the rows did not converge" in verdict.blocking[0].sentence
    assert judged(of(sliced(2, night=Part(500, unconverged=5)), NIGHT, DAY), REFERENCE).blessed


def test_a_slice_that_is_hardly_attributed_has_no_shares():
    faint = {f: 5e-4 * w for f, w in HONEST.items()}
    verdict = judged(of(sliced(2, night=Part(500, faint)), NIGHT, DAY), REFERENCE)
    about = [r for r in verdict.results if r.slice == AT_NIGHT]
    assert [(r.check, r.verdict) for r in about] == [("evidence_floor", "INCONCLUSIVE")]
    assert "shares mean nothing" in about[0].sentence
    weak = {f: 2e-3 * w for f, w in HONEST.items()}
    assert judged(of(sliced(2, night=Part(500, weak)), NIGHT, DAY), **FIRST_RUN).blessed


def test_a_required_slice_that_is_not_there_is_no_pass():
    verdict = judged(of(sliced(2), DAY, empty_slices=("hour=3",), unexplained_slices=("hour=25",)), REFERENCE)
    assert not verdict.blessed
    assert verdicts(verdict, "evidence_floor")["hour=3"] == verdicts(verdict, "evidence_floor")["hour=25"]
    assert "no row of the required slice hour=3" in one(verdict, "evidence_floor", "hour=3").sentence
    assert "required_slices of ExplainConfig" in one(verdict, "evidence_floor", "hour=25").sentence


@pytest.mark.parametrize(
    ("config", "blocks", "part"),
    [
        ({}, True, "refuses without a reference: for a first run with the slice"),
        (FIRST_RUN, False, "until 2999-12-31 the checks that need no reference decide alone there"),
        ({"without_reference": {"absolute_checks_decide": {"until": "2029-12-31"}}}, True, "ended on 2029-12-31"),
    ],
)
def test_a_newly_required_slice_has_no_reference_as_a_first_run_has_none(config, blocks, part):
    verdict = judged(of(sliced(2), NIGHT, DAY), of(sliced(1), DAY), **config)
    result = one(verdict, "reference", AT_NIGHT)
    assert (result.verdict, result.blocks, verdict.blessed) == ("NO_REFERENCE", blocks, not blocks)
    assert part in result.sentence and AT_NIGHT in result.sentence
    assert verdicts(verdict, "share_change") == {"overall": "PASS", BY_DAY: "PASS"}


def test_a_slice_of_the_reference_below_the_floor_is_none():
    thin = of(sliced(1, night=Part(200)), NIGHT, DAY)
    assert one(judged(of(sliced(2), NIGHT, DAY), thin), "reference", AT_NIGHT).blocks


def test_the_cap_blocks_on_a_slice_without_reference_and_warns_on_others():
    leaky = sliced(3, night=Part(400, {"c": 4.0}), day=Part(400, {"c": 4.0}))
    verdict = judged(of(leaky, NIGHT, DAY), of(leaky, DAY), **FIRST_RUN)
    # The same fingerprint: alone, so both block.
    assert one(verdict, "max_share", BY_DAY).severity == "block"
    verdict = judged(of(leaky, NIGHT, DAY), of(dataclasses.replace(leaky, seed=4), DAY), **FIRST_RUN)
    assert one(verdict, "max_share", AT_NIGHT).severity == "block"
    assert one(verdict, "max_share", BY_DAY).severity == "warn"


def in_buckets(statistics, count):
    """The same sums in the first so many buckets, as where rows belong to few clusters."""

    def fold(values):
        out = np.zeros_like(values)
        np.add.at(out, np.arange(len(values)) % count, values)
        return out

    return statistics._map(fold)


@pytest.mark.parametrize("check", ["new_features", "total_scale", "vanished"])
def test_few_buckets_widen_the_interval_of_every_check(check):
    """Ten clusters are ten independent units: the percentiles of their draws alone err too often."""
    few = of(Additive(HONEST | {"f": 0.004, "new": 0.1}, seed=2))
    few = dataclasses.replace(few, statistics=in_buckets(few.statistics, 10))
    result = one(judged(few, REFERENCE), check)
    draws = bucket_draws(seed_from(few.fingerprint, str(few.rows_read)))
    profiles = Profiles.of(few.statistics, draws)
    before = Profiles.of(REFERENCE.statistics, np.ones((1, 64)))
    statistic = {
        "new_features": profiles.shares(profiles.features)[:, -1],
        "total_scale": np.abs(log_scale(profiles, before)),
        "vanished": profiles.shares(before.features)[:, -1],
    }[check]
    assert (result.value, result.low, result.high) == dataclasses.astuple(measure(statistic, 10))


# Groups of features.


def test_a_leak_in_two_copies_does_not_hide_in_halves():
    model = Additive(HALVES | OTHERS, seed=1, copies={"leak_copy": "leak"})
    verdict = judged(of(model), **FIRST_RUN, **CAP)
    single, group = [r for r in verdict.results if r.check == "max_share"]
    assert (single.verdict, single.value) == ("PASS", pytest.approx(0.25, abs=0.01))
    assert (group.verdict, group.feature) == ("FAIL", "leak + leak_copy")
    assert group.value == pytest.approx(0.5, abs=0.02) and group.low > 0.4
    assert "'leak', 'leak_copy', whose attributions move together, carry 49" in group.sentence
    assert 'dominant_features: {"leak + leak_copy": {max_share: 0.5' in group.sentence
    assert not verdict.blessed


def test_features_that_do_not_move_together_make_no_group():
    results = judged(of(Additive(HALVES | OTHERS, seed=1)), **FIRST_RUN, **CAP).results
    assert len([r for r in results if r.check == "max_share"]) == 1


def test_honest_features_that_move_together_pass_under_the_cap():
    model = Additive({"twin": 0.4, "other_twin": 0.4} | OTHERS, seed=1, copies={"other_twin": "twin"})
    verdict = judged(of(model), **FIRST_RUN, **CAP)
    assert [(r.verdict, r.feature) for r in verdict.results if r.check == "max_share"][1] == (
        "PASS",
        "other_twin + twin",
    )
    assert verdict.blessed


def test_copies_that_cancel_carry_nothing_together():
    """They are no cluster; a configured group of them is judged by what is left of a row."""
    model = Additive({"up": 1.25, "down": -1.25} | OTHERS, seed=1, copies={"down": "up"})
    verdict = judged(of(model, groups=(("pair", ("up", "down")),)), **FIRST_RUN, **CAP)
    group = [r for r in verdict.results if r.check == "max_share"][1]
    assert (group.feature, group.verdict, group.value) == ("pair", "PASS", pytest.approx(0.0, abs=1e-6))
    assert group.sentence.startswith("The group 'pair' ('up', 'down') carries 0.0 %")


def cap(share):
    return {"max_share": share, "reason": "by nature"}


@pytest.mark.parametrize(
    ("dominant", "verdict", "threshold"),
    [
        ({"leak + leak_copy": cap(0.6)}, "PASS", 0.6),
        ({"leak + leak_copy": cap(0.45)}, "FAIL", 0.45),
        ({"leak": cap(0.3), "leak_copy": cap(0.3)}, "PASS", 0.6),
        ({"leak": cap(0.7), "leak_copy": cap(0.7)}, "PASS", 1.0),
        ({"leak": cap(0.7)}, "PASS", 0.7),
        ({"leak": cap(0.3)}, "FAIL", 0.4),
        ({"a": cap(0.9)}, "FAIL", 0.4),
    ],
)
def test_what_dominant_features_may_carry_their_group_may(dominant, verdict, threshold):
    model = Additive(HALVES | OTHERS, seed=1, copies={"leak_copy": "leak"})
    results = judged(of(model), **FIRST_RUN, **CAP, dominant_features=dominant).results
    (group,) = [r for r in results if r.check == "max_share" and r.feature == "leak + leak_copy"]
    assert (group.verdict, group.threshold) == (verdict, pytest.approx(threshold))


@pytest.mark.parametrize(
    ("dominant", "passes"),
    [
        ({}, True),
        ({"race": cap(0.05)}, False),
        ({"race": cap(0.35)}, True),
        ({"race and its crosses": cap(0.15)}, False),
    ],
)
def test_a_feature_that_is_capped_low_is_not_read_in_its_crosses_instead(dominant, passes):
    """Alone it keeps to its cap, and each cross to that of any feature."""
    weights = {"race": 0.1, "age x race": 0.45, "race x sex": 0.45} | OTHERS
    family = ("race and its crosses", ("race", "age x race", "race x sex"))
    for crosses in (family, (family[0], family[1][1:])):  # where it has no column of its own the cap holds too
        model = Additive({f: w for f, w in weights.items() if f in (*crosses[1], *OTHERS)}, seed=1)
        verdict = judged(of(model, groups=(crosses,)), **FIRST_RUN, **CAP, dominant_features=dominant)
        assert verdict.blessed == passes
        assert [r.feature for r in verdict.blocking] == ([] if passes else [family[0]])
        assert all(r.check != "policy" for r in verdict.results)


def test_a_share_at_the_cap_is_undecided():
    model = Additive(HALVES | OTHERS, seed=1, copies={"leak_copy": "leak"})
    share = next(r for r in judged(of(model), **FIRST_RUN, **CAP).results if r.feature == "leak + leak_copy").value
    results = judged(of(model), **FIRST_RUN, checks={"max_share": {"threshold": share}}).results
    (group,) = [r for r in results if r.feature == "leak + leak_copy"]
    assert group.verdict == "INCONCLUSIVE" and "straddles the threshold" in group.sentence


def test_a_group_is_judged_inside_a_slice_and_with_the_severity_of_the_cap():
    weights = {"leak": 0.25, "leak_copy": 0.25} | OTHERS
    night = {NIGHT: Part(500, {"leak": 1.5, "leak_copy": 1.5})}
    model = Additive(weights, seed=1, copies={"leak_copy": "leak"}, slices=night)
    verdict = judged(of(model, NIGHT), **FIRST_RUN, **CAP)
    found = {(r.slice, r.feature): r.verdict for r in verdict.results if r.check == "max_share"}
    assert found[AT_NIGHT, "leak + leak_copy"] == "FAIL"
    assert found["overall", "leak + leak_copy"] == "PASS"
    reference = of(dataclasses.replace(model, seed=2), NIGHT)
    later = judged(of(model, NIGHT), reference, **CAP)
    assert {r.severity for r in later.results if r.check == "max_share"} == {"warn"}


def test_a_group_of_one_feature_is_that_feature():
    results = judged(of(Additive(HONEST, seed=1), groups=(("alone", ("a",)),)), **FIRST_RUN).results
    assert [r.feature for r in results if r.check == "max_share"] == ["a"]


COPIES = {f"u{i}": "u0" for i in range(1, 4)}
FAINT_COPIES = Additive(HONEST | {f"u{i}": 0.12 for i in range(4)}, seed=1, copies=COPIES)


def test_a_leak_in_copies_that_the_last_model_hardly_used_is_a_change_though_no_copy_moved_far():
    """With a reference the cap only warns by default, and every copy moves less than retraining may move a feature."""
    weights = {f: 0.75 * w for f, w in HONEST.items()} | {f"u{i}": 0.9 for i in range(4)}
    verdict = judged(of(Additive(weights, seed=2, copies=COPIES)), of(FAINT_COPIES))
    assert [(r.check, r.feature, r.verdict) for r in verdict.blocking] == [
        ("share_change", "u0 + u1 + u2 + u3", "FAIL")
    ]
    assert "'u0' and 'u1' and 'u2' and others, together 54" in verdict.blocking[0].sentence


def test_groups_that_stay_or_trade_shares_among_each_other_pass():
    weights = HONEST | {"u0": 0.4, "u1": 0.04, "u2": 0.02, "u3": 0.02}
    for model in (dataclasses.replace(FAINT_COPIES, seed=2), Additive(weights, seed=2, copies=COPIES)):
        verdict = judged(of(model), of(FAINT_COPIES))
        groups = [r for r in verdict.results if r.check == "share_change" and r.feature not in model.weights]
        assert len(groups) == 1 and groups[0].verdict == "PASS" and groups[0].value < 0.01


def test_an_approved_new_member_is_no_rise_of_its_group():
    weights = {"v0": 1.0, "v1": 1.0} | HONEST
    copies = {"v1": "v0"}
    before = {f: w for f, w in weights.items() if f != "v1"}
    approval = {"name": "v1", "reason": "asked for", "until": "2999-12-31"}
    verdict = judged(
        of(Additive(weights, seed=2, copies=copies)), of(Additive(before, seed=1)), approved_features=[approval]
    )
    assert [r.verdict for r in verdict.results if r.check == "share_change"] == ["PASS", "PASS"]


# Many features, none of which is much by itself.

WIDE = {f"f{i:02d}": 0.3 for i in range(30)}


def wide(seed, **weights):
    return of(Additive(WIDE | weights, seed=seed))


def test_a_model_of_many_features_that_turned_altogether_is_found_though_no_feature_is_much():
    """As after a label that was inverted in training and evaluation: its metrics stay what they were."""
    assert judged(wide(2), wide(1)).blessed
    inverted = judged(wide(3, **{f: -w for f, w in WIDE.items()}), wide(1))
    assert [(r.check, r.feature, r.verdict) for r in inverted.blocking] == [("direction_flip", None, "FAIL")]
    assert "30 features push predictions the other way" in inverted.blocking[0].sentence
    allowed = {"checks": {"direction_flip": {"threshold": 1.0}}}
    assert judged(wide(3, **{f: -w for f, w in WIDE.items()}), wide(1), **allowed).blessed


def test_many_features_that_turned_inside_a_slice():
    def candidate(seed, night):
        parts = {NIGHT: Part(500, night), DAY: Part(600)}
        return of(Additive(WIDE, seed=seed, rows=12_000, slices=parts), NIGHT, DAY)

    assert judged(candidate(2, {}), candidate(1, {})).blessed
    inverted = judged(candidate(2, {f: -w for f, w in WIDE.items()}), candidate(1, {}))
    assert [(r.check, r.slice, r.feature) for r in inverted.blocking] == [("direction_flip", AT_NIGHT, None)]


def test_a_third_of_many_features_turns_by_chance_and_passes():
    """Of features that are noise each may have a sign of its own in every model."""
    for seed in range(2, 12):
        turned = np.random.default_rng(seed).permutation(list(WIDE))[:10]
        assert judged(wide(seed, **{str(f): -WIDE[f] for f in turned}), wide(1)).blessed


@pytest.mark.parametrize(("leads", "found"), [(0.8, False), (0.4, False), (0.15, True)])
def test_a_model_that_leans_on_other_features_altogether_is_found_though_none_moved_far(leads, found):
    """Eight features led and 32 were faint; now these carry the model together."""
    led = {f"led{i}": 0.8 for i in range(8)} | {f"faint{i:02d}": 0.05 for i in range(32)}
    now = {f: leads if f.startswith("led") else 0.05 + (0.8 - leads) / 4 for f in led}
    verdict = judged(of(Additive(now, seed=2)), of(Additive(led, seed=1)))
    assert [(r.check, r.feature, r.verdict) for r in verdict.blocking] == [("share_change", None, "FAIL")] * found


@pytest.mark.parametrize(("leads", "rare", "found"), [(0.8, 0.6, False), (0.55, 2.2, False), (0.22, 4.4, True)])
def test_a_model_that_leans_on_features_that_few_rows_show_is_found_by_what_it_left(leads, rare, found):
    """Each of 200 flags is met in six rows, so that no rise of one is known; what led before has fallen."""

    def leaning(seed, leads, rare):
        weights = {f"led{i}": leads for i in range(8)} | {f"f{i:03d}": 4 * rare for i in range(200)}
        model = Additive(weights, seed=seed)
        whole, flags = model.explained(), np.random.default_rng(seed).random((4000, 200)) < 1.5e-3
        whole.attributions[:, 8:] *= flags
        return of(model)

    blocking = judged(leaning(2, leads, rare), leaning(1, 0.8, 0.6)).blocking
    assert [(r.check, r.feature, r.verdict) for r in blocking] == [("share_change", None, "FAIL")] * found


@pytest.mark.parametrize(("dead", "found"), [(0, False), (15, False), (25, True), (40, True)])
def test_many_small_features_that_died_are_as_much_as_a_large_one(dead, found):
    """As a join upstream that finds nothing any more; the others' shares hardly rise, each by itself."""
    weights = {f"f{i:03d}": 0.3 for i in range(100)}
    names = list(weights)
    candidate = of(Additive(weights | dict.fromkeys(names[:dead], 0.0), seed=2))
    blocking = judged(candidate, of(Additive(weights, seed=1))).blocking
    assert [(r.check, r.feature, r.verdict) for r in blocking] == [("vanished", None, "FAIL")] * found
    assert not found or f"{dead} features (" in blocking[0].sentence


def test_many_small_features_of_rows_without_weight_are_unknown():
    model = Additive(WIDE, seed=2)
    model.__dict__["_rows"] = dataclasses.replace(model.explained(), weight=np.zeros(model.rows))
    assert one(judged(of(model), wide(1)), "vanished").verdict == "INCONCLUSIVE"


def test_features_that_few_rows_have_are_missed_by_chance_and_not_dead():
    """200 flags, each of one row in a thousand: of 1,500 rows none has one in five of them."""

    def sparse(seed, rows):
        flags = np.random.default_rng(seed).random((rows, 200)) < 1e-3
        model = Additive({f"f{i:03d}": 3.0 for i in range(200)} | {"a": 0.1}, rows=rows, seed=seed)
        whole = model.explained()
        attributions = whole.attributions * np.column_stack([flags, np.ones(rows)]).astype(np.float32)
        model.__dict__["_rows"] = dataclasses.replace(whole, attributions=attributions)
        return of(model)

    assert judged(sparse(2, 1_500), sparse(1, 6_000)).blessed


def scaled_at_night(seed, factor, everywhere=1.0):
    weights = {f: everywhere * w for f, w in WIDE.items()}
    parts = {NIGHT: Part(500, {f: factor * w for f, w in weights.items()}), DAY: Part(600)}
    return of(Additive(weights, seed=seed, rows=12_000, slices=parts), NIGHT, DAY)


@pytest.mark.parametrize("factor", [4.0, 0.05])
def test_a_slice_on_which_a_model_is_much_more_or_less_sure_is_found_though_the_whole_hardly_is(factor):
    """Of many features the profile of none changes by much."""
    assert judged(scaled_at_night(2, 1.0), scaled_at_night(1, 1.0)).blessed
    verdict = judged(scaled_at_night(2, factor), scaled_at_night(1, 1.0))
    assert verdicts(verdict, "total_scale") == {"overall": "PASS", AT_NIGHT: "FAIL", BY_DAY: "PASS"}
    assert [r.check for r in verdict.blocking] == ["total_scale"]
    assert f"In slice hour=3: The attribution is {factor:.2f}"[:-1] in verdict.blocking[0].sentence


def test_a_slice_whose_scale_changed_as_all_rows_did_passes():
    verdict = judged(scaled_at_night(2, 1.5, everywhere=1.6), scaled_at_night(1, 1.0))
    assert verdicts(verdict, "total_scale") == {"overall": "PASS", AT_NIGHT: "PASS", BY_DAY: "PASS"}
