"""Edits of attributes as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fclf.data.embeddings import EmbeddingSet
from fclf.data.inputs import read_labels
from fclf.editor import Editor, fit
from fclf.errors import InputError
from fclf.evaluation.edits import comparable_groups, plan_edits
from fclf.evaluation.spread import energy_distance
from fclf.labels import UNKNOWN

__all__ = ["AttributeFlow"]

MOST_SCORED = 1000
"""Rows of a score."""
FEWEST = 5
"""Edits and real rows of a combination that a score compares."""


class AttributeFlow(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Move embeddings to where their target attributes live.

    `fit(X, Y)` learns what the binary attributes Y of rows X do to them; `transform(X)` edits every row to `target`,
    and `transform(X, Y_target)` each row to its own. In a pipeline the former works as it is, the latter with metadata
    routing: `set_config(enable_metadata_routing=True)`, `AttributeFlow().set_transform_request(Y_target=True)`, and
    `pipeline.transform(X, Y_target=Y)`.

    The score is the gap closed: of held-out rows with each attribute turned over, how much nearer they come to real
    rows of the combination that they go to, $1 - E(\text{edited}, \text{real}) / E(\text{source}, \text{real})$, by the
    unbiased energy distance (Székely & Rizzo, 2013). 0 is doing nothing, 1 cannot be told from real rows, and a
    collapse is far below 0. It needs no judge, so it knows nothing of who is recognised: `fclf.evaluate` does.

    Args:
        target: attributes that `transform` sets where no `Y_target` is given, such as `{"Smiling": 1}`.
        attribute_names: of the columns of Y; those of a table, or attribute0, attribute1, ... if absent.
        recipe: name of a recipe, or a YAML file.
        overrides: settings of it, such as `{"model.keep": 0.8}`.
        strength: of an edit.
        keep: from faithful (0) to controlled (1), instead of the recipe's, at no cost after fitting.
        val_fraction: share of the rows that choose between fields; whole people where `groups` are given to `fit`.
        normalize: project rows to the unit sphere; otherwise rows of another length than 1 are refused.
        random_state: an integer; seed of the split and of training.
    """

    def __init__(
        self,
        target: Mapping[str, int] | None = None,
        *,
        attribute_names: Any = None,
        recipe: str = "edit",
        overrides: Mapping[str, Any] | None = None,
        strength: float = 1.0,
        keep: float | None = None,
        val_fraction: float = 0.125,
        normalize: bool = False,
        random_state: int = 0,
    ) -> None:
        self.target = target
        self.attribute_names = attribute_names
        self.recipe = recipe
        self.overrides = overrides
        self.strength = strength
        self.keep = keep
        self.val_fraction = val_fraction
        self.normalize = normalize
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, groups: Any = None) -> AttributeFlow:
        """Learn the attributes.

        Args:
            X: (n, d) embeddings.
            y: (n, K) or (n,) labels, 0 or 1; -1 or NaN where it is not known.
            groups: (n,) who is shown, so that nobody is both fitted and chosen on.
        """
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        x = validate_data(self, X, dtype=[np.float64, np.float32, np.float16], ensure_min_features=2)
        labels, names = self._labels(y, len(x))
        people = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        data = EmbeddingSet.from_arrays(
            {"embeddings": x, "attributes": labels, "attribute_names": np.array(names)}
            | ({} if people is None else {"identities": people.astype(np.int64)}),
            labels="missing",
            normalize=self.normalize,
            source="X and y",
        ).labelled()
        split = self._split(data).astype("U5")
        self.editor_ = fit(
            replace(data, split=split),
            self.recipe,
            seed=self.random_state,
            overrides=self.overrides or {},
        )
        self.attribute_names_ = names
        return self

    def transform(self, X: Any, Y_target: Any = None) -> NDArray[Any]:
        """Edit rows, whose own labels the classifier of the fitted rows infers.

        Args:
            X: (n, d) embeddings.
            Y_target: (n, K) or (n,) labels to go to, or a mapping or table from some of the names to (n,); what is
                absent, -1 or NaN stays as the row has it.
        """
        editor, x = self._ready(X)
        if Y_target is None and not self.target:
            raise InputError(
                f'There is nothing to go to: type AttributeFlow(target={{"{self.attribute_names_[0]}": 1}}), or pass '
                "Y_target to transform."
            )
        if Y_target is None:
            return editor.edit(x, self.target, strength=self.strength, keep=self.keep, normalize=self.normalize)
        own, _ = editor.infer(x, normalize=self.normalize)
        wanted = read_labels(_two_axes(Y_target), self.attribute_names_, len(x))
        goal = dict(zip(self.attribute_names_, np.where(wanted == UNKNOWN, own, wanted).T, strict=True))
        return editor.edit(x, goal, own, strength=self.strength, keep=self.keep, normalize=self.normalize)

    def fit_transform(self, X: Any, y: Any = None, *, groups: Any = None, Y_target: Any = None) -> NDArray[Any]:
        """Fit, and edit the same rows."""
        return self.fit(X, y, groups=groups).transform(X, Y_target)

    def score(self, X: Any, y: Any) -> float:
        """Gap closed of rows (n, d) with labels (n, K), which should not be those of `fit`; at most 1."""
        editor, x = self._ready(X)
        y = read_labels(_two_axes(y), self.attribute_names_, len(x))
        known = np.flatnonzero((y != UNKNOWN).all(axis=1))
        chosen = np.sort(np.random.default_rng(self.random_state).permutation(known)[:MOST_SCORED])
        rows = EmbeddingSet.from_arrays({"embeddings": x[chosen]}, normalize=self.normalize, source="X").embeddings
        y = y[chosen]
        plan = plan_edits(y, self.attribute_names_)
        goal = dict(zip(self.attribute_names_, plan.target.T, strict=True))
        edited = editor.edit(rows[plan.source], goal, plan.original, strength=self.strength, keep=self.keep)
        real, ends = rows.astype(np.float64), edited.astype(np.float64)
        groups = comparable_groups(plan, y, FEWEST, FEWEST)
        if not groups:
            raise InputError(
                f"{len(x)} rows are too few for a score: no combination of labels has {FEWEST} edits and {FEWEST} real "
                "rows. Score more rows, or fewer attributes."
            )
        before, after = (
            sum(len(g.edits) * energy_distance(rows_of(g.edits), real[g.real]) for g in groups)
            for rows_of in (lambda edits: real[plan.source[edits]], lambda edits: ends[edits])
        )
        return float(1 - after / before)

    def _ready(self, X: Any) -> tuple[Editor, NDArray[Any]]:
        check_is_fitted(self)
        return self.editor_, validate_data(self, X, dtype=[np.float64, np.float32, np.float16], reset=False)

    def _labels(self, y: Any, n: int) -> tuple[NDArray[Any], tuple[str, ...]]:
        columns = getattr(y, "columns", None)
        values = _two_axes(y)
        given = self.attribute_names if self.attribute_names is not None else columns
        if isinstance(given, str):
            given = [given]
        many = values.shape[1] if columns is None else len(columns)
        names = tuple(str(name) for name in given) if given is not None else tuple(f"attribute{k}" for k in range(many))
        if columns is None and len(names) != many:
            raise InputError(f"attribute_names has {len(names)} names, but y has {many} columns.")
        return read_labels(values, names, n), names

    def _split(self, data: EmbeddingSet) -> NDArray[np.str_]:
        """Train and val rows, as many of the latter as asked for and at least one."""
        if not 0 < self.val_fraction < 1:
            raise InputError(f"val_fraction must be between 0 and 1, but {self.val_fraction} came.")
        people, who = np.unique(
            np.arange(len(data)) if data.identities is None else data.identities, return_inverse=True
        )
        if len(people) < 2:
            raise InputError(f"{len(data)} sample(s) of {len(people)} people came, and a minimum of 2 is required.")
        order = np.random.default_rng(self.random_state).permutation(len(people))
        held = order[: max(1, round(self.val_fraction * len(people)))]
        return np.where(np.isin(who, held), "val", "train")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        tags.input_tags.allow_nan = False
        return tags


def _two_axes(labels: Any) -> Any:
    """Labels of one attribute as a column; mappings and tables as they are."""
    if isinstance(labels, Mapping) or hasattr(labels, "columns"):
        return labels
    values = np.asarray(labels)
    return values[:, None] if values.ndim == 1 else values
