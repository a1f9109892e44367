import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fclf.config import (
    Config,
    DataConfig,
    InferenceConfig,
    LossConfig,
    ModelConfig,
    PairwiseMSEConfig,
    PrototypeInfoNCEConfig,
    TrainingConfig,
    load_config,
    parse_config,
    recipes,
)
from fclf.errors import InputError

POSITIVE = st.floats(1e-12, 1e12)
COUNTS = st.integers(1, 10**6)

CONFIGS = st.builds(
    Config,
    data=st.builds(
        DataConfig,
        attributes=st.none() | st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True).map(tuple),
        split_seed=st.integers(0, 2**32),
    ),
    model=st.builds(ModelConfig, hidden_dim=COUNTS),
    loss=st.builds(
        LossConfig,
        contrastive=st.builds(PairwiseMSEConfig)
        | st.builds(
            PrototypeInfoNCEConfig,
            prototype_weight=POSITIVE,
            prototypes=st.sampled_from(["batch", "stop_gradient", "moving_average", "real"]),
        ),
        temperature=POSITIVE,
        lambda_identity=st.just(0.0) | POSITIVE,
        identity_reduction=st.sampled_from(["sum", "mean"]),
    ),
    training=st.builds(
        TrainingConfig, learning_rate=POSITIVE, flip_probability=st.floats(0, 1), max_flips=COUNTS, seed=COUNTS
    ),
    inference=st.builds(InferenceConfig, num_flow_steps=st.integers(1, 1000), method=st.sampled_from(["euler", "rk4"])),
)


def error_of(raw, origin="x.yaml"):
    with pytest.raises(InputError) as caught:
        parse_config(raw, origin)
    return str(caught.value)


def nest(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def leaves(values, prefix=""):
    for key, value in values.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]


def test_recipes_differ_in_the_specifications_three_fixes_only():
    before, after = (load_config(name) for name in ("before", "fclf_config"))
    assert (before.loss.lambda_identity, after.loss.lambda_identity) == (1.0, 0.05)
    assert (before.training.flip_probability, after.training.flip_probability) == (0.5, 1.0)
    assert before.loss.contrastive == PairwiseMSEConfig()
    assert after.loss.contrastive == PrototypeInfoNCEConfig(prototype_weight=0.7, pairwise_weight=0.3)
    unfixed = after.model_copy(
        update={
            "loss": after.loss.model_copy(update={"contrastive": before.loss.contrastive, "lambda_identity": 1.0}),
            "training": after.training.model_copy(update={"flip_probability": 0.5}),
        }
    )
    assert unfixed == before


@pytest.mark.parametrize("name", ["before", "fclf_config"])
def test_recipes_have_the_references_numbers(name):
    config = load_config(name)
    assert config.data.attributes == ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
    assert config.model.hidden_dim == 256
    assert (config.loss.temperature, config.loss.lambda_contrastive) == (0.07, 1.0)
    assert config.loss.identity_reduction == "mean"
    training = config.training
    assert (training.num_epochs, training.batch_size, training.checkpoint_every) == (50, 128, 5)
    assert (training.learning_rate, training.min_learning_rate, training.gradient_clip) == (1e-4, 1e-6, 1.0)
    assert (training.alpha, training.min_flips, training.max_flips) == (0.1, 1, 2)
    assert config.inference == InferenceConfig(num_flow_steps=10, step_size=0.1, method="euler")


def test_the_package_holds_its_recipes():
    assert {"before", "fclf_config"} <= set(recipes())
    assert all(load_config(name) for name in recipes())


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("loss:\n  lambda_identity: 0.05\n", "loss.lambda_identity", 0.05),
        ("training:\n  learning_rate: 0.00005\n", "training.learning_rate", 5e-5),
    ],
)
def test_keys_that_the_specification_shows_are_accepted(tmp_path, text, key, value):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    section, name = key.split(".")
    assert getattr(getattr(load_config(path), section), name) == value


@given(config=CONFIGS)
def test_yaml_round_trip_is_the_same_configuration(config):
    assert parse_config(yaml.safe_load(config.to_yaml()), "round trip") == config


def test_a_written_file_is_read_back(tmp_path):
    config = load_config("before", ["data.attributes=[Lächeln, 'yes', '1']", "loss.temperature=1e-5"])
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(path) == load_config(str(path)) == config
    assert config.data.attributes == ("Lächeln", "yes", "1")


def test_an_empty_file_is_the_default_configuration(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_config(path) == Config()


def test_every_misspelt_key_is_reported_at_once_with_the_key_that_was_meant():
    def misspell(values):
        return {
            key if isinstance(value, dict) or key == "kind" else key[:-1]: misspell(value)
            if isinstance(value, dict)
            else value
            for key, value in values.items()
        }

    defaults = Config().model_dump()
    wrong = [key for key in leaves(defaults) if not key.endswith(".kind")]
    lines = error_of(misspell(defaults)).splitlines()
    assert lines[0] == f"x.yaml has {len(wrong)} unusable setting(s):"
    assert sorted(lines[1:]) == sorted(f"  {key[:-1]}: no such setting; did you mean {key}?" for key in wrong)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lambda_identity", "loss.lambda_identity"),  # its section was forgotten
        ("training.lambda_identity", "loss.lambda_identity"),  # the wrong section
        ("modle", "model"),
    ],
)
def test_a_misplaced_key_is_sent_to_its_section(key, meant):
    assert f"{key}: no such setting; did you mean {meant}?" in error_of(nest(key, 1))


def test_a_key_like_no_other_gets_no_suggestion():
    assert error_of({"xyzzy": 1}).endswith("xyzzy: no such setting")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss.temperature", 0),
        ("loss.temperature", float("nan")),
        ("loss.temperature", float("inf")),
        ("loss.lambda_identity", -0.1),
        ("loss.lambda_contrastive", -0.1),
        ("loss.identity_reduction", "max"),
        ("loss.contrastive", {"kind": "triplet"}),
        ("loss.contrastive", {"kind": "pairwise_mse", "prototype_weight": 0.7}),
        ("loss.contrastive", {"kind": "prototype_infonce", "prototype_weight": -1}),
        ("model.hidden_dim", 0),
        ("training.num_epochs", 0),
        ("training.num_epochs", 1.5),
        ("training.batch_size", 1),
        ("training.learning_rate", 0),
        ("training.learning_rate", "fast"),
        ("training.gradient_clip", 0),
        ("training.alpha", 0),
        ("training.flip_probability", 1.1),
        ("training.flip_probability", -0.1),
        ("training.min_flips", 0),
        ("training.checkpoint_every", 0),
        ("training.seed", -1),
        ("inference.num_flow_steps", 0),
        ("inference.num_flow_steps", 10**9),
        ("training.rollout_steps", 1001),
        ("inference.step_size", 0),
        ("inference.method", "midpoint"),
        ("data.attributes", 5),
        ("data.attributes", []),
        ("data.split_seed", -1),
    ],
)
def test_an_unusable_value_is_refused_by_name(key, value):
    message = error_of(nest(key, value))
    assert key in message
    assert "1 unusable" in message


def test_unknown_keys_and_unusable_values_are_reported_together():
    message = error_of(
        {
            "loss": {"temprature": 0.1, "lambda_identity": -1},
            "training": {"batch_size": 1, "alpha": "much"},
            "inference": {"method": "midpoint"},
        }
    )
    assert "5 unusable" in message
    for part in ("temprature", "lambda_identity", "batch_size", "alpha", "(came: 'much')", "(came: 'midpoint')"):
        assert part in message


def test_a_range_of_flips_must_not_be_empty():
    assert "min_flips (3) is above max_flips (2)" in error_of({"training": {"min_flips": 3}})
    assert parse_config({"training": {"min_flips": 2}}, "x").training.min_flips == 2


def test_an_empty_range_of_flips_is_reported_beside_other_errors():
    message = error_of({"training": {"min_flips": 3, "batch_size": 1}})
    assert "batch_size" in message
    assert "min_flips" in message


def test_a_key_is_never_said_to_be_a_misspelling_of_itself():
    key = "loss.contrastive.prototype_weight"
    assert f"did you mean {key}" not in error_of(
        {"loss": {"contrastive": {"kind": "pairwise_mse", "prototype_weight": 1}}}
    )


def test_overrides_replace_values_in_order():
    config = load_config(
        "fclf_config",
        ["loss.lambda_identity=0.1", "loss.lambda_identity=0.2", "training.learning_rate=5e-5", "training.seed = 7"],
    )
    assert config.loss.lambda_identity == 0.2
    assert config.training.learning_rate == 5e-5
    assert config.training.seed == 7
    assert config.loss.temperature == load_config("fclf_config").loss.temperature


def test_overrides_reach_nested_sections_lists_and_nothing():
    config = load_config(
        "fclf_config",
        ["loss.contrastive.prototypes=stop_gradient", "data.attributes=[Smiling, Male]", "data.split_seed=3"],
    )
    assert config.loss.contrastive == PrototypeInfoNCEConfig(prototypes="stop_gradient")
    assert config.data.attributes == ("Smiling", "Male")
    assert load_config("fclf_config", ["data.attributes=null"]).data.attributes is None


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("loss.lambda_identity", "SECTION.KEY=VALUE"),
        ("=1", "SECTION.KEY=VALUE"),
        ("loss.temperature.x=1", "'temperature' is a value, not a section"),
        ("loss.temperature=[1", "not a YAML value"),
        ("loss.temprature=1", "did you mean loss.temperature?"),
        ("loss.temperature=-1", "loss.temperature"),
    ],
)
def test_an_unusable_override_is_shown(override, part):
    with pytest.raises(InputError, match=re.escape(part)):
        load_config("fclf_config", [override])


def test_a_source_that_is_neither_recipe_nor_file_names_the_recipes(tmp_path):
    for source in ("after", tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(InputError, match=r"neither a recipe .*before, edit, .*fclf_config.* nor"):
            load_config(source)


@pytest.mark.parametrize(("content", "part"), [("a: [1", "is not YAML"), ("- 1\n- 2\n", "holds a list")])
def test_a_file_of_something_else_is_refused_by_name(tmp_path, content, part):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=f"bad.yaml {part}"):
        load_config(path)


def test_a_configuration_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Config().training.alpha = 1.0


def test_choosing_another_kind_drops_the_settings_of_the_recipes_kind():
    assert load_config("fclf_config", ["loss.contrastive.kind=pairwise_mse"]).loss.contrastive.kind == "pairwise_mse"


def test_an_objective_without_a_term_is_refused():
    message = error_of({"loss": {"lambda_contrastive": 0, "lambda_identity": 0}})
    assert "nothing to learn" in message


def test_an_empty_section_means_its_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("loss:\n")
    assert load_config(tmp_path / "empty.yaml") == Config()
    assert load_config(tmp_path / "empty.yaml", ["loss.temperature=1"]).loss.temperature == 1


def test_attributes_may_be_typed_with_commas():
    assert load_config("before", ["data.attributes=Young,Male"]).data.attributes == ("Young", "Male")


def test_a_missing_kind_is_named_with_the_choices():
    message = error_of({"loss": {"contrastive": {"agreement": 1}}})
    assert "loss.contrastive.kind" in message
    assert "pairwise_mse" in message


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("training.num_epochs=7", "training.num_epochs"),
        ("training.learning_rate=0.1", "training.learning_rate"),
        ("training.evaluate_every=0", "training.evaluate_every"),
        ("loss.lambda_identity=0.5", "loss.lambda_identity"),
        ("loss.lambda_curl=0.1", "loss.lambda_curl"),
        ("inference.silhouette_by_target=0.4", "inference.silhouette_by_target"),
    ],
)
def test_what_a_field_on_the_change_does_not_read_is_refused(override, key):
    with pytest.raises(InputError, match=re.escape(f"{key}: not read by `model.kind: change`")):
        load_config("edit", [override])


def test_what_a_field_on_the_change_reads_is_accepted_and_read_back():
    settings = ["training.seed=3", "inference.num_flow_steps=5", "model.residual_steps=0", "model.rank=4"]
    config = load_config("edit", settings)
    assert (config.training.seed, config.model.residual_steps, config.model.rank) == (3, 0, 4)
    assert parse_config(yaml.safe_load(config.to_yaml()), "round trip") == config


def test_all_that_is_not_read_is_named_at_once():
    with pytest.raises(InputError, match=r"loss.temperature, training.alpha: not read"):
        load_config("edit", ["loss.temperature=0.1", "training.alpha=0.2"])
