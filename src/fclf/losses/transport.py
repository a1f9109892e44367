"""Distribution terms: do edits of an attribute end where real rows that have it are?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["attribute_weights", "held_logits", "weighted_energy"]


def weighted_energy(
    x: Float[Tensor, "m d"], y: Float[Tensor, "n d"], a: Float[Tensor, "G m"], b: Float[Tensor, "G n"]
) -> Float[Tensor, " G"]:
    r"""Energy distance between two weighted samples, one value for each pair of weightings.

    $$2\sum_{ij} a_i b_j \|x_i - y_j\| - \frac{\sum_{i \neq i'} a_i a_{i'} \|x_i - x_{i'}\|}{1 - \sum_i a_i^2}
    - \frac{\sum_{j \neq j'} b_j b_{j'} \|y_j - y_{j'}\|}{1 - \sum_j b_j^2}$$

    for weights divided by their sums. With equal weights it is unbiased; it is zero in expectation only for equal
    distributions, so unlike a distance between means it also sees a lost spread (Székely & Rizzo, 2013,
    https://doi.org/10.1016/j.jspi.2013.03.018). Distances are taken once, whatever G: a group costs a product of its
    weights with them. A group with fewer than two rows of positive weight on either side is 0, with a zero gradient.

    Args:
        x: first sample, of all groups.
        y: second sample, of all groups.
        a: weight of each row of x in each group, not negative.
        b: weight of each row of y in each group, not negative.
    """
    enough = ((a > 0).sum(dim=1) > 1) & ((b > 0).sum(dim=1) > 1)
    a, b = (_normalised(w) for w in (a, b))
    between = ((a @ _distances(x, y)) * b).sum(dim=1)
    within = [((w @ _distances(v, v)) * w).sum(dim=1) / _free(w) for v, w in ((x, a), (y, b))]
    return torch.where(enough, 2 * between - within[0] - within[1], torch.zeros_like(between))


def attribute_weights(
    target: Float[Tensor, "m K"],
    change: Float[Tensor, "m K"],
    labels: Float[Tensor, "n K"],
    temperature: float,
) -> tuple[Float[Tensor, "2K m"], Float[Tensor, "2K n"]]:
    r"""Weights of edits and real rows in one group per attribute and direction.

    Group (k, v) holds the edits that change attribute k to v, with equal weights, and the real rows with $y_k = v$. As
    edits come from other rows than the real ones, their other attributes are distributed otherwise, and that alone
    would be a distance. So each edit hands its weight to the real rows of the group whose labels are near its target's,

    $$b_j = \sum_i a_i \frac{\kappa(t_i, y_j)}{\sum_{j'} \kappa(t_i, y_{j'})}, \qquad
    \kappa(t, y) = \exp(-|t - y|_1/\tau),$$

    which are those of the same combination where there are some and $\tau$ is small. The number of groups is 2K,
    whatever the number of combinations. Groups are in the order (0, to 0), (1, to 0), ..., (0, to 1), (1, to 1), ...

    Args:
        target: target attributes of the edits, 0 or 1.
        change: target minus source attributes.
        labels: attributes of the real rows.
        temperature: $\tau$, in attributes that differ.
    """
    differing = target @ (1 - labels).T + (1 - target) @ labels.T
    kernel = torch.exp(-(differing - differing.amin(dim=1, keepdim=True)) / temperature)
    edited = torch.cat([change < 0, change > 0], dim=1).to(kernel.dtype)
    having = torch.cat([1 - labels, labels], dim=1).to(kernel.dtype)
    total = (kernel @ having).clamp_min(torch.finfo(kernel.dtype).tiny)
    a = _normalised(edited.T)
    return a, ((a / total.T) @ kernel) * having.T


def held_logits(
    logits: Float[Tensor, "n P"],
    before: Float[Tensor, "n P"],
    margin: Float[Tensor, " P"],
    held: Float[Tensor, "n P"],
) -> Float[Tensor, ""]:
    r"""Mean over rows of the squared steps toward the other side that logits have made past their margin.

    $$\frac1n \sum_{ip} h_{ip} \max\bigl(0, \min(\pm\ell_{ip}, \mu_p) \mp \ell'_{ip}\bigr)^2$$

    with $\pm$ the sign of the logit $\ell$ before, and $\ell'$ after. A prediction may become surer, and less sure down
    to the margin: only what could turn it costs.

    Args:
        logits: after the edit.
        before: of the source.
        margin: $\mu$.
        held: 1 for what must stay, 0 for what is asked to change.
    """
    side = torch.where(before < 0, -1.0, 1.0).to(logits.dtype)
    short = torch.minimum(side * before, margin) - side * logits
    return (short.clamp_min(0).square() * held).sum(dim=1).mean()


def _distances(x: Float[Tensor, "m d"], y: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
    """Distances whose gradient is finite at 0, where rows coincide."""
    squares = x.square().sum(-1)[:, None] + y.square().sum(-1) - 2 * x @ y.T
    positive = squares > 16 * torch.finfo(x.dtype).eps * x.square().sum(-1).amax()
    return torch.where(positive, torch.where(positive, squares, torch.ones_like(squares)).sqrt(), 0)


def _normalised(weights: Float[Tensor, "G m"]) -> Float[Tensor, "G m"]:
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)


def _free(weights: Float[Tensor, "G m"]) -> Float[Tensor, " G"]:
    """Share of pairs that are of two different rows."""
    return (1 - weights.square().sum(dim=1)).clamp_min(torch.finfo(weights.dtype).eps)
