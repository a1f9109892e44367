"""What a run can be told: frozen models, read from YAML with overrides, every error shown at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fclf.errors import InputError, shortened
from fclf.parsing import parse_yaml

__all__ = [
    "ChangeModelConfig",
    "Config",
    "ExclusiveConfig",
    "InferenceConfig",
    "LossConfig",
    "ModelConfig",
    "TrainingConfig",
    "load_config",
    "recipes",
]


FlowSteps = Annotated[int, Field(ge=1, le=1000)]
"""Steps along a flow: a hundred times the recipes' at most, as a file from elsewhere may ask for any number."""

MOST_LISTED = 40
"""Unusable settings; a file has hardly more, and a list of numbers where names belong has thousands."""


class Section(BaseModel):
    """A frozen part of the configuration in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _names(value: Any) -> Any:
    """Names between commas, as a command line writes them."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


class ExclusiveConfig(Section):
    """Attributes of which a row has one at most."""

    attributes: Annotated[tuple[str, ...], Field(min_length=2)]
    always: bool | None = None
    """Whether a row always has one of them; found on the train rows if absent."""


class DataConfig(Section):
    """Which attributes are learned and how rows are split."""

    attributes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the attributes, in order; all of the file's if absent."""

    exclusive: tuple[ExclusiveConfig, ...] = ()
    """Groups of attributes that exclude each other; in short, a list of lists of names."""

    @field_validator("attributes", mode="before")
    @classmethod
    def _names_between_commas(cls, value: Any) -> Any:
        return _names(value)

    @field_validator("exclusive", mode="before")
    @classmethod
    def _groups_of_names(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"attributes": _names(group)} if isinstance(group, str | list | tuple) else group for group in value]

    @model_validator(mode="after")
    def _one_group_each(self) -> Self:
        names = [name for group in self.exclusive for name in group.attributes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"exclusive: {', '.join(twice)} stands in more than one place; a choice is one group.")
        return self

    split_seed: NonNegativeInt = 0
    """Seed of the split for a file that has no `split` column."""


class ModelConfig(Section):
    """The reference's field, conditioned on the target attributes."""

    kind: Literal["target"] = "target"
    hidden_dim: PositiveInt = 256
    """Units in each of the three hidden layers."""
    embedding_dim: PositiveInt | None = None
    """Width of the embeddings: taken from the data, and checked against them where it is given."""


class ChangeModelConfig(Section):
    """A field on the change of attributes, which starts from a closed form."""

    kind: Literal["change"] = "change"
    keep: Annotated[float, Field(ge=0, le=1)] = 0.5
    """From faithful (0: the distribution of real rows first) to controlled (1: other predictions held)."""
    start: Literal["auto", "transport", "shift", "quantile", "affine", "learned"] = "auto"
    """The closed form: the best of all on the val rows, or the named one; `learned`: transport with learned effects."""
    effect_steps: NonNegativeInt = 0
    """Training steps of a network of effects that differ by row, used where the val rows say so; 0 for none."""
    residual_steps: NonNegativeInt = 0
    """Training steps of a residual, which is used where the val rows say so; 0 for none."""
    hidden_dim: PositiveInt = 64
    """Hidden units of the residual."""
    rank: PositiveInt = 16
    """Of the residual's velocities."""
    embedding_dim: PositiveInt | None = None
    """Width of the embeddings: taken from the data, and checked against them where it is given."""

    @model_validator(mode="after")
    def _has_steps_to_learn(self) -> ChangeModelConfig:
        if self.start == "learned" and not self.effect_steps:
            raise ValueError("start is learned, but effect_steps is 0; set model.effect_steps=1500")
        return self


def _model_kind(value: Any) -> str:
    """The reference's field where a configuration names none, as the specification's has no `kind`."""
    kind = value.get("kind", "target") if isinstance(value, Mapping) else getattr(value, "kind", "target")
    return str(kind)


AnyModelConfig = Annotated[
    Annotated[ModelConfig, Tag("target")] | Annotated[ChangeModelConfig, Tag("change")], Discriminator(_model_kind)
]


class PairwiseMSEConfig(Section):
    """The loss before the specification's fixes."""

    kind: Literal["pairwise_mse"] = "pairwise_mse"


class PrototypeInfoNCEConfig(Section):
    """The specification's FIX 3."""

    kind: Literal["prototype_infonce"] = "prototype_infonce"
    prototype_weight: NonNegativeFloat = 0.7
    """Weight of InfoNCE against one prototype per combination."""
    pairwise_weight: NonNegativeFloat = 0.3
    """Weight of pairwise InfoNCE within the batch."""
    prototypes: Literal["batch", "stop_gradient", "moving_average", "real"] = "batch"
    """Means of the flowed batch; the same held fixed; their moving averages; means of the real training rows."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Of the moving averages, 0.99 if absent."""

    @model_validator(mode="after")
    def _momentum_is_used(self) -> PrototypeInfoNCEConfig:
        if self.momentum is not None and self.prototypes != "moving_average":
            raise ValueError("momentum is read by `prototypes: moving_average` only")
        return self


class SoftInfoNCEConfig(Section):
    """The authors' later loss: pairwise InfoNCE in which rows that agree on most attributes are positives."""

    kind: Literal["soft_infonce"] = "soft_infonce"
    agreement: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the attributes on which positives agree; 0.8 of five is four."""


CONTRASTIVE: tuple[type[Section], ...] = (PairwiseMSEConfig, PrototypeInfoNCEConfig, SoftInfoNCEConfig)
KINDS: Mapping[str, tuple[type[Section], ...]] = {
    "model": (ModelConfig, ChangeModelConfig),
    "loss.contrastive": CONTRASTIVE,
}
"""Sections that come in kinds."""


class LossConfig(Section):
    """The objective: a weighted sum of named terms."""

    contrastive: Annotated[
        PairwiseMSEConfig | PrototypeInfoNCEConfig | SoftInfoNCEConfig, Field(discriminator="kind")
    ] = PrototypeInfoNCEConfig()
    temperature: PositiveFloat = 0.07
    """Temperature of the cosine similarities."""
    lambda_contrastive: NonNegativeFloat = 1.0
    """Weight of the contrastive term."""
    lambda_identity: NonNegativeFloat = 0.05
    """Weight of the squared movement (FIX 1)."""
    identity_reduction: Literal["sum", "mean"] = "sum"
    """Of identity and separation over dimensions; the reference takes the mean, 1/d of the squared distance."""
    lambda_separation: NonNegativeFloat = 0.0
    """Weight of the repulsion from wrong attributes' destinations (FIX 4)."""
    lambda_curl: NonNegativeFloat = 0.0
    """Weight of the squared curl of the field."""
    lambda_div: NonNegativeFloat = 0.0
    """Weight of the squared divergence of the field."""
    lambda_smoothness: NonNegativeFloat = 0.0
    """Weight of the squared norm of the field's Jacobian."""
    lambda_magnitude: NonNegativeFloat = 0.0
    """Weight of the squared norm of the field."""
    jacobian_reduction: Literal["sum", "mean"] = "sum"
    """Of curl, divergence and smoothness over dimensions."""
    jacobian_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a training batch's rows, chosen at random, that curl, divergence and smoothness are estimated from."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> LossConfig:
        weights = [getattr(self, name) for name in type(self).model_fields if name.startswith("lambda_")]
        if not any(weights):
            raise ValueError("every weight is 0, so there is nothing to learn")
        return self


class TrainingConfig(Section):
    """The optimisation."""

    num_epochs: PositiveInt = 50
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0, le=1e30)] = 1e-4
    """Adam's learning rate at the first epoch; a cosine over the epochs falls toward `min_learning_rate`."""
    min_learning_rate: NonNegativeFloat = 1e-6
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the field's matrix products; sums, losses, norms and the optimiser's state are float32 all the same."""
    gradient_clip: PositiveFloat = 1.0
    """Largest norm of the gradient."""
    alpha: PositiveFloat = 0.1
    """Flow time of one step of the trained rollout."""
    rollout_steps: FlowSteps = 1
    """Steps of the trained rollout; the reference trains one and takes `inference.num_flow_steps`."""
    flip_probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Probability that a batch's targets differ from its own attributes."""
    min_flips: PositiveInt = 1
    max_flips: Annotated[PositiveInt, Field(validate_default=True)] = 2
    checkpoint_every: PositiveInt = 5
    """Epochs between the checkpoints that are kept."""
    evaluate_every: NonNegativeInt = 5
    """Epochs between evaluations of spread on the val rows; 0 for none."""
    explosion_factor: Annotated[float, Field(gt=1)] = 1e4
    """Training stops when the loss is this many times as large as at its first step (and as 1)."""
    seed: NonNegativeInt = 0

    @field_validator("max_flips")
    @classmethod
    def _flips_are_a_range(cls, most: int, info: ValidationInfo) -> int:
        fewest = info.data.get("min_flips", 1)
        if fewest > most:
            raise ValueError(f"min_flips ({fewest}) is above max_flips ({most})")
        return most


class InferenceConfig(Section):
    """How an embedding is carried along the field."""

    num_flow_steps: FlowSteps = 10
    step_size: PositiveFloat = 0.1
    """Flow time of one step."""
    method: Literal["euler", "heun", "rk4"] = "euler"
    """Order 1, 2 or 4, projected to the sphere after each step."""
    silhouette_by_target: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Each checkpoint's flow is followed as far as gives the val rows this silhouette; to its end if absent."""


class Config(Section):
    """Everything that decides a run, in the specification's sections and keys."""

    data: DataConfig = DataConfig()
    model: AnyModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()

    @model_validator(mode="after")
    def _every_setting_is_read(self) -> Config:
        if isinstance(self.model, ChangeModelConfig):
            read = {
                "loss": LossConfig(),
                "training": TrainingConfig(seed=self.training.seed),
                "inference": self.inference.model_copy(update={"silhouette_by_target": None}),
            }
            unread = [key for key, _, _ in changes(self.model_copy(update=read), self)]
            if unread:
                raise ValueError(
                    f"{', '.join(unread)}: not read by `model.kind: change`, which is fitted and not trained in "
                    "epochs; of `training` it reads the seed only. Leave them out, or choose `model.kind: target`"
                )
        return self

    def to_yaml(self) -> str:
        """YAML that `load_config` reads back to an equal configuration."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def recipes() -> dict[str, str]:
    """Text of every recipe in the package, by name."""
    folder = resources.files("fclf") / "recipes"
    return {
        item.name.removesuffix(".yaml"): item.read_text(encoding="utf-8")
        for item in sorted(folder.iterdir(), key=lambda item: item.name)
        if item.name.endswith(".yaml")
    }


def load_config(source: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a recipe by name, or a YAML file, and apply overrides such as `loss.lambda_identity=0.1`.

    Raises:
        InputError: listing every unknown key and unusable value at once.
    """
    known = recipes()
    if str(source) in known:
        text, origin = known[str(source)], f"recipe '{source}'"
    else:
        path = Path(source)
        if not path.is_file():
            raise InputError(f"--config {source}: neither a recipe ({', '.join(known)}) nor a YAML file that exists.")
        text, origin = path.read_text(encoding="utf-8", errors="replace"), str(path)
    try:
        raw = parse_yaml(text) or {}
    except ValueError as error:
        raise InputError(f"{origin} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{origin} holds a {type(raw).__name__}; sections such as `loss:` were expected.")
    raw = {section: {} if values is None else values for section, values in raw.items()}
    for override in overrides:
        _apply(raw, override)
    return parse_config(raw, origin)


def parse_config(raw: Mapping[str, Any], origin: str) -> Config:
    """Validate a nested mapping; `InputError` lists every problem, with the nearest key for a misspelt one."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
        lines = [f"  {_describe(problem)}" for problem in problems[:MOST_LISTED]]
        more = [f"  ... and {len(problems) - MOST_LISTED} more"] if len(problems) > MOST_LISTED else []
        raise InputError(f"{origin} has {len(problems)} unusable setting(s):\n" + "\n".join([*lines, *more])) from None


def changes(old: Config, new: Config) -> list[tuple[str, Any, Any]]:
    """Settings that differ: key, old and new value; `(none)` for one that only the other has."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in values.items():
            out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return out

    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return [(key, before.get(key, "(none)"), after.get(key, "(none)")) for key in keys]


def _apply(raw: dict[Any, Any], override: str) -> None:
    shown = shortened(override)
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {shown}: type SECTION.KEY=VALUE, for example loss.lambda_identity=0.1.")
    *sections, last = key.strip().split(".")
    place = raw
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {shown}: '{section}' is a value, not a section.")
        place = inner
    try:
        chosen = parse_yaml(value)
    except ValueError as error:
        raise InputError(f"--set {shown}: what is set is not a YAML value ({error}).") from error
    if last == "kind" and place.get(last) != chosen:
        place.clear()  # settings of the kind that is not chosen any more
    place[last] = chosen


def _describe(problem: Mapping[str, Any]) -> str:
    tags = {place: [kind.model_fields["kind"].default for kind in kinds] for place, kinds in KINDS.items()}
    every = {tag for kinds in tags.values() for tag in kinds}  # pydantic adds them to the path
    name = ".".join(str(part) for part in problem["loc"] if part not in every)
    if problem["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return f"{name}.kind: one of {', '.join(tags[name])} was expected"
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ")
        return f"{name}: {message} (came: {shortened(repr(problem['input']))})" if name else message
    known = _all_keys()
    if name in known:
        return f"{name}: a setting of another {name.split('.')[-2]}.kind"
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _all_keys() -> list[str]:
    def walk(values: Mapping[str, Any], prefix: str) -> Iterable[str]:
        for key, value in values.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    keys = list(walk(Config().model_dump(), ""))
    return keys + [f"{place}.{key}" for place, kinds in KINDS.items() for kind in kinds for key in kind.model_fields]
