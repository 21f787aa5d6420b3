import pytest

from tfx_explain.config import ConfigError, ExplainConfig, ValidationConfig


def test_equal_settings_are_equal_text():
    one = ExplainConfig.make({"max_examples": 10_000, "cut_policies": {"b": "latest", "a": "feature"}})
    other = ExplainConfig.make({"cut_policies": {"a": "feature", "b": "latest"}})
    assert one.to_json() == other.to_json()
    assert ExplainConfig.from_json(one.to_json()) == one


def test_a_file_is_read_and_inlined(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("without_reference: {absolute_checks_decide: {until: 2027-01-31}}\n")
    config = ValidationConfig.load(str(path))
    path.unlink()
    assert ValidationConfig.from_json(config.to_json()) == config
    assert str(config.without_reference.absolute_checks_decide.until) == "2027-01-31"


def test_an_empty_file_is_every_default(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert ExplainConfig.load(tmp_path / "empty.yaml") == ExplainConfig()


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"max_exmaples": 3}, ["max_exmaples", "is no setting, did you mean 'max_examples'?", "3"]),
        ({"max_examples": 0}, ["max_examples", "greater than or equal to 1", "0"]),
        ({"splits": []}, ["splits", "at least 1"]),
        ({"splits": ["eval", "eval"]}, ["splits", "distinct"]),
        ({"integrated_gradients": {"repair_steps": [50]}}, ["integrated_gradients.repair_steps", "rise"]),
        ({"unit": "percent"}, ["unit", "logit", "percent"]),
        ({"method": "saliency"}, ["method", "gradient", "saliency"]),
        ({"expected_gradients": {"repair_steps": [4]}}, ["expected_gradients.repair_steps", "rise"]),
        ({"label": "tips"}, ["label", "must be a mapping, of the keys key, preprocessing_function", "'tips'"]),
        ({"slices": {"specs": ["hour"]}}, ["slices.specs.0", "must be a mapping, of the keys feature_keys,", "'hour'"]),
        ({"smoothgrad": {"noise_level": 0}}, ["smoothgrad.noise_level", "greater than 0"]),
    ],
)
def test_an_error_names_field_rule_and_value(data, parts):
    with pytest.raises(ConfigError) as error:
        ExplainConfig.make(data)
    assert all(part in str(error.value) for part in parts), error.value


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -0.1])
def test_a_threshold_is_a_number(threshold):
    """A NaN threshold would compare as passed or failed by accident."""
    with pytest.raises(ConfigError, match=r"checks\.share_change\.threshold"):
        ValidationConfig.make({"checks": {"share_change": {"threshold": threshold}}})


def test_an_approval_needs_a_reason_and_an_end():
    with pytest.raises(ConfigError, match="reason"):
        ValidationConfig.make({"approved_features": [{"name": "x", "until": "2027-01-01"}]})
    with pytest.raises(ConfigError, match="until"):
        ValidationConfig.make({"approved_features": [{"name": "x", "reason": "because"}]})


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        ExplainConfig.load(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        ExplainConfig.load(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="mapping of settings"):
        ExplainConfig.load(tmp_path / "list.yaml")


def test_a_bare_off_is_a_severity(tmp_path):
    """YAML 1.1 reads it as false."""
    (tmp_path / "p.yaml").write_text(
        "checks: {share_change: {threshold: 0.2, severity: off}, max_share: {with_reference: off}}"
    )
    checks = ValidationConfig.load(tmp_path / "p.yaml").checks
    assert (checks.share_change.severity, checks.max_share.with_reference) == ("off", "off")


def test_a_key_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "p.yaml").write_text("checks:\n  total_scale: {threshold: 0.65}\n  total_scale: {threshold: 65}\n")
    with pytest.raises(ConfigError, match="'total_scale' stands twice"):
        ValidationConfig.load(tmp_path / "p.yaml")


def test_keys_are_words_and_anchors_may_be_merged(tmp_path):
    (tmp_path / "p.yaml").write_text("? [a, b]\n: 1\n")
    with pytest.raises(ConfigError, match="is not YAML: a key must be one word"):
        ValidationConfig.load(tmp_path / "p.yaml")
    merged = "checks:\n  vanished: &one {threshold: 0.1, severity: warn}\n  new_features: {<<: *one, threshold: 0.02}\n"
    (tmp_path / "p.yaml").write_text(merged)
    check = ValidationConfig.load(tmp_path / "p.yaml").checks.new_features
    assert (check.threshold, check.severity) == (0.02, "warn")


def test_repair_follows_the_number_of_steps():
    """Raising one key just works, and what is made at definition is made again in the executor."""
    config = ExplainConfig.make({"integrated_gradients": {"num_steps": 100}})
    assert config.integrated_gradients.repair_steps == (200, 400)
    assert ExplainConfig.from_json(config.to_json()) == config


def test_percent_where_a_share_was_meant_is_refused():
    with pytest.raises(ConfigError, match="less than or equal to 1"):
        ValidationConfig.make({"checks": {"share_change": {"threshold": 18}}})


@pytest.mark.parametrize(
    "text",
    [
        "checks: {share_change: {threshold: on}}",
        "checks: {max_share: {threshold: yes}}",
        "evidence: {max_failed_weight: true}",
        "dominant_features: {a: {max_share: on, reason: x}}",
        "approved_features: [{name: a, reason: x, until: 2027-01-31, max_share: on}]",
    ],
)
def test_a_word_where_a_number_was_meant_is_refused(tmp_path, text):
    """YAML 1.1 reads it as true, which is 1: the check could never fail."""
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match="must be a number; YAML reads on"):
        ValidationConfig.load(tmp_path / "p.yaml")


def test_required_slices_are_kept_once_and_in_one_order():
    night, day = {"feature_values": {"hour": 3}}, {"feature_values": {"company": "x", "hour": "12"}}
    one = ValidationConfig.make({"required_slices": [night, day, {"feature_values": {"hour": "3"}}]})
    other = ValidationConfig.make({"required_slices": [day, night]})
    assert one.to_json() == other.to_json()
    assert [r.name for r in one.required_slices] == ["company=x, hour=12", "hour=3"]
    assert ValidationConfig.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    "wrong", [{}, {"feature_values": {}}, {"feature_values": {"hour": None}}, {"feature_keys": []}]
)
def test_a_required_slice_names_a_value_of_each_feature(wrong):
    with pytest.raises(ConfigError, match="required_slices"):
        ValidationConfig.make({"required_slices": [wrong]})


def test_a_required_slice_is_found_by_what_its_key_says():
    night = ValidationConfig.make({"required_slices": [{"feature_values": {"hour": 3}}]}).required_slices[0]
    assert night.matches((("hour", 3),)) and night.matches((("hour", "3"),))
    assert not night.matches((("hour", 30),)) and not night.matches((("day", 1), ("hour", 3)))


def test_the_policy_that_is_shipped_is_read():
    assert ValidationConfig.load("configs/validation.yaml").evidence == ValidationConfig().evidence


def test_repairs_follow_the_nodes():
    config = ExplainConfig.make({"expected_gradients": {"num_steps": 3}, "integrated_gradients": {"num_steps": 64}})
    assert config.expected_gradients.repair_steps == (6, 12)
    assert config.integrated_gradients.repair_steps == (128, 256)
    assert ExplainConfig().expected_gradients.repair_steps == (8, 16)


def test_a_target_is_a_number_or_a_name():
    for target in (None, 2, "dog", "2", "predicted", "label"):
        config = ExplainConfig(target=target)
        assert config.target == target and type(config.target) is type(target)
        assert ExplainConfig.from_json(config.to_json()) == config
    for target in (True, -1, "", 1.5):
        with pytest.raises(ConfigError, match="target"):
            ExplainConfig.make({"target": target})


def test_input_features_are_named_on_both_sides():
    config = ExplainConfig.make({"input_features": {"args_0": "age"}})
    assert config.input_features == {"args_0": "age"}
    with pytest.raises(ConfigError, match="input_features"):
        ExplainConfig.make({"input_features": {"args_0": ""}})


@pytest.mark.parametrize(
    ("config", "value", "path", "parts"),
    [
        (ExplainConfig, {"max_exmples": 5}, "max_exmples", ("did you mean 'max_examples'?", "batch_size, ")),
        (
            ExplainConfig,
            {"slices": {"specs": [{"feature_kys": ["a"]}]}},
            "slices.specs.0.feature_kys",
            ("'feature_keys'",),
        ),
        (
            ExplainConfig,
            {"image_baselines": {"x": {"kind": "blur", "sgma": 2}}},
            "image_baselines.x.sgma",
            ("'sigma'",),
        ),
        (ValidationConfig, {"checks": {"max_share": {"treshold": 1}}}, "checks.max_share.treshold", ("'threshold'",)),
        (ValidationConfig, {"zebra": 1}, "zebra", ("'zebra' is no setting. There are: ", "required_slices")),
    ],
)
def test_an_unknown_key_is_told_with_those_that_there_are(config, value, path, parts):
    with pytest.raises(ConfigError) as caught:
        config.make(value)
    text = str(caught.value)
    assert f"  {path}: " in text and "Extra inputs" not in text
    assert all(part in text for part in parts), text
