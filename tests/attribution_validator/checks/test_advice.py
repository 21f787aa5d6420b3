"""What the gate tells a person to write is taken by the policy as it stands."""

import datetime
import re

import pytest
import yaml

from tfx_explain.attribution_validator.checks.advice import DATE, approve, lead
from tfx_explain.config import ValidationConfig

NAMES = ["fare", "a x b", "hour: [of] {day}", 'say "yes"', "größe", "123", "yes"]


def policy(advice: str) -> ValidationConfig:
    (found,) = re.findall(r"`(.*)`", advice)
    return ValidationConfig.make(yaml.safe_load(found.replace(DATE, "2027-03-31")))


@pytest.mark.parametrize("name", NAMES)
def test_an_approval_can_be_pasted(name):
    (approval,) = policy(approve([name])).approved_features
    assert (approval.name, approval.reason, approval.until) == (name, "WHY", datetime.date(2027, 3, 31))


def test_of_many_features_the_first_show_how():
    advice = approve([f"f{i}" for i in range(9)])
    assert [a.name for a in policy(advice).approved_features] == ["f0", "f1", "f2", "f3", "f4"]
    assert advice.endswith("the others likewise")
    assert "likewise" not in approve(NAMES[:5])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.41, 0.5, 0.539, 0.96, 1.0, float("nan")])
def test_a_feature_that_leads_gets_room_for_its_share(name, share):
    allowed = policy(lead(name, share)).dominant_features[name].max_share
    assert allowed == 1 if not share < 0.95 else share < allowed <= share + 0.05 + 1e-9
