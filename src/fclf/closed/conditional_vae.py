"""What attributes do to one row, learned: infer what labels do not tell, and draw it again with other labels.

The one part of `fclf.closed` that has a training loop; a conditional transport takes its displacement from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float64, Int8
from torch import Tensor
from torch.nn import functional

__all__ = ["UNTRAINED", "ConditionalVAE", "Perceptron"]

CODE = 40
HIDDEN = 256
DEEP = 2
"""Residual layers of a network."""
BETA = 2.0
"""Price of a nat, in mean variances of an axis: axes that vary less than average are not worth a code."""
BATCH = 512
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.1
WARM_UP = 100
LOG_VARIANCE = (-12.0, 4.0)
CHUNK = 8192

OnStep = Callable[[float], None]


@dataclass(frozen=True)
class Perceptron:
    r"""Residual network $x \mapsto W_m h_{m-1} + b_m$.

    $h_0 = \operatorname{silu}(W_0 x + b_0)$ and $h_i = h_{i-1} + \operatorname{silu}(W_i h_{i-1} + b_i)$.
    """

    weights: tuple[Float64[np.ndarray, "i o"], ...] = ()
    biases: tuple[Float64[np.ndarray, " o"], ...] = ()

    def __call__(self, x: Float64[np.ndarray, "n i"]) -> Float64[np.ndarray, "n o"]:
        """Apply in float32, a few thousand rows at a time."""
        weights, biases = ([torch.from_numpy(a).float() for a in part] for part in (self.weights, self.biases))
        with torch.inference_mode():
            rows = [_forward(part, weights, biases) for part in torch.split(torch.from_numpy(x).float(), CHUNK)]
            out: Float64[np.ndarray, "n o"] = torch.cat(rows).double().numpy()
        return out


@dataclass(frozen=True)
class ConditionalVAE:
    r"""A conditional variational autoencoder (Sohn et al., 2015), used for counterfactuals.

    With rows $x = (z - \mu)/s$, an encoder $q(c \mid x, y) = \mathcal N(h(x, y), \operatorname{diag} v(x, y))$ and a
    decoder $g(c, y)$ minimise

    $$\mathbb{E}\,\tfrac1d\|x - g(c, y)\|^2 + \tfrac{\beta}{d}\operatorname{KL}(q \,\|\, \mathcal N(0, I)).$$

    The decoder is told the labels for nothing, while a nat in the code costs $\beta$: so the code keeps what labels do
    not tell, and only what pays. A change of labels moves a row by abduction, action and prediction (Pearl, 2009;
    Pawlowski et al., 2020, https://arxiv.org/abs/2006.06485), with what the decoder cannot draw left as it is:

    $$\delta = s\,\bigl[g(h(x, y), t) - g(h(x, y), y)\bigr]$$

    which is zero where nothing changes, whatever was learned. Effects that depend on who is shown ("glasses cover
    *these* eyes") come from the data in this way, where there are enough rows to tell them.
    """

    centre: Float64[np.ndarray, " d"]
    scale: float
    """s: root of the mean variance of an axis; 0 where nothing was trained."""
    encoder: Perceptron
    decoder: Perceptron

    @classmethod
    def fit(
        cls,
        z: Float64[np.ndarray, "n d"],
        y: Int8[np.ndarray, "n K"],
        *,
        steps: int,
        seed: int = 0,
        on_step: OnStep | None = None,
    ) -> ConditionalVAE:
        """Train on rows; the same seed and number of threads give the same bits.

        Args:
            z: train rows.
            y: their labels.
            steps: of AdamW, with `BATCH` rows each.
            seed: of initial weights, batches and noise.
            on_step: called with the loss of each step.
        """
        centre = z.mean(axis=0)
        scale = float(np.sqrt(np.square(z - centre).mean()))
        x = torch.from_numpy((z - centre) / scale).float()
        labels = torch.from_numpy(_signs(y)).float()
        d, k = z.shape[1], y.shape[1]
        generator = torch.Generator().manual_seed(seed)
        encoder, decoder = _initial(d + k, 2 * CODE, generator), _initial(CODE + k, d, generator)
        parameters = [tensor for network in (encoder, decoder) for part in network for tensor in part]
        optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.99))
        with torch.enable_grad():
            for step in range(steps):
                for group in optimizer.param_groups:
                    falling = (1 + math.cos(math.pi * step / steps)) / 2
                    group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * falling
                rows = torch.randint(len(x), (BATCH,), generator=generator)
                seen, told = x[rows], labels[rows]
                mean, log_variance = _forward(torch.cat([seen, told], dim=1), *encoder).chunk(2, dim=1)
                log_variance = log_variance.clamp(*LOG_VARIANCE)
                noise = torch.randn(mean.shape, generator=generator)
                code = mean + noise * (log_variance / 2).exp()
                drawn = _forward(torch.cat([code, told], dim=1), *decoder)
                nats = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
                loss = (seen - drawn).square().mean() + BETA / d * nats
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if on_step is not None:
                    on_step(float(loss.detach()))
        return cls(centre, scale, *(_frozen(*network) for network in (encoder, decoder)))

    @property
    def trained(self) -> bool:
        """Whether there is anything in it."""
        return self.scale > 0

    def move(
        self, z: Float64[np.ndarray, "n d"], y: Int8[np.ndarray, "n K"], target: Int8[np.ndarray, "n K"]
    ) -> Float64[np.ndarray, "n d"]:
        """Displacement of rows, before any projection to the sphere."""
        own, wanted = _signs(y), _signs(target)
        code = self.encoder(np.concatenate([(z - self.centre) / self.scale, own], axis=1))[:, :CODE]
        ends = [self.decoder(np.concatenate([code, labels], axis=1)) for labels in (wanted, own)]
        displacement: Float64[np.ndarray, "n d"] = self.scale * (ends[0] - ends[1])
        return displacement.astype(z.dtype, copy=False)


NOTHING = Perceptron()
UNTRAINED = ConditionalVAE(np.zeros(0), 0.0, NOTHING, NOTHING)
"""Nothing learned, of any width."""


def _signs(labels: Int8[np.ndarray, "n K"]) -> Float64[np.ndarray, "n K"]:
    return 2.0 * labels - 1


def _forward(x: Float[Tensor, "n i"], weights: list[Tensor], biases: list[Tensor]) -> Float[Tensor, "n o"]:
    x = functional.silu(torch.addmm(biases[0], x, weights[0]))
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        x = x + functional.silu(torch.addmm(bias, x, weight))
    return torch.addmm(biases[-1], x, weights[-1])


def _initial(inner: int, outer: int, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    r"""Uniform within $\pm 1/\sqrt{i}$, as torch draws linear layers."""
    widths = [inner, *[HIDDEN] * (DEEP + 1), outer]
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for i, o in pairwise(widths):
        bound = 1 / math.sqrt(i)
        for shape, found in (((i, o), weights), ((o,), biases)):
            found.append(torch.empty(shape).uniform_(-bound, bound, generator=generator).requires_grad_())
    return weights, biases


def _frozen(weights: list[Tensor], biases: list[Tensor]) -> Perceptron:
    return Perceptron(*(tuple(t.detach().double().numpy() for t in part) for part in (weights, biases)))
