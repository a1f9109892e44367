"""Checkpoints: written whole, loaded without executing anything, and clear about where they come from."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int8
from pydantic import ValidationError
from torch import Tensor

from fclf.checkpoint_content import FORMAT, CheckpointContent
from fclf.closed.probe import LinearClassifier
from fclf.closed.state import support_from_arrays, to_arrays
from fclf.closed.support import Support
from fclf.closed.transport import ConditionalTransport
from fclf.config import ChangeModelConfig, Config, parse_config
from fclf.data.embeddings import EmbeddingSet, attribute_positions
from fclf.data.formats.tensors import load_plain
from fclf.data.targets import Assigned, check_known, edit_targets, own_labels
from fclf.errors import EncoderWarning, InputError
from fclf.field import ChangeField, SharedPass, TargetField
from fclf.files import atomic_write
from fclf.flow import Flow, VectorField
from fclf.labels import UNKNOWN, ExclusiveGroup
from fclf.weights import as_tensors, field_of

__all__ = ["Checkpoint"]

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Checkpoint:
    """A trained field and what it was trained with."""

    config: Config
    attribute_names: tuple[str, ...]
    dim: int
    weights: dict[str, Tensor]
    epoch: int
    data_fingerprint: str
    seen_ids: tuple[str, ...]
    """Ids of the rows that training has read (train and val); empty where the file named none."""
    seen_digests: tuple[str, ...]
    """`EmbeddingSet.row_digests` of the same rows."""
    seen_identities: tuple[int, ...] = ()
    """Who is shown in them, in the numbers of that file."""
    seen_before: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = ()
    """Row digests and people of earlier runs (warm start) whose files number people in a way of their own; their ids
    and digests are among `seen_ids` and `seen_digests` too."""
    warm_start: dict[str, Any] = field(default_factory=dict)
    """What was taken over from which earlier run (`fclf.warm_start`)."""
    classifier: dict[str, Tensor] = field(default_factory=dict)
    """Arrays of a `LinearClassifier` of the train rows, for rows without labels."""
    encoder: str | None = None
    """Fingerprint of the network that made the embeddings; None where their file did not say."""
    support: Support | None = None
    """Where real rows are, from the train and val rows; absent in checkpoints of before, and with very few rows."""
    choice: dict[str, Any] = field(default_factory=dict)
    """What was chosen on the val rows, and why (`fclf.evaluation.selection`)."""
    strength: float = 1.0
    """Factor on the flow time, calibrated on the val rows where `inference.silhouette_by_target` asks for it."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Mean losses of each epoch."""
    training_state: dict[str, Any] = field(default_factory=dict)
    """Optimiser, schedule and random state, to continue from."""
    made_with: tuple[dict[str, Any], ...] = ()
    """Versions, device and threads (`fclf.provenance.conditions`) from an `epoch` on; several where a run was resumed
    under others."""

    def flow(self, device: str | torch.device = "cpu", precision: Precision = "float32") -> Flow:
        """The trained field and the flow that follows it; built once for each device and precision.

        Args:
            device: where to compute.
            precision: of the matrix products of a field on the target; `bfloat16` pays where the machine has
                instructions for it, and ends within a cosine distance of 1e-2. A field on the change has no use for it.
        """
        key = str(device), precision
        if key not in self._flows:
            self._flows[key] = self._build_flow(device, precision)
        return self._flows[key]

    @cached_property
    def _flows(self) -> dict[tuple[str, str], Flow]:
        return {}

    def _build_flow(self, device: str | torch.device, precision: Precision) -> Flow:
        inference = self.config.inference
        model = field_of(self.weights, self.config.model, self.dim, len(self.attribute_names))
        condition_of = model.condition if isinstance(model, ChangeField) else None
        model.to(device).eval().requires_grad_(False)
        field: VectorField = model
        if precision != "float32" and isinstance(model, TargetField):
            field = SharedPass(model, getattr(torch, precision))
        return Flow(
            field, inference.num_flow_steps, inference.step_size * self.strength, inference.method, condition_of
        )

    def with_keep(self, keep: float) -> Checkpoint:
        """The same field at another operating point, 0 (faithful) to 1 (controlled), without fitting anything again.

        The start changes; a residual stays as it was trained.

        Raises:
            InputError: for a field that has none.
        """
        name = f"{ConditionalTransport.__name__}.keep"
        if name not in self.weights:
            raise InputError(
                "--keep: this checkpoint's field has no operating point; only conditional transport has. Train with "
                "--config edit --set model.start=transport."
            )
        if not 0 <= keep <= 1:
            raise InputError(f"keep must be between 0 (faithful) and 1 (controlled), but {keep:g} came.")
        return replace(self, weights={**self.weights, name: torch.tensor(keep, dtype=torch.float64)})

    def matching(self, data: EmbeddingSet) -> EmbeddingSet:
        """Choose this model's attributes in `data` by name; `InputError` if the width or a name does not fit."""
        self.check_rows(data)
        return data.select(self.attribute_names).with_exclusive(
            (group.attributes, group.always) for group in self.config.data.exclusive
        )

    @property
    def exclusive(self) -> tuple[ExclusiveGroup, ...]:
        """Attributes that exclude each other, by their columns."""
        groups = self.config.data.exclusive
        return tuple(
            ExclusiveGroup(tuple(attribute_positions(group.attributes, self.attribute_names)), bool(group.always))
            for group in groups
        )

    def check_rows(self, data: EmbeddingSet) -> None:
        """Refuse embeddings of another width, and warn (`EncoderWarning`) of those of another encoder."""
        if data.dim != self.dim:
            raise InputError(
                f"The checkpoint was trained on embeddings of width {self.dim}, but these have width {data.dim}. "
                "Use embeddings of the encoder it was trained with."
            )
        if self.encoder is not None and data.encoder is not None and self.encoder != data.encoder:
            warnings.warn(
                f"These embeddings were made by {data.encoder}, but the checkpoint was trained on {self.encoder}. "
                "The width fits, but edits mean nothing; embed the pictures with that encoder.",
                EncoderWarning,
                stacklevel=2,
            )

    def shared_rows(self, rows: EmbeddingSet) -> int:
        """How many of `rows` training has read, by id where both name ids or by content, whichever finds more."""
        return max(int(self.has_read(rows).sum()), self.shared_ids(rows))

    def shared_ids(self, rows: EmbeddingSet) -> int:
        """How many of `rows` have an id that training has read, where both name ids."""
        return len(set(rows.ids.tolist()) & set(self.seen_ids)) if rows.has_ids else 0

    def has_read(self, rows: EmbeddingSet) -> Bool[np.ndarray, " n"]:
        """Which of `rows` training has read, by their content: ids of another file may mean others."""
        return rows.known_by(self.seen_digests)

    def shared_people(self, rows: EmbeddingSet, everything: EmbeddingSet) -> int:
        """How many of `rows` show somebody whom training has seen.

        Two files may number their people differently, so numbers are compared only where `everything`, the data that
        the rows come from, holds rows that training has read.
        """
        sources = [(digests, numbers) for digests, numbers in self.people_seen() if numbers]
        if rows.identities is None or not sources:
            return 0
        shown = set(everything.row_digests())
        numbers = [who for digests, who in sources if not shown.isdisjoint(digests)]
        if not numbers and self.shared_rows(everything):  # by id only, which tells no source from another
            numbers = [who for _, who in sources]
        return int(np.isin(rows.identities, [number for who in numbers for number in who]).sum())

    def people_seen(self) -> list[tuple[set[str], tuple[int, ...]]]:
        """Row digests and people of each file that has numbers of its own."""
        before = [(set(digests), numbers) for digests, numbers in self.seen_before]
        return [(set(self.seen_digests).difference(*(d for d, _ in before)), self.seen_identities), *before]

    def edit(
        self,
        data: EmbeddingSet,
        assign: Mapping[str, Assigned] | None = None,
        flip: Sequence[str] = (),
        *,
        strength: float = 1.0,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
    ) -> EmbeddingSet:
        """Carry every embedding to where the target attributes live; rows, order and other columns stay.

        A row that has its target's labels already stays as it is where the field is conditioned on the change.

        Args:
            data: embeddings; the target is each row's own labels with some changed, so rows need labels (`infer` can
                fill them in), unless `assign` names every attribute of a field that looks at the target alone.
            assign: attributes to set: to 0 or 1, or to a value for every row, where -1 or NaN leaves a row as it is.
            flip: attributes to turn over.
            strength: scales the flow time; 0 leaves every embedding as it is.
            device: where to compute.
            precision: as of `flow`.

        Raises:
            InputError: for unknown or contradictory attributes, missing labels, another width.
        """
        own = own_labels(data, self.attribute_names)
        targets = edit_targets(own, self.attribute_names, dict(assign or {}), flip, self.exclusive)
        return self.carry(data, targets, strength=strength, device=device, precision=precision)

    def carry(
        self,
        data: EmbeddingSet,
        targets: Int8[np.ndarray, "n K"],
        *,
        strength: float = 1.0,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
    ) -> EmbeddingSet:
        """As `edit`, with a target for every row: 0 or 1 for each of the model's attributes."""
        if not 0 <= strength < math.inf:
            raise InputError(f"The strength of an edit must be a number of 0 or more, but {strength} came.")
        self.check_rows(data)
        own = own_labels(data, self.attribute_names)
        changes = isinstance(self.config.model, ChangeModelConfig)
        if changes:
            check_known(own, self.attribute_names, "This checkpoint's field looks at what changes")
        z = torch.from_numpy(data.embeddings).to(device)
        source, target = (torch.from_numpy(labels).to(device, torch.float32) for labels in (own, targets))
        flow = self.flow(device, precision)
        try:
            ends = flow.edit(z, flow.condition(z, source, target), strength).cpu().numpy()
        except np.linalg.LinAlgError as error:
            raise InputError(
                f"The checkpoint's closed form has no solution for these changes ({error}): its weights are damaged or "
                "of rows that are all alike. Train again."
            ) from error
        if changes:
            still = (own == targets).all(axis=1)
            ends[still] = data.embeddings[still]
        lost = ~(np.abs(np.linalg.norm(ends, axis=1) - 1) < 1e-3)  # negated, so that NaN counts as lost
        if lost.any():
            raise InputError(
                f"{int(lost.sum())} of {len(ends)} edits end outside the unit sphere: a strength of {strength:g} is "
                "too much for this flow. Lower --strength."
            )
        return self.with_labels(replace(data, embeddings=ends), targets)

    def with_labels(self, data: EmbeddingSet, labels: Int8[np.ndarray, "n K"]) -> EmbeddingSet:
        """`data` with these labels of the model's attributes; other attributes stay."""
        if data.attributes is None:
            return replace(data, attributes=labels, attribute_names=self.attribute_names)
        missing = [k for k, name in enumerate(self.attribute_names) if name not in data.attribute_names]
        every = np.concatenate([data.attributes, labels[:, missing]], axis=1)
        names = (*data.attribute_names, *(self.attribute_names[k] for k in missing))
        every[:, attribute_positions(self.attribute_names, names)] = labels
        return replace(data, attributes=every, attribute_names=names)

    def infer(self, data: EmbeddingSet) -> tuple[EmbeddingSet, int]:
        """Fill in labels that are not known by the checkpoint's classifier, and count the rows that needed it."""
        self.check_rows(data)
        labels = own_labels(data, self.attribute_names)
        unknown = labels == UNKNOWN
        if not unknown.any():
            return data, 0
        found = (self.logits(data.embeddings) > 0).astype(np.int8)
        return self.with_labels(data, np.where(unknown, found, labels)), int(unknown.any(axis=1).sum())

    def logits(self, z: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n K"]:
        """What the checkpoint's classifier says of rows: log odds of each attribute, were both values as frequent."""
        if not self.classifier:
            raise InputError("This checkpoint holds no classifier, so labels cannot be inferred; add them to the file.")
        classifier = LinearClassifier(**{name: value.numpy() for name, value in self.classifier.items()})
        return classifier.logits(z.astype(np.float64))

    def content(self) -> dict[str, Any]:
        """Everything as tensors and plain values, by name, from which `from_content` makes it again."""
        return {
            "format": FORMAT,
            "config": self.config.model_dump(mode="json"),
            "attribute_names": list(self.attribute_names),
            "dim": self.dim,
            "weights": self.weights,
            "epoch": self.epoch,
            "data_fingerprint": self.data_fingerprint,
            "seen_ids": list(self.seen_ids),
            "seen_digests": list(self.seen_digests),
            "seen_identities": list(self.seen_identities),
            "seen_before": [[list(digests), list(numbers)] for digests, numbers in self.seen_before],
            "warm_start": self.warm_start,
            "classifier": self.classifier,
            "encoder": self.encoder,
            "support": {} if self.support is None else as_tensors(to_arrays(self.support)),
            "choice": self.choice,
            "strength": self.strength,
            "history": self.history,
            "training_state": self.training_state,
            "made_with": list(self.made_with),
        }

    def save(self, path: Path) -> None:
        """Write the checkpoint; the file is whole or absent."""
        buffer = io.BytesIO()  # torch reports a full disk as an error of its own; written here, it is an OSError
        torch.save(self.content(), buffer)
        with atomic_write(path) as file:
            file.write(buffer.getbuffer())

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint file, or the best one of a run folder; nothing in it is executed.

        Raises:
            InputError: if there is none, or it is damaged or not one of fclf's.
        """
        path = _find(Path(path))
        try:
            content = load_plain(path)
        except InputError:
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise InputError(f"{path} cannot be read ({error.strerror}).") from error
        except Exception as error:  # a damaged or foreign file can raise nearly anything
            raise InputError(
                f"{path} is not a checkpoint that can be loaded safely ({type(error).__name__}): it is damaged, or "
                "holds more than tensors and plain values. Train again, or name another file."
            ) from error
        return cls.from_content(content, path)

    @classmethod
    def from_content(cls, content: Any, path: Path) -> Checkpoint:
        """Make a checkpoint of what a file at `path` held; `InputError` where it is not one."""
        found = content.get("format") if isinstance(content, dict) else None
        if not isinstance(found, int) or found != FORMAT:
            came = found if isinstance(found, int) else "none"
            raise InputError(f"{path} is not a checkpoint of this version of fclf (format {came}, expected {FORMAT}).")
        try:
            read = CheckpointContent.model_validate(content)
            checkpoint = cls(
                config=parse_config(read.config, str(path)),
                attribute_names=tuple(read.attribute_names),
                dim=read.dim,
                weights=read.weights,
                epoch=read.epoch,
                data_fingerprint=read.data_fingerprint,
                seen_ids=tuple(read.seen_ids),
                seen_digests=tuple(read.seen_digests),
                seen_identities=tuple(read.seen_identities),
                seen_before=tuple((tuple(digests), tuple(who)) for digests, who in read.seen_before),
                warm_start=read.warm_start,
                classifier=read.classifier,
                encoder=read.encoder,
                support=_support(read.support),
                choice=read.choice,
                strength=read.strength,
                history=read.history,
                training_state=read.training_state,
                made_with=tuple(read.made_with),
            )
            checkpoint._try()
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()[:4])
            raise InputError(f"{path} has not the parts of a checkpoint: {problems}") from None
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError, ArithmeticError) as error:
            raise InputError(f"{path} has the parts of a checkpoint, but they do not fit together: {error}") from error
        return checkpoint

    def _try(self) -> None:
        """Take one row a step: weights of other names or shapes are found here and not in the middle of an edit."""
        if not any(self.dim in weight.shape for weight in self.weights.values()):
            raise ValueError(f"no weight is of the width {self.dim}")
        flow = replace(self.flow(), steps=1)
        z = torch.eye(1, self.dim)
        without, with_all = (torch.full((1, len(self.attribute_names)), float(value)) for value in (0, 1))
        end = flow.edit(z, flow.condition(z, without, with_all))
        if end.shape != z.shape:
            raise ValueError(f"of a row of shape {tuple(z.shape)} an edit has shape {tuple(end.shape)}")
        if self.classifier and self.logits(z.numpy()).shape != without.shape:
            raise ValueError("the classifier is of another number of attributes")
        if self.support is not None:
            self.support.score(z.numpy(), with_all.numpy().astype(np.int8))


def _support(tensors: Mapping[str, Tensor]) -> Support | None:
    return support_from_arrays({name: tensor.numpy() for name, tensor in tensors.items()}) if tensors else None


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    candidates = [folder / f"fclf_{name}.pt" for folder in (path / "checkpoints", path) for name in ("best", "latest")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"--checkpoint {path}: neither a checkpoint file nor a folder with checkpoints/fclf_best.pt.")
