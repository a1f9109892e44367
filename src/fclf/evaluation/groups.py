"""Edits of one change and target against real rows of that combination: what does not depend on the edits, once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from fclf.evaluation.discrepancy import PairMeans, between, energy, median_distance, mmd, within
from fclf.evaluation.edits import Group
from fclf.evaluation.jackknife import Blocks, Statistic, divide, leave_out
from fclf.evaluation.results import GroupScores
from fclf.evaluation.spread import density, distances, radii, recall, thin, total_variance, unique_nearest, vendi

__all__ = ["Comparison", "Measured", "variance"]

Matrix = Float64[np.ndarray, "n d"]


@dataclass(frozen=True)
class Measured:
    """Scores of one group, and those that the table pools without each block of people."""

    scores: GroupScores
    edits: Statistic
    energy: Statistic
    energy_source: Statistic
    mmd: Statistic
    mmd_source: Statistic
    variance_ratio: Statistic
    recall: Statistic


@dataclass(frozen=True)
class Comparison:
    """The real rows of a group and the edits' sources, measured."""

    names: tuple[str, ...]
    group: Group
    blocks: Blocks
    edit_blocks: NDArray[np.intp]
    real_blocks: NDArray[np.intp]
    real: Matrix
    bandwidth: float
    """Median distance of the real rows."""
    real_means: PairMeans
    real_variance: Statistic
    energy_source: Statistic
    mmd_source: Statistic
    source_variance: float
    chosen: NDArray[np.intp]
    """As many edits ..."""
    chosen_real: NDArray[np.intp]
    """... as real rows, for what depends on numbers."""
    real_radii: Float64[np.ndarray, " c"]
    real_vendi: float
    gallery: NDArray[np.intp]
    """Half of the real rows, where the nearest are looked for; the other half stands for perfect edits."""
    real_unique: float

    @classmethod
    def build(
        cls,
        names: tuple[str, ...],
        group: Group,
        sources: Matrix,
        real: Matrix,
        blocks: Blocks,
        edit_blocks: NDArray[np.intp],
        real_blocks: NDArray[np.intp],
        rng: np.random.Generator,
        edits: int | None = None,
    ) -> Comparison:
        """Measure sources and real rows; `edits` is their number where it is not that of the sources."""
        apart = distances(real, real)
        bandwidth = median_distance(apart)
        real_means = within(apart, bandwidth, blocks, real_blocks)
        across = between(distances(sources, real), bandwidth, blocks, edit_blocks, real_blocks)
        source_means = within(distances(sources, sources), bandwidth, blocks, edit_blocks)
        edits = len(sources) if edits is None else edits
        chosen, chosen_real = thin(edits, len(real), rng)
        halves = rng.permutation(len(real))
        size = min(edits, len(real) // 2)
        gallery, others = halves[:size], halves[size : 2 * size]
        return cls(
            names=names,
            group=group,
            blocks=blocks,
            edit_blocks=edit_blocks,
            real_blocks=real_blocks,
            real=real,
            bandwidth=bandwidth,
            real_means=real_means,
            real_variance=variance(real, blocks, real_blocks),
            energy_source=energy(across, source_means, real_means),
            mmd_source=mmd(across, source_means, real_means),
            source_variance=total_variance(sources),
            chosen=chosen,
            chosen_real=chosen_real,
            real_radii=radii(apart[np.ix_(chosen_real, chosen_real)]),
            real_vendi=vendi(real[chosen_real]),
            gallery=gallery,
            real_unique=unique_nearest(apart[np.ix_(others, gallery)]),
        )

    def measure(self, edited: Matrix, edit_blocks: NDArray[np.intp] | None = None) -> Measured:
        """Measure edits, which are in the blocks of their sources unless others are given."""
        number = self.edit_blocks if edit_blocks is None else edit_blocks
        to_real, apart = distances(edited, self.real), distances(edited, edited)
        across = between(to_real, self.bandwidth, self.blocks, number, self.real_blocks)
        means = within(apart, self.bandwidth, self.blocks, number)
        near, near_apart = to_real[np.ix_(self.chosen, self.chosen_real)], apart[np.ix_(self.chosen, self.chosen)]
        edit_energy, edit_mmd = energy(across, means, self.real_means), mmd(across, means, self.real_means)
        ratio = divide(variance(edited, self.blocks, number), self.real_variance)
        reached = self._recall(near, near_apart, number[self.chosen], self.real_blocks[self.chosen_real])
        unique = unique_nearest(to_real[np.ix_(self.chosen[: len(self.gallery)], self.gallery)])
        own = total_variance(edited)
        scores = GroupScores(
            change=[self.names[k] for k in self.group.change],
            target=dict(zip(self.names, self.group.target, strict=True)),
            edits=len(edited),
            real=len(self.real),
            energy_source=float(self.energy_source[0]),
            energy_edited=float(edit_energy[0]),
            mmd_source=float(self.mmd_source[0]),
            mmd_edited=float(edit_mmd[0]),
            variance_ratio=float(ratio[0]),
            spread_kept=own / max(self.source_variance, np.finfo(np.float64).tiny),
            recall=float(reached[0]),
            density=density(near, self.real_radii),
            vendi_ratio=vendi(edited[self.chosen]) / self.real_vendi,
            unique_ratio=unique / self.real_unique,
        )
        edits = leave_out(np.bincount(number, minlength=self.blocks.count))
        return Measured(scores, edits, edit_energy, self.energy_source, edit_mmd, self.mmd_source, ratio, reached)

    def _recall(
        self,
        near: Float64[np.ndarray, "c c"],
        apart: Float64[np.ndarray, "c c"],
        number: NDArray[np.intp],
        real_number: NDArray[np.intp],
    ) -> Statistic:
        found = [recall(near, apart)]
        for block in range(self.blocks.count):
            stay, real = number != block, real_number != block
            enough = stay.sum() > 1 and real.any()
            found.append(recall(near[np.ix_(stay, real)], apart[np.ix_(stay, stay)]) if enough else np.nan)
        return np.array(found)


def variance(x: Matrix, blocks: Blocks, number: NDArray[np.intp]) -> Statistic:
    """Unbiased variance summed over dimensions, of all rows and without each block."""
    centred = x - x.mean(axis=0)
    count = leave_out(np.bincount(number, minlength=blocks.count))
    sums = leave_out(blocks.sums(centred, number))
    squares = leave_out(blocks.sums((centred * centred).sum(axis=1), number))
    return divide(squares - divide((sums * sums).sum(axis=1), count), count - 1)
