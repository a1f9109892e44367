"""The evaluated rows, the edits asked of them and the judges: what every row of the table is measured with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from fclf.data.copies import who_or_same
from fclf.data.embeddings import EmbeddingSet
from fclf.evaluation.cells import CellBench, cell_benches
from fclf.evaluation.edits import MIN_EDITED, MIN_REAL, EditPlan, Group, Mode, comparable_groups, plan_edits
from fclf.evaluation.geometry import angles, purity, silhouette
from fclf.evaluation.groups import Comparison, Measured
from fclf.evaluation.jackknife import Blocks, Statistic, divide, interval, leave_out
from fclf.evaluation.judges import Judge, Judges, cell_shares
from fclf.evaluation.leakage import leakage
from fclf.evaluation.pooling import mean_defined, pool, pooled_gap
from fclf.evaluation.results import CellScores, Counterfactual, JudgeScores, Row
from fclf.evaluation.retrieval import Relevant, average_precision, rank_one, relevant_rows
from fclf.evaluation.spread import distances, distinct_points, rms_spread, squares_within
from fclf.labels import UNKNOWN

__all__ = ["Bench", "Truth"]

DISTINCT_TOLERANCE = 1e-3
"""Destinations closer than this share of the real spread are the same."""
MIN_CLUSTER = 4
"""Fewest edits a combination, on average, for clusters as many as there are combinations: one edit each is pure."""
MIN_RARE = 20
"""Fewest edits and real rows of a group that is compared by spread alone."""
MAX_SAMPLE = 2000
"""Edits in the measures that compare all pairs."""

Matrix = Float64[np.ndarray, "n d"]
Labels = Int8[np.ndarray, "n K"]
Truth = Callable[[NDArray[np.intp], Labels], Matrix]
"""Embeddings of the pictures of these evaluated rows, had they these attributes."""


@dataclass(frozen=True)
class Bench:
    """Measures any edits of the same rows in the same way."""

    z: Matrix
    y: Labels
    """0, 1 or `UNKNOWN`."""
    names: tuple[str, ...]
    plan: EditPlan
    judges: Judges
    before: dict[str, Labels]
    """Each judge's predictions of the unedited rows."""
    logits: Matrix
    """The linear judge's, of the unedited rows."""
    blocks: Blocks
    """Of people, left out in turn."""
    comparisons: list[Comparison]
    """Groups of edits with real rows to compare them with."""
    rare: list[Comparison]
    """Groups of fewer rows, of which the verdict reads the spread."""
    cells: list[CellBench]
    relevant: Relevant | None
    """Pictures that an edit should find; None without identities."""
    sample: NDArray[np.intp]
    """Edits in the measures that compare all pairs, and in the figures."""
    codes: dict[str, NDArray[np.int64]]
    """Number of each edit's original and target combination."""
    code_rows: Labels
    goals: Matrix | None
    """What every edit should become; None where that is not known."""
    seed: int

    @classmethod
    def build(
        cls,
        rows: EmbeddingSet,
        judges: Judges,
        mode: Mode,
        seed: int,
        truth: Truth | None = None,
        taken_for: Labels | None = None,
    ) -> Bench:
        """Plan the edits of labelled rows and measure what is the same for every row of the table.

        Args:
            rows: what is edited, and the real rows that edits are compared with.
            judges: who say what an embedding shows.
            mode: which edits.
            seed: of samples.
            truth: gives what each edit should have become, where that is known.
            taken_for: labels of the rows, those that are unknown guessed: an edit needs all of its source's. Guesses
                decide nothing but the weights of pooled cells and the parts of the spread that is kept.
        """
        z, y = rows.embeddings.astype(np.float64), np.asarray(rows.attributes)
        names, known = rows.attribute_names, y != UNKNOWN
        full = y if taken_for is None else taken_for
        plan = plan_edits(full, names, mode, seed, known, rows.exclusive)
        groups, few = (
            [g for g in comparable_groups(plan, y, *least) if np.ptp(z[g.real], axis=0).any()]
            for least in ((MIN_EDITED, MIN_REAL), (MIN_RARE, MIN_RARE))
        )
        chosen = {(g.change, g.target) for g in groups}
        groups += [g for g in few if (g.change, g.target) not in chosen]
        every, numbers = np.unique(np.concatenate([plan.original, plan.target]), axis=0, return_inverse=True)
        original, target = np.split(numbers.reshape(-1), 2)
        blocks = Blocks.draw(len(rows), who_or_same(rows.embeddings, rows.identities), seed)
        comparisons = []
        for number, g in enumerate(groups):
            source, rng = plan.source[g.edits], np.random.default_rng((seed, number))
            comparisons.append(
                Comparison.build(
                    names, g, z[source], z[g.real], blocks, blocks.number[source], blocks.number[g.real], rng
                )
            )
        people = rows.identities
        return cls(
            z=z,
            y=y,
            names=names,
            plan=plan,
            judges=judges,
            before={name: judge.predict(z) for name, judge in _both(judges)},
            logits=judges.linear.logits(z),
            blocks=blocks,
            comparisons=comparisons[: len(chosen)],
            rare=comparisons[len(chosen) :],
            cells=cell_benches(z, full, names, plan, np.random.default_rng(seed), known),
            relevant=None if people is None else relevant_rows(plan.source, plan.flips, plan.target, y, people),
            sample=_sample(plan, seed),
            codes={"original": original, "target": target},
            code_rows=every,
            goals=None if truth is None else truth(plan.source, plan.target),
            seed=seed,
        )

    @property
    def groups(self) -> list[Group]:
        """Groups of edits that are compared with real rows."""
        return [c.group for c in self.comparisons]

    @cached_property
    def sources(self) -> Matrix:
        """Source of every edit."""
        return self.z[self.plan.source]

    @property
    def tolerance(self) -> float:
        """Distance up to which two destinations are the same."""
        return DISTINCT_TOLERANCE * rms_spread(self.z)

    @property
    def logit_spread(self) -> Float64[np.ndarray, " K"]:
        """Standard deviation of the linear judge's logits on unedited rows."""
        spread: Float64[np.ndarray, " K"] = self.logits.std(axis=0)
        return spread

    @cached_property
    def source_silhouettes(self) -> dict[str, float | None]:
        """Of the sampled sources, which are the same in every row of the table."""
        return self._silhouettes("original", self.sources[self.sample])

    def _silhouettes(self, state: str, x: Matrix) -> dict[str, float | None]:
        apart = distances(x, x)
        return {f"{state}_by_{by}": silhouette(x, self.codes[by][self.sample], apart) for by in ("original", "target")}

    @cached_property
    def _remainder(self) -> Matrix:
        """Of the evaluated rows."""
        return self.judges.linear.remainder(self.z)

    def measure(self, name: str, edited: Matrix, step_distance: float | None = None) -> Row:
        """Measure one row of the table."""
        number = self.blocks.number[self.plan.source]
        scores: dict[str, JudgeScores] = {}
        found: dict[str, Statistic] = {}
        for key, judge in _both(self.judges):
            scores[key], judged = self._judge(judge, edited, self.before[key], number)
            found |= {f"{key}.{measure}": value for measure, value in judged.items()}
        found["rank1"] = self.blocks.mean(
            rank_one(self.judges.linear.remainder(edited), self._remainder, self.plan.source), number
        )
        if self.relevant is not None and len(self.relevant.queries):
            precision = average_precision(edited, self.z, self.plan.source, self.relevant)
            found["retrieval_map"] = self.blocks.mean(precision, number[self.relevant.queries])
        if self.goals is not None:
            found["counterfactual.angle"] = self.blocks.mean(angles(edited, self.goals), number)
        groups, rare = ([c.measure(edited[c.group.edits]) for c in part] for part in (self.comparisons, self.rare))
        cells = [c.measure(edited) for c in self.cells]
        kept = self._spread_kept(edited)
        codes = self.codes["target"][self.sample]
        row = self._row(name, scores, found, groups, rare, cells, edited[self.sample], codes, kept)
        return row.model_copy(
            update={
                "movement": float(np.linalg.norm(edited - self.sources, axis=1).mean()),
                "step_distance": step_distance,
                "counterfactual": self._counterfactual(edited),
                "silhouettes": self.source_silhouettes | self._silhouettes("flowed", edited[self.sample]),
                "retrieval_queries": 0 if self.relevant is None else len(self.relevant.queries),
                "leakage": leakage(
                    self.judges.linear.logits(edited) - self.logits[self.plan.source],
                    self.logit_spread,
                    self.plan.target - self.plan.original,
                ),
            }
        )

    def measure_real(self) -> Row:
        """Measure held-out real rows in the place of edits: the ceiling.

        The judges are asked about each row's own labels; in each group and cell one random half of the real rows stands
        for the edits and is compared with the other. The pictures that an edit should find search for one another.
        """
        scores: dict[str, JudgeScores] = {}
        found: dict[str, Statistic] = {}
        for key in self.before:
            scores[key], judged = self._cells(self.before[key] == self.y, self.y != UNKNOWN, self.y, self.blocks.number)
            found |= {f"{key}.{measure}": value for measure, value in judged.items()}
        groups = []
        for number, g in enumerate([c.group for c in (*self.comparisons, *self.rare)]):
            rng = np.random.default_rng((self.seed, number))
            half, other = np.split(rng.permutation(g.real), [len(g.real) // 2])
            source = self.plan.source[g.edits]
            numbers = self.blocks.number
            comparison = Comparison.build(
                self.names,
                g,
                self.z[source],
                self.z[other],
                self.blocks,
                numbers[source],
                numbers[other],
                rng,
                len(half),
            )
            groups.append(comparison.measure(self.z[half], numbers[half]))
        cells = [c.measure_real(np.random.default_rng((self.seed, i))) for i, c in enumerate(self.cells)]
        queries = 0
        if self.relevant is not None:
            picture, relevant = self.relevant.held_out()
            queries = len(relevant.queries)
            if queries:
                precision = average_precision(self.z[picture], self.z, picture, relevant)
                found["retrieval_map"] = self.blocks.mean(precision, self.blocks.number[picture[relevant.queries]])
        codes = np.unique(self.y, axis=0, return_inverse=True)[1].reshape(-1)
        rows = np.random.default_rng(self.seed).permutation(len(self.z))
        rows = rows[(self.y[rows] != UNKNOWN).all(axis=1)][:MAX_SAMPLE]
        compared = len(self.comparisons)
        row = self._row(
            "held-out real", scores, found, groups[:compared], groups[compared:], cells, self.z[rows], codes[rows], None
        )
        silhouettes = {"flowed_by_target": silhouette(self.z[rows], codes[rows])}
        return row.model_copy(update={"silhouettes": silhouettes, "retrieval_queries": queries})

    def _row(
        self,
        name: str,
        scores: dict[str, JudgeScores],
        found: dict[str, Statistic],
        measured: list[Measured],
        rare: list[Measured],
        cells: list[CellScores],
        x: Matrix,
        codes: NDArray[np.int64],
        spread_kept: float | None,
    ) -> Row:
        """What every row of the table has, edits or not."""
        apart = distances(x, x)
        distinct = distinct_points(apart, self.tolerance)
        combinations = len(np.unique(codes))
        clusters = {"10": 10} | ({"combinations": combinations} if combinations * MIN_CLUSTER <= len(x) else {})
        found = {key: value for key, value in (found | pool(measured)).items() if np.isfinite(value[0])}
        whole = {key: float(value[0]) for key, value in found.items()}
        groups = [m.scores for m in measured]
        return Row(
            name=name,
            linear=scores["linear"],
            mlp=scores["mlp"],
            rank1=whole.get("rank1"),
            gap_closed=whole.get("gap_closed"),
            mmd_closed=whole.get("mmd_closed"),
            variance_ratio=whole.get("variance_ratio"),
            recall=whole.get("recall"),
            retrieval_map=whole.get("retrieval_map"),
            smallest_variance_ratio=min((g.variance_ratio for g in groups), default=None),
            density=_mean([g.density for g in groups]),
            vendi_ratio=_mean([g.vendi_ratio for g in groups]),
            unique_ratio=_mean([g.unique_ratio for g in groups]),
            movement=None,
            step_distance=None,
            silhouettes={},
            purity={name: purity(x, codes, k, self.seed, apart) for name, k in clusters.items()},
            distinct_destinations=distinct,
            sampled=len(x),
            spread_kept=spread_kept,
            collapsed=[],  # the verdict reads signs of collapse off the whole table
            groups=groups,
            rare=[m.scores for m in rare],
            pooled=cells,
            pooled_gap_closed=pooled_gap(cells),
            pooled_variance_ratio=_mean([c.variance_ratio for c in cells]),
            smallest_spread_kept=min((c.spread_kept for c in cells if c.spread_kept is not None), default=None),
            intervals={
                key: ends for key, value in found.items() if (ends := interval(value[0], value[1:])) is not None
            },
            replicates={key: value[1:].tolist() for key, value in found.items() if np.isfinite(value).all()},
        )

    def _judge(
        self, judge: Judge, edited: Matrix, before: Labels, number: NDArray[np.intp]
    ) -> tuple[JudgeScores, dict[str, Statistic]]:
        after = judge.predict(edited)
        scores, found = self._cells(after == self.plan.target, self.plan.flips, self.plan.target, number)
        others = ~self.plan.flips
        if not others.any():
            return scores, found
        same = (after == before[self.plan.source]) & others
        left = [leave_out(np.bincount(number, x.sum(axis=1), self.blocks.count)) for x in (same, others)]
        found["kept"] = divide(*left)
        return scores.model_copy(update={"kept": float(found["kept"][0])}), found

    def _cells(
        self, right: NDArray[np.bool_], asked: NDArray[np.bool_], value: Labels, number: NDArray[np.intp]
    ) -> tuple[JudgeScores, dict[str, Statistic]]:
        """Success by cell; the interval of the worst is that of the cell which is it, not of a minimum."""
        cells = cell_shares(right, asked, value, self.names)
        worst = min(cells, key=lambda cell: cells[cell])
        shares = {}
        for cell in cells:
            name, _, to = cell.rpartition("=")
            k = self.names.index(name)
            rows = asked[:, k] & (value[:, k] == int(to))
            shares[cell] = self.blocks.mean(right[rows, k], number[rows])
        success = mean_defined(np.stack(list(shares.values())))
        scores = JudgeScores(success=float(success[0]), worst=cells[worst], worst_cell=worst, kept=None, cells=cells)
        return scores, {"success": success, "worst": shares[worst]}

    def _counterfactual(self, edited: Matrix) -> Counterfactual | None:
        if self.goals is None:
            return None
        apart, flips = angles(edited, self.goals), self.plan.flips
        alone = flips.sum(axis=1) == 1
        return Counterfactual(
            angle=float(apart.mean()),
            distance=float(np.linalg.norm(edited - self.goals, axis=1).mean()),
            angles={
                name: float(apart[rows].mean())
                for name, rows in zip(self.names, (flips & alone[:, None]).T, strict=True)
                if rows.any()
            },
        )

    @cached_property
    def _parts(self) -> tuple[NDArray[np.intp], float]:
        """Number of each edit's change and target, and the spread of the sources within them."""
        labels = np.concatenate([self.plan.flips, self.plan.target], axis=1)
        member = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
        return member, squares_within(self.sources, member)

    def _spread_kept(self, edited: Matrix) -> float | None:
        """Variance within edits of one change and target, over that of their sources: needs no real rows."""
        member, before = self._parts
        return squares_within(edited, member) / before if before > 0 else None


def _sample(plan: EditPlan, seed: int) -> NDArray[np.intp]:
    """Edits drawn at random, of sources whose labels are all known where there are some."""
    order = np.random.default_rng(seed).permutation(len(plan))
    if plan.complete is not None and plan.complete.any():
        order = order[plan.complete[order]]
    return order[:MAX_SAMPLE]


def _both(judges: Judges) -> tuple[tuple[str, Judge], tuple[str, Judge]]:
    return ("linear", judges.linear), ("mlp", judges.mlp)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
