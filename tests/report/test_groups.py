from tests.report.page_reader import Page
from tests.report.report_data import evidence, known

from tfx_explain.explainer_gen.results import unclustered
from tfx_explain.report.attributions import render_attributions


def test_a_group_has_its_joint_share_beside_the_sum_of_single_ones():
    groups = {"small": ["c"], "a + b": ["a", "b"]}
    shares = {"a + b": known(0.6, 0.5, 0.7), "small": known(0.1, 0.05, 0.15)}
    page = Page(render_attributions(evidence({"a": 0.5, "b": 0.3, "c": 0.2}, groups=groups, group_shares=shares)))
    assert page.row("a + b") == ["a + b", "60.0 %", "50.0 % to 70.0 %", "80.0 %", "a 50.0 %, b 30.0 %"]
    names = [row[0] for row in page.rows]
    assert names.index("a + b") < names.index("small")


def test_a_member_without_a_share_leaves_no_sum():
    page = Page(render_attributions(evidence({"a": 0.5, "b": None}, groups={"both": ["a", "b"]})))
    assert page.row("both") == ["both", "–", "–", "–", "a 50.0 %, b –"]


def test_no_group_is_said():
    assert "no features were found" in Page(render_attributions(evidence({"a": 1.0}))).text


def test_what_was_not_looked_for_is_not_said_to_be_absent():
    page = Page(render_attributions(evidence({f"f{i}": 1 / 257 for i in range(257)})))
    assert "among more than 256 features none are looked for" in page.text
    assert "no features were found" not in page.text
    assert not list(unclustered(256))
    assert "feature_groups" in next(iter(unclustered(257)))
