"""The Python API: fit edits on embeddings, apply them, and judge them, with tensors, arrays or sets of embeddings."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int8
from numpy.typing import NDArray

from fclf.checkpoint import Checkpoint
from fclf.closed.support import LEVEL
from fclf.config import load_config
from fclf.data.embeddings import EmbeddingSet
from fclf.data.inputs import Rows, read_labels, read_targets
from fclf.data.targets import own_labels
from fclf.errors import InputError
from fclf.evaluation import Report, evaluate
from fclf.evaluation.monitor import SpreadMonitor
from fclf.evaluation.results import Metrics
from fclf.flow import Trajectory
from fclf.labels import UNKNOWN
from fclf.train import EpochCallback, train

__all__ = ["EditInfo", "Editor", "fit", "load"]

MOST_KEEPS = 16
"""Operating points whose flows are kept for the next edit."""


@dataclass(frozen=True)
class EditInfo:
    """What is known of an edit, row by row."""

    attribute_names: tuple[str, ...]
    labels: Int8[np.ndarray, "n K"]
    """Of each row before the edit, given or inferred."""
    inferred: Bool[np.ndarray, "n K"]
    """Which of them the checkpoint's classifier filled in."""
    confidence: Float64[np.ndarray, "n K"]
    """Probability that the classifier gives the label it inferred, .5 to 1 (of attributes that are balanced, which is
    how it was fitted); 1 for labels that were given."""
    target: Int8[np.ndarray, "n K"]
    """What was asked for."""
    score: Float64[np.ndarray, " n"] | None
    """Share of real rows that lie as far from the rows of their labels as the edited row from those of its target
    (`fclf.closed.support.Support`); None where the checkpoint does not know where real rows are."""
    level: float
    accepted: Bool[np.ndarray, " n"]
    """Rows whose score is at least `level`; all, where there are no scores."""
    abstained: Bool[np.ndarray, " n"]
    """Rows that were left as they are, because abstaining was asked for and they are not accepted."""


@dataclass(frozen=True)
class Editor:
    """Edits of attributes, fitted by `fit` or read by `load`.

    Thread-safe: nothing is changed by an edit. Everything is computed by `checkpoint`, in float32 whatever comes in.
    """

    checkpoint: Checkpoint
    _at_keep: dict[float, Checkpoint] = field(default_factory=dict, repr=False, compare=False)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """What can be edited, in the order of labels without names."""
        return self.checkpoint.attribute_names

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self.checkpoint.dim

    def edit(
        self,
        z: Any,
        assign: Mapping[str, Any] | None = None,
        labels: Any = None,
        *,
        flip: Sequence[str] | str = (),
        strength: float = 1.0,
        keep: float | None = None,
        abstain: bool | float = False,
        normalize: bool = False,
        return_info: bool = False,
    ) -> Any:
        """Carry embeddings to where their target attributes live.

        Args:
            z: (n, d) unit vectors, as a tensor, an array or an `EmbeddingSet`.
            assign: attributes to set, such as `{"Smiling": 1}`, for all rows or with an array (n,) for each.
            labels: what the rows show now: (n, K) in the order of `attribute_names`, or a mapping or table from some of
                the names to (n,). Those of an `EmbeddingSet` are its own. What is missing, -1 or NaN is inferred.
            flip: attributes to turn over.
            strength: 0 leaves rows as they are, 1 edits them; more goes on the same way.
            keep: from faithful (0) to controlled (1), instead of the checkpoint's own.
            abstain: leave rows as they are whose edit no real row resembles: True for a level of .01, or a level.
            normalize: project rows of any length to the unit sphere instead of refusing them.
            return_info: return an `EditInfo` too.

        Returns:
            rows of the same kind, type and device as `z`; a row whose labels are its target keeps its bits. With
            `return_info`, a pair of them and the `EditInfo`.

        Raises:
            InputError: for embeddings, labels or targets that do not fit, with what to do.
        """
        level, model = _level(abstain), self._model(keep)
        rows, own, inferred = self._read(z, labels, normalize)
        targets = read_targets({} if assign is None else assign, flip, own, self.attribute_names, model.exclusive)
        known = replace(rows.data, attributes=own, attribute_names=self.attribute_names)
        device = z.device if isinstance(z, torch.Tensor) else "cpu"
        ends = model.carry(known, targets, strength=strength, device=device)
        score = None
        if (return_info or abstain) and model.support is not None:
            score = model.support.score(ends.embeddings, targets)
        if abstain and score is None:
            raise InputError(
                "This checkpoint does not know where real rows are, so it cannot abstain: it is older than "
                "that, or had too few rows. Train again, or leave out abstain."
            )
        accepted = np.ones(len(own), dtype=np.bool_) if score is None else score >= level
        abstained = ~accepted if abstain else np.zeros(len(own), dtype=np.bool_)
        reached = np.where(abstained[:, None], own, targets)
        embeddings = np.where(abstained[:, None], rows.z, ends.embeddings)
        moved = (embeddings != rows.z).any(axis=1) | normalize
        out = rows.back(model.with_labels(replace(rows.data, embeddings=embeddings), reached), moved)
        if not return_info:
            return out
        return out, EditInfo(
            attribute_names=self.attribute_names,
            labels=own,
            inferred=inferred,
            confidence=self._confidence(rows.z, inferred),
            target=targets,
            score=score,
            level=level,
            accepted=accepted,
            abstained=abstained,
        )

    def trajectory(
        self,
        z: Any,
        assign: Mapping[str, Any] | None = None,
        labels: Any = None,
        *,
        flip: Sequence[str] | str = (),
        strength: float = 1.0,
        keep: float | None = None,
        normalize: bool = False,
    ) -> Trajectory:
        """The path of every row on its way, arguments as of `edit`: float32 tensors (steps + 1, n, d) and (steps + 1,).

        Unlike an edit it does not leave out rows that have their target already, where a field on the target alone may
        move them.
        """
        rows, own, _ = self._read(z, labels, normalize)
        model = self._model(keep)
        targets = read_targets({} if assign is None else assign, flip, own, self.attribute_names, model.exclusive)
        flow = model.flow()
        with torch.no_grad():
            return flow.trajectory(*flow.inputs(rows.z, own, targets), strength)

    def infer(self, z: Any, *, normalize: bool = False) -> tuple[Int8[np.ndarray, "n K"], Float64[np.ndarray, "n K"]]:
        """Labels by the checkpoint's classifier and the probabilities that it gives them, in the order of the names."""
        rows = Rows.of(z, normalize=normalize)
        self._check(rows.data)
        everything = np.ones((len(rows.z), len(self.attribute_names)), dtype=np.bool_)
        return (self.checkpoint.logits(rows.z) > 0).astype(np.int8), self._confidence(rows.z, everything)

    def evaluate(self, test_set: EmbeddingSet, **options: Any) -> Report:
        """Judge the edits beside their controls, by judges that training never saw: see `fclf.evaluate`.

        Args:
            test_set: with attributes, and rows of the splits train (for the controls), judge and test; the set that
                `fit` had will do.
            options: of `fclf.evaluate`.
        """
        if not self.checkpoint.seen_digests:
            warnings.warn(
                "This copy of the model does not say which rows it was trained on, so nobody can tell whether the "
                "judges share rows with training: make sure that the test set is new to it.",
                stacklevel=2,
            )
        return evaluate(self.checkpoint, test_set, **options)

    def save(self, path: str | Path) -> Path:
        """Write the checkpoint to `path`, or into it where that is no name of a `.pt` file; `load` and the commands
        read either. Returns the file.
        """
        path = Path(path)
        file = path if path.suffix == ".pt" else path / "fclf_best.pt"
        self.checkpoint.save(file)
        return file

    def export_onnx(self, path: str | Path, *, strength: float = 1.0, keep: float | None = None) -> Path:
        """Write the edit as an ONNX model for any runtime: `fclf.onnx_export.export_onnx`. Returns the file."""
        from fclf.onnx_export import export_onnx  # noqa: PLC0415  (an optional package)

        return export_onnx(self._model(keep), path, strength=strength)

    def save_pretrained(
        self, folder: str | Path, *, report: Report | str | Path | None = None, digests: bool = False, **options: Any
    ) -> str | None:
        """Write a folder that can be shared: `model.safetensors`, `config.json` and a model card.

        Args:
            folder: where to.
            report: of `evaluate`, or the folder of one, for the table and the verdict on the card.
            digests: write digests of the training rows too: an evaluation can then refuse judges that share rows with
                training, and anybody who has an embedding can ask whether it was trained on.
            options: of huggingface_hub's `save_pretrained`, such as `push_to_hub` and `repo_id`.
        """
        return self._shared(report, digests).save_pretrained(folder, **options)

    def push_to_hub(
        self, repo_id: str, *, report: Report | str | Path | None = None, digests: bool = False, **options: Any
    ) -> str:
        """Upload what `save_pretrained` writes; `options` of huggingface_hub's `push_to_hub`, such as `private`."""
        return self._shared(report, digests).push_to_hub(repo_id, **options)

    @classmethod
    def from_pretrained(cls, folder_or_repo: str | Path, **options: Any) -> Editor:
        """Read a folder of `save_pretrained`, or a repository of the hub (`revision`, `local_files_only`, ...)."""
        from fclf.hub import SharedCheckpoint  # noqa: PLC0415  (an optional package)

        return cls(SharedCheckpoint.read(folder_or_repo, **options))

    def _shared(self, report: Report | str | Path | None, digests: bool) -> Any:
        from fclf.hub import SharedCheckpoint  # noqa: PLC0415  (an optional package)

        metrics = report.metrics if isinstance(report, Report) else None if report is None else Metrics.load(report)
        return SharedCheckpoint(self.checkpoint, metrics, digests)

    def _model(self, keep: float | None) -> Checkpoint:
        if keep is None:
            return self.checkpoint
        if keep not in self._at_keep:
            if len(self._at_keep) >= MOST_KEEPS:  # a slider must not fill the memory
                self._at_keep.clear()
            self._at_keep[keep] = self.checkpoint.with_keep(keep)
        return self._at_keep.get(keep) or self.checkpoint.with_keep(keep)

    def _check(self, data: EmbeddingSet) -> None:
        self.checkpoint.check_rows(data)

    def _read(
        self, z: Any, labels: Any, normalize: bool
    ) -> tuple[Rows, Int8[np.ndarray, "n K"], Bool[np.ndarray, "n K"]]:
        """Rows, their labels, and which of those are inferred."""
        rows = Rows.of(z, normalize=normalize)
        self._check(rows.data)
        own = own_labels(rows.data, self.attribute_names)
        if labels is not None:
            given = read_labels(labels, self.attribute_names, len(own))
            own = np.where(given == UNKNOWN, own, given)
        unknown = own == UNKNOWN
        if unknown.any():
            own = np.where(unknown, self.checkpoint.logits(rows.z) > 0, own).astype(np.int8)
        return rows, own, unknown

    def _confidence(self, z: NDArray[np.float32], inferred: Bool[np.ndarray, "n K"]) -> Float64[np.ndarray, "n K"]:
        if not inferred.any():
            return np.ones(inferred.shape)
        sure = 1 / (1 + np.exp(-np.abs(self.checkpoint.logits(z))))
        return np.where(inferred, sure, 1.0)


def fit(
    train_set: EmbeddingSet,
    recipe: str | Path = "edit",
    *,
    val_set: EmbeddingSet | None = None,
    attributes: Sequence[str] | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    on_epoch: EpochCallback | None = None,
) -> Editor:
    """Fit edits of attributes: what `fclf train` does, with the result in memory.

    Args:
        train_set: with attributes. Its train rows are fitted and its val rows chosen on; without a split it is split
            56/8/16/20 into train, val, judge and test by the recipe's seed, by person where identities are known, as
            everywhere in fclf. So the same set can be evaluated afterwards.
        recipe: name of a recipe, or a YAML file.
        val_set: rows to choose on; then all of `train_set` that is not of another split is fitted.
        attributes: which to learn; all, if neither this nor the recipe names any.
        seed: of the training, instead of the recipe's.
        overrides: settings, as `{"model.keep": 0.8}` or `["model.keep=0.8"]`.
        output_dir: keep the run folder here; otherwise nothing is left on the disk.
        overwrite: remove an earlier run from that folder first.
        device: `auto`, `cpu`, `cuda`, ...
        on_epoch: told of progress.

    Raises:
        InputError: for data or settings that do not fit.
    """
    if not isinstance(train_set, EmbeddingSet):
        raise InputError(
            f"fit takes an EmbeddingSet, but {type(train_set).__name__} came. Make one by EmbeddingSet.from_arrays("
            '{"embeddings": z, "attributes": y, "attribute_names": names}), or use fclf.sklearn.AttributeFlow.'
        )
    config = load_config(recipe, _overrides(overrides, seed, attributes))
    data = train_set if val_set is None else _joined(train_set, val_set)
    with tempfile.TemporaryDirectory(prefix="fclf-") as nowhere:
        folder = Path(nowhere) / "run" if output_dir is None else Path(output_dir)
        train(data, config, folder, overwrite=overwrite, device=device, on_epoch=on_epoch, monitor=SpreadMonitor)
        return Editor(Checkpoint.load(folder))


def load(path: str | Path) -> Editor:
    """Read an editor from a checkpoint file, a run folder, or where `Editor.save` or `save_pretrained` wrote one."""
    if (Path(path) / "model.safetensors").is_file():
        return Editor.from_pretrained(path)
    return Editor(Checkpoint.load(path))


def _overrides(
    overrides: Mapping[str, Any] | Iterable[str], seed: int | None, attributes: Sequence[str] | None
) -> list[str]:
    """As on the command line; values are YAML, of which JSON is a part."""
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    found = list(overrides)
    if seed is not None:
        found.append(f"training.seed={seed}")
    if attributes is not None:
        found.append(f"data.attributes={json.dumps(list(attributes))}")
    return found


def _joined(train_set: EmbeddingSet, val_set: EmbeddingSet) -> EmbeddingSet:
    """One set of two splits."""
    if train_set.attributes is None or val_set.attributes is None:
        raise InputError("Both train_set and val_set need attributes.")
    if train_set.dim != val_set.dim:
        raise InputError(f"train_set has width {train_set.dim} and val_set {val_set.dim}; use one encoder for both.")
    if train_set.split is not None:
        train_set = train_set.part("train")
    parts = [train_set, val_set.select(train_set.attribute_names)]
    arrays: dict[str, Any] = {
        "embeddings": np.concatenate([part.embeddings for part in parts]),
        "attributes": np.concatenate([np.asarray(part.attributes) for part in parts]),
        "attribute_names": np.array(train_set.attribute_names),
        "split": np.repeat(["train", "val"], [len(part) for part in parts]),
    }
    if all(part.has_ids for part in parts):
        arrays["ids"] = np.concatenate([part.ids for part in parts])
    people = [part.identities for part in parts if part.identities is not None]
    if len(people) == len(parts):
        arrays["identities"] = np.concatenate(people)
    return EmbeddingSet.from_arrays(arrays, labels="missing", source="train_set and val_set")


def _level(abstain: bool | float) -> float:
    level = LEVEL if isinstance(abstain, bool | np.bool_) else float(abstain)
    if not 0 < level < 1:
        raise InputError(f"abstain must be True, False, or a level between 0 and 1, but {abstain} came.")
    return level
