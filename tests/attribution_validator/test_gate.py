import pytest
import toy_pipeline as toy
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import types
from tfx.components import InfraValidator, Pusher
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common import resolver
from tfx.dsl.experimental.conditionals.conditional import Cond
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import pipeline
from tfx.proto import infra_validator_pb2, pusher_pb2
from tfx.types import channel as channel_lib
from tfx.types import standard_artifacts

from tfx_explain import (
    GATE_NODE_ID,
    AttributionValidator,
    ExplainerGen,
    LatestGatedModel,
    LatestReference,
    add_attribution_gate,
    check_gate,
)
from tfx_explain.artifacts import properties
from tfx_explain.artifacts.types import AttributionReference
from tfx_explain.attribution_validator import wiring
from tfx_explain.config import ExplainConfig

pytestmark = pytest.mark.tf

STRICT = {"checks": {"max_share": {"threshold": 0.5}}}
STRICTER = {"checks": {"max_share": {"threshold": 0.45}}}


def by_id(components):
    return {node.id: node for node in components}


def wired_by_hand(
    gate_id=GATE_NODE_ID, reference_of=GATE_NODE_ID, baseline_of=GATE_NODE_ID, strategy=LatestReference, pushes="gate"
):
    trainer = toy.ToyTrainer(0.3).with_id("Trainer")
    baseline = resolver.Resolver(
        strategy_class=LatestGatedModel,
        config={"gate_node_id": baseline_of},
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("baseline")
    reference = resolver.Resolver(
        strategy_class=strategy,
        reference=types.Channel(type=AttributionReference, producer_component_id=reference_of),
    ).with_id("reference")
    evaluator = toy.ToyEvaluator(
        trainer.outputs["examples"], trainer.outputs["model"], baseline.outputs["model"]
    ).with_id("Evaluator")
    explainer = ExplainerGen(
        model=trainer.outputs["model"],
        examples=trainer.outputs["examples"],
        model_blessing=evaluator.outputs["blessing"],
        reference=reference.outputs["reference"],
    )
    gate = AttributionValidator(
        attributions=explainer.outputs["attributions"],
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        reference=reference.outputs["reference"],
    ).with_id(gate_id)
    blessing = {"gate": gate, "evaluator": evaluator}[pushes].outputs["blessing"]
    pusher = toy.ToyPusher(trainer.outputs["model"], blessing).with_id("Pusher")
    return [trainer, baseline, reference, evaluator, explainer, gate, pusher]


# What add_attribution_gate builds.


def test_the_gate_takes_evaluators_inputs_and_every_consumer_reads_the_gate():
    components = toy.ungated(0.3)
    trainer, _, evaluator, pusher = components
    gated = by_id(add_attribution_gate(components, validation_config=STRICT))
    gate = gated[GATE_NODE_ID]
    assert list(gated) == [
        "Trainer",
        "latest_blessed_model_resolver",
        "Evaluator",
        "latest_attribution_reference",
        "ExplainerGen",
        GATE_NODE_ID,
        "Pusher",
    ]
    assert pusher.inputs["model_blessing"] is gate.outputs["blessing"]
    assert gate.inputs["model_blessing"] is evaluator.outputs["blessing"]
    assert gate.inputs["model"] is trainer.outputs["model"]
    inputs = gated["ExplainerGen"].inputs
    assert inputs["examples"] is evaluator.inputs["examples"]
    assert inputs["evaluation"] is evaluator.outputs["evaluation"]
    assert set(inputs) == {"model", "examples", "evaluation", "model_blessing", "reference"}

    baseline = gated["latest_blessed_model_resolver"]
    assert wiring.strategy(baseline) == (LatestGatedModel, {"gate_node_id": GATE_NODE_ID})
    assert evaluator.inputs["baseline_model"] is baseline.outputs["model"]


def test_components_come_out_in_an_order_that_pipeline_makes_its_own():
    gated = add_attribution_gate(toy.ungated(0.3), gate_node_id="gate")
    ids = [node.id for node in pipeline.Pipeline("sorted", "root", components=gated[::-1]).components]
    wanted = ["Trainer", "Evaluator", "ExplainerGen", "gate", "Pusher"]
    assert [node_id for node_id in ids if node_id in wanted] == wanted
    assert ids.index("latest_attribution_reference") < ids.index("ExplainerGen")
    assert ids.index("latest_blessed_model_resolver") < ids.index("Evaluator")


def test_an_optional_blessing_stays_optional_but_for_a_pusher_and_own_channels_win():
    components = toy.ungated(0.3)
    trainer, _, evaluator, pusher = components
    optional = evaluator.outputs["blessing"].as_optional()
    pusher.spec.inputs["model_blessing"] = optional
    reader = toy.ToyReader(trainer.outputs["model"], optional).with_id("Reader")
    other = toy.ToyTrainer(0.4).with_id("Other")
    gated = by_id(add_attribution_gate([*components, reader, other], examples=other.outputs["examples"]))
    for node in (pusher, reader):
        assert node.inputs["model_blessing"].producer_component_id == GATE_NODE_ID
    assert reader.inputs["model_blessing"].is_optional
    assert not pusher.inputs["model_blessing"].is_optional
    assert gated["ExplainerGen"].inputs["examples"] is other.outputs["examples"]


def test_a_bulk_inferrer_behind_a_blessed_model_resolver_reads_the_gated_one():
    components = toy.ungated(0.3)
    baseline = components[1]
    serving = toy.ToyPusher(baseline.outputs["model"], baseline.outputs["model_blessing"]).with_id("BulkInferrer")
    gated = by_id(add_attribution_gate([*components, serving]))
    for key in ("model", "model_blessing"):
        assert gated["BulkInferrer"].inputs[key].producer_component is gated["latest_blessed_model_resolver"]


def test_for_kubeflow_no_resolver_is_added():
    trainer, _, evaluator, pusher = toy.ungated(0.3)
    del evaluator.spec.inputs["baseline_model"]
    gated = by_id(add_attribution_gate([trainer, evaluator, pusher], for_kubeflow=True))
    assert list(gated) == ["Trainer", "Evaluator", "ExplainerGen", GATE_NODE_ID, "Pusher"]
    assert "reference" not in gated[GATE_NODE_ID].inputs


def test_slices_that_the_policy_requires_are_explained_too():
    """In one order, so that the order in which they are written changes no cached run."""
    hours = [{"feature_values": {"hour": hour}} for hour in ("3", "4", "5")]
    texts = set()
    for explained, required in [(hours[:2], hours[1:]), (hours[1::-1], hours[:0:-1]), (hours, []), ([], hours[::-1])]:
        gated = by_id(
            add_attribution_gate(
                toy.ungated(0.3),
                explain_config={"required_slices": explained, "max_examples": 77},
                validation_config={"required_slices": required},
            )
        )
        texts.add(gated["ExplainerGen"].exec_properties["explain_config"])
    (text,) = texts
    config = ExplainConfig.from_json(text)
    assert [r.name for r in config.required_slices] == ["hour=3", "hour=4", "hour=5"]
    assert config.max_examples == 77


# What is refused at definition.


def test_evaluator_must_be_there_once():
    trainer, baseline, evaluator, pusher = toy.ungated(0.3)
    with pytest.raises(ValueError, match="one Evaluator.*none among Trainer, Pusher"):
        add_attribution_gate([trainer, pusher])
    second = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("Second")
    with pytest.raises(ValueError, match="one Evaluator.*Evaluator, Second"):
        add_attribution_gate([trainer, baseline, evaluator, pusher, second])
    gated = add_attribution_gate([trainer, baseline, evaluator, pusher])
    with pytest.raises(ValueError, match="must not hold a gate yet. Received: AttributionValidator"):
        add_attribution_gate(gated)


def test_a_condition_on_another_blessing_is_refused():
    components = toy.ungated(0.3)
    trainer, _, evaluator, _ = components
    with Cond(evaluator.outputs["blessing"].future()[0].custom_property("blessed") == 1):
        pusher = toy.ToyPusher(trainer.outputs["model"]).with_id("ConditionalPusher")
    with pytest.raises(
        ValueError, match=r"'ConditionalPusher': its condition \(Cond\) reads the blessing of 'Evaluator'"
    ):
        add_attribution_gate([*components, pusher])


def test_a_condition_on_the_gate_holds_in_a_built_pipeline_too():
    components = wired_by_hand()
    gate = components[-2]
    with Cond(gate.outputs["blessing"].future()[0].custom_property("blessed") == 1):
        pusher = toy.ToyPusher(components[0].outputs["model"]).with_id("ConditionalPusher")
    components.append(pusher)
    check_gate(components)
    built = pipeline.Pipeline("built", "root", components=components)
    check_gate(built)
    with pytest.raises(ValueError, match="Give it the Pipeline itself"):
        check_gate(built.components)


def test_an_evaluator_under_a_condition_wants_its_gate_under_it():
    trainer = toy.ToyTrainer(0.3).with_id("Trainer")
    with Cond(trainer.outputs["model"].future()[0].custom_property("ready") == 1):
        evaluator = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("Evaluator")
        gated = by_id(add_attribution_gate([trainer, evaluator]))
    assert GATE_NODE_ID in gated
    with Cond(trainer.outputs["model"].future()[0].custom_property("ready") == 2):
        evaluator = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("Evaluator")
    with pytest.raises(ValueError, match="'Evaluator'.*inside the same Cond"):
        add_attribution_gate([trainer, evaluator])


def test_tfx_compiles_its_own_pusher_with_a_verdict_that_it_needs():
    def ungated() -> list[base_node.BaseNode]:
        trainer, _, evaluator, _ = toy.ungated(0.3)
        del evaluator.spec.inputs["baseline_model"]
        served = pusher_pb2.PushDestination(filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="served"))
        model, blessing = trainer.outputs["model"], evaluator.outputs["blessing"]
        return [trainer, evaluator, Pusher(model=model, model_blessing=blessing, push_destination=served)]

    def needed(components: list[base_node.BaseNode]) -> int:
        nodes = compiler.Compiler().compile(pipeline.Pipeline("compiled", "root", components=components)).nodes
        (node,) = (n.pipeline_node for n in nodes if n.pipeline_node.node_info.id == "Pusher")
        return node.inputs.inputs["model_blessing"].min_count

    assert needed(ungated()) == 0
    assert needed(add_attribution_gate(ungated())) == 1
    assert needed(ungated()) == 0


def test_an_optional_blessing_of_a_pusher_wired_by_hand_is_refused():
    components = wired_by_hand()
    gate, pusher = components[-2:]
    pusher.spec.inputs["model_blessing"] = gate.outputs["blessing"].as_optional()
    with pytest.raises(ValueError, match="'Pusher': input 'model_blessing' is optional"):
        check_gate(components)


def test_a_union_of_blessings_is_refused():
    components = toy.ungated(0.3)
    trainer, _, evaluator, pusher = components
    pusher.spec.inputs["model_blessing"] = channel_lib.union(
        [evaluator.outputs["blessing"], types.Channel(type=standard_artifacts.ModelBlessing)]
    )
    with pytest.raises(ValueError, match="'Pusher': input 'model_blessing' is a union"):
        add_attribution_gate(components)


def test_a_push_without_a_blessing_is_refused():
    components = toy.ungated(0.3)
    del components[-1].spec.inputs["model_blessing"]
    with pytest.raises(ValueError, match="'Pusher': it pushes without a blessing"):
        add_attribution_gate(components)


@pytest.mark.parametrize(
    ("strategy", "producer", "sentence"),
    [
        (LatestArtifactStrategy, None, "'mine': input 'model_blessing' takes any blessing"),
        (LatestArtifactStrategy, "Evaluator", "'mine': input 'model_blessing' reads the blessing of 'Evaluator'"),
        (LatestArtifactStrategy, "AttributionValidatr", "asks for blessings of 'AttributionValidatr', no node"),
        (LatestGatedModel, "Evaluator", "'mine': input 'model_blessing' reads the blessing of 'Evaluator'"),
    ],
)
def test_a_resolver_of_other_blessings_is_refused(strategy, producer, sentence):
    mine = resolver.Resolver(
        strategy_class=strategy,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing, producer_component_id=producer),
    ).with_id("mine")
    with pytest.raises(ValueError, match=sentence):
        add_attribution_gate([*toy.ungated(0.3), mine])


def test_check_gate_accepts_what_is_wired_well_and_wants_a_gate():
    check_gate(wired_by_hand())
    check_gate(wired_by_hand(gate_id="mine", reference_of="mine", baseline_of="mine"))
    with pytest.raises(ValueError, match="must hold an AttributionValidator"):
        check_gate(toy.ungated(0.3))


def test_check_gate_names_every_fault():
    with pytest.raises(ValueError) as error:
        check_gate(wired_by_hand(reference_of="Tpyo", baseline_of="Typo", pushes="evaluator"))
    assert "'reference': input 'reference' asks for references of 'Tpyo'" in str(error.value)
    assert "'baseline': gate_node_id='Typo' names no gate. The gate is 'AttributionValidator'" in str(error.value)
    assert "'Pusher': input 'model_blessing' reads the blessing of 'Evaluator'" in str(error.value)
    assert len(str(error.value).splitlines()) == 4


def test_an_ungated_baseline_is_refused_by_check_gate():
    components = wired_by_hand()
    trainer, evaluator = components[0], components[3]
    stock = resolver.Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("stock")
    evaluator.spec.inputs["baseline_model"] = stock.outputs["model"]
    with pytest.raises(ValueError, match="'stock': input 'model_blessing' takes any blessing"):
        check_gate([stock, *components])
    with pytest.raises(ValueError, match="'stock': on Kubeflow LatestBlessedModelStrategy .*\n?.*It feeds Evaluator"):
        check_gate([stock, *components], for_kubeflow=True)
    assert trainer.id == "Trainer"


def test_for_kubeflow_own_resolvers_are_refused():
    with pytest.raises(
        ValueError, match="(?s)'baseline': LatestGatedModel cannot.*'reference': LatestReference cannot"
    ):
        check_gate(wired_by_hand(), for_kubeflow=True)


@pytest.mark.parametrize("strategy", [LatestReference, LatestArtifactStrategy])
@pytest.mark.parametrize("ids", [("AttributionValidator", "AttributionValidatr"), ("mine", "AttributionValidator")])
def test_a_misspelt_gate_fails_when_the_pipeline_is_built(strategy, ids):
    gate_id, reference_of = ids
    components = wired_by_hand(gate_id=gate_id, reference_of=reference_of, strategy=strategy)
    with pytest.raises(ValueError, match=f"'reference' asks for node '{reference_of}', the gate's id is '{gate_id}'"):
        pipeline.Pipeline("misspelt", "root", components=components)


# What runs, and what it leaves in the metadata store.


@pytest.fixture
def store(tmp_path):
    return toy.Store(tmp_path)


def never(trainer: toy.ToyTrainer) -> Cond:
    """A condition that does not hold."""
    return Cond(trainer.outputs["model"].future()[0].uri == "nowhere")


def left_out_by_a_condition(trainer: toy.ToyTrainer) -> list[base_node.BaseNode]:
    with never(trainer):
        evaluator = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("Evaluator")
        return add_attribution_gate([trainer, evaluator])


def without_a_blessing_to_start_from(trainer: toy.ToyTrainer) -> list[base_node.BaseNode]:
    with never(trainer):
        evaluator = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("Evaluator")
    model, blessing = trainer.outputs["model"], evaluator.outputs["blessing"]
    explainer = ExplainerGen(model=model, examples=trainer.outputs["examples"], model_blessing=blessing)
    gate = AttributionValidator(
        attributions=explainer.outputs["attributions"], model=model, model_blessing=blessing
    ).with_id(GATE_NODE_ID)
    return [trainer, evaluator, explainer, gate]


def without_examples(trainer: toy.ToyTrainer) -> list[base_node.BaseNode]:
    found = resolver.Resolver(
        strategy_class=LatestArtifactStrategy,
        examples=types.Channel(type=standard_artifacts.Examples, producer_component_id="nobody"),
    ).with_id("found")
    evaluator = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("Evaluator")
    return [*add_attribution_gate([trainer, evaluator], examples=found.outputs["examples"]), found]


@pytest.mark.parametrize("leave_out", [left_out_by_a_condition, without_a_blessing_to_start_from, without_examples])
def test_a_run_that_comes_to_no_verdict_pushes_nothing(store, leave_out):
    """TFX goes on after a node whose inputs are missing, and would come to Pusher with no blessing."""
    trainer = toy.ToyTrainer(0.3).with_id("Trainer")
    nodes = leave_out(trainer)
    pusher = toy.ToyPusher(trainer.outputs["model"], by_id(nodes)[GATE_NODE_ID].outputs["blessing"]).with_id("Pusher")
    check_gate([*nodes, pusher])
    states = store.run([*nodes, pusher])
    assert states["Trainer"] == "COMPLETE"
    assert states["Pusher"] == "FAILED"
    assert not store.mlmd().get_artifacts_by_type("PushedModel")


@pytest.mark.pipeline
def test_unchanged_reruns_settle_and_a_changed_policy_runs_the_validator_alone(store):
    def states(policy):
        ran = store.run(add_attribution_gate(toy.ungated(0.4), validation_config=policy))
        return {node: ran[node] for node in ("Trainer", "Evaluator", "ExplainerGen", GATE_NODE_ID)}

    first = states(STRICT)
    assert set(first.values()) == {"COMPLETE"}
    states(STRICT)  # Meets the reference and the baseline that the first run made.
    settled = states(STRICT)
    assert set(settled.values()) == {"CACHED"}
    changed = states(STRICTER)
    assert changed == {**settled, GATE_NODE_ID: "COMPLETE"}


@pytest.mark.pipeline
def test_metadata_holds_artifacts_properties_and_lineage(store):
    store.run(add_attribution_gate(toy.ungated(0.3), validation_config=STRICT))
    trained = store.wrote("Trainer", "model")
    gate = store.last(GATE_NODE_ID)
    made = {key: store.artifacts(gate, key, pb.Event.OUTPUT) for key in ("blessing", "anomalies", "new_reference")}
    types_by_id = {t.id: t.name for t in store.mlmd().get_artifact_types()}
    assert {key: types_by_id[artifact.type_id] for key, (artifact,) in made.items()} == {
        "blessing": "ModelBlessing",
        "anomalies": "tfx_explain.AttributionAnomalies",
        "new_reference": "tfx_explain.AttributionReference",
    }
    blessing = made["blessing"][0].custom_properties
    assert blessing[properties.BLESSED].int_value == 1
    assert blessing[properties.CURRENT_MODEL].string_value == trained[0].uri
    assert blessing[properties.CURRENT_MODEL_ID].int_value == trained[0].id
    assert blessing[properties.GATE_ID].string_value == "default"
    assert made["new_reference"][0].custom_properties[properties.MODELS].int_value == 1

    attributions = store.wrote("ExplainerGen", "attributions")
    assert types_by_id[attributions[0].type_id] == "tfx_explain.ModelAttributions"
    assert attributions[0].custom_properties[properties.STATUS].string_value == "explained"
    for node, key, expected in [
        ("ExplainerGen", "model", trained),
        ("ExplainerGen", "model_blessing", store.wrote("Evaluator", "blessing")),
        (GATE_NODE_ID, "model", trained),
        (GATE_NODE_ID, "attributions", attributions),
        (GATE_NODE_ID, "model_blessing", store.wrote("Evaluator", "blessing")),
        ("Pusher", "model_blessing", made["blessing"]),
    ]:
        assert [artifact.id for artifact in store.read(node, key)] == [artifact.id for artifact in expected]
    recorded = gate.custom_properties
    assert recorded["engine_version"].string_value == properties.engine_version()
    assert '"threshold":0.5' in recorded["validation_config"].string_value


def test_a_verdict_goes_with_its_model():
    """Another trainer's model on the gate's blessing would be pushed unjudged."""
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    other = toy.ToyTrainer(0.9).with_id("OtherTrainer")
    pusher = toy.ToyPusher(other.outputs["model"], by_id(gated)[GATE_NODE_ID].outputs["blessing"]).with_id("Pusher")
    with pytest.raises(ValueError, match="'Pusher'.*the model of 'OtherTrainer' on a verdict about that of 'Trainer'"):
        check_gate([*gated, other, pusher])


@pytest.mark.parametrize("asked", [{}, {"producer_component_id": "Trainer"}, {"producer_component_id": "OtherTrainer"}])
def test_a_verdict_is_not_on_whatever_model_a_query_finds(asked):
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    found = types.Channel(type=standard_artifacts.Model, **asked)
    pusher = toy.ToyPusher(found, by_id(gated)[GATE_NODE_ID].outputs["blessing"]).with_id("Pusher")
    with pytest.raises(ValueError, match="'Pusher'.*no node is sure to have made on a verdict about that of 'Trainer'"):
        check_gate([*gated, pusher])


def test_a_verdict_is_not_on_one_of_several_models():
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    other = toy.ToyTrainer(0.9).with_id("OtherTrainer")
    either = channel_lib.union([by_id(gated)["Trainer"].outputs["model"], other.outputs["model"]])
    pusher = toy.ToyPusher(either, by_id(gated)[GATE_NODE_ID].outputs["blessing"]).with_id("Pusher")
    with pytest.raises(ValueError, match="'Pusher'.*no node is sure to have made"):
        check_gate([*gated, other, pusher])


def pusher_of_an_infra_blessing(gated, model):
    """Without a model, Pusher takes the one that InfraValidator made a warm-up request of."""
    validator = InfraValidator(
        model=model,
        serving_spec=infra_validator_pb2.ServingSpec(),
        request_spec=infra_validator_pb2.RequestSpec(make_warmup=True),
    )
    pusher = Pusher(
        infra_blessing=validator.outputs["blessing"],
        model_blessing=by_id(gated)[GATE_NODE_ID].outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(),
    )
    return [validator, pusher.with_id("PusherOfInfraBlessing")]


def test_a_verdict_goes_with_the_model_of_an_infra_blessing():
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    check_gate([*gated, *pusher_of_an_infra_blessing(gated, by_id(gated)["Trainer"].outputs["model"])])


def test_a_verdict_is_not_on_the_model_of_another_infra_blessing():
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    other = toy.ToyTrainer(0.9).with_id("OtherTrainer")
    nodes = [*gated, other, *pusher_of_an_infra_blessing(gated, other.outputs["model"])]
    with pytest.raises(ValueError, match="'PusherOfInfraBlessing': it takes the model of 'OtherTrainer' on a verdict"):
        check_gate(nodes)


def test_what_pushes_in_a_pipeline_of_its_own_is_refused():
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    trainer = toy.ToyTrainer(0.9).with_id("InnerTrainer")
    evaluator = toy.ToyEvaluator(trainer.outputs["examples"], trainer.outputs["model"]).with_id("InnerEvaluator")
    pusher = toy.ToyPusher(trainer.outputs["model"], evaluator.outputs["blessing"]).with_id("InnerPusher")
    inner = pipeline.Pipeline("inner", components=[trainer, evaluator, pusher])
    with pytest.raises(ValueError, match="'inner': it is a pipeline of its own, which holds 'InnerPusher'"):
        check_gate([*gated, inner])
    check_gate([*gated, pipeline.Pipeline("trains", components=[toy.ToyTrainer(0.5).with_id("Another")])])


def test_a_verdict_that_is_a_condition_goes_with_its_model():
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    other, trainer = toy.ToyTrainer(0.9).with_id("OtherTrainer"), by_id(gated)["Trainer"]
    with Cond(by_id(gated)[GATE_NODE_ID].outputs["blessing"].future()[0].custom_property("blessed") == 1):
        good = toy.ToyPusher(trainer.outputs["model"]).with_id("Good")
        bad = toy.ToyPusher(other.outputs["model"]).with_id("Bad")
    check_gate([*gated, good])
    with pytest.raises(ValueError, match="'Bad'.*the model of 'OtherTrainer' on a verdict about that of 'Trainer'"):
        check_gate([*gated, other, good, bad])


def test_a_verdict_that_a_query_may_not_find_is_refused():
    """Nothing would order it behind the gate, and Pusher pushes where its optional blessing is empty."""
    gated = add_attribution_gate(toy.ungated(0.3)[:3])
    found = types.Channel(type=standard_artifacts.ModelBlessing, producer_component_id=GATE_NODE_ID)
    pusher = toy.ToyPusher(by_id(gated)["Trainer"].outputs["model"], found).with_id("Pusher")
    with pytest.raises(ValueError, match="'Pusher'.*asks the metadata store for a blessing"):
        check_gate([*gated, pusher])


def test_an_earlier_runs_verdict_is_not_this_runs():
    nodes = toy.ungated(0.3)
    gated = add_attribution_gate(nodes[:3])
    old = resolver.Resolver(
        strategy_class=LatestArtifactStrategy,
        blessing=types.Channel(type=standard_artifacts.ModelBlessing, producer_component_id=GATE_NODE_ID),
    ).with_id("old_blessing")
    pusher = toy.ToyPusher(nodes[0].outputs["model"], old.outputs["blessing"]).with_id("Pusher")
    with pytest.raises(ValueError, match="'Pusher'.*'old_blessing' resolves"):
        check_gate([*gated, old, pusher])
