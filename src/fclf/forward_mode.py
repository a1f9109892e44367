"""Layers that carry directional derivatives along: forward mode by hand, which shares the pass of the values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["ComposedLayerNorm", "norm_relu"]


def norm_relu(
    a: Float[Tensor, "n h"],
    t: Float[Tensor, "k m h"],
    norm: nn.LayerNorm,
) -> tuple[Float[Tensor, "n h"], Float[Tensor, "k m h"]]:
    r"""ReLU of LayerNorm, and its derivatives in k directions at the first m rows.

    $$f(a) = \max(0, g \odot x + b), \qquad x = r\,(a - \bar a), \qquad r = (\operatorname{var} a + \epsilon)^{-1/2}$$

    $$\dot f = [f > 0] \odot g \odot P t, \qquad P = r\,(I - \tfrac1h 1 1^\top - \tfrac1h x x^\top)$$

    First gradients are written out here, as autograd keeps and passes over many more matrices.
    Arguments of lower precision than the LayerNorm's are raised to it.

    Args:
        a: values.
        t: derivatives of the first m rows of `a` in each direction.
        norm: the LayerNorm, with its gain g, shift b and $\epsilon$.
    """
    out, along = _NormRelu.apply(a, t, norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]
    return out, along


class _NormRelu(torch.autograd.Function):
    """Masks and repeated rows are matrices of numbers, as truth values and broadcasting are slow on a CPU."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, t: Tensor, gain: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        ctx.dtypes = a.dtype, t.dtype
        a, t = a.to(gain.dtype), t.to(gain.dtype)
        k, m = t.shape[:2]
        out, mean, r = torch.native_layer_norm(a, a.shape[-1:], gain, shift, eps)
        x = (a - mean).mul_(r)
        out = out.relu_()
        on = out.sign()
        here = x[:m].repeat(k, 1, 1)
        dots = (t * here).mean(-1, keepdim=True)
        q = _project(t, here, r[:m], dots)
        ctx.save_for_backward(gain, t, x, here, r, on, dots, q)
        return out, q * (on[:m] * gain).repeat(k, 1, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, grad_along: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        gain, t, x, here, r, on, dots, q = ctx.saved_tensors
        k, m = t.shape[:2]
        kept = grad_out * on
        dq = grad_along * on[:m].repeat(k, 1, 1)
        d_shift = kept.sum(0)
        d_gain = (kept * x).sum(0) + (dq * q).sum((0, 1))
        dq, dx = dq.mul_(gain), kept.mul_(gain)
        mixed = (dq * here).mean(-1, keepdim=True)
        dt = _project(dq, here, r[:m], mixed)
        dx[:m] -= ((dq * dots).addcmul_(t, mixed).sum(0)).mul_(r[:m])
        da = _project(dx, x, r, (dx * x).mean(-1, keepdim=True))
        da[:m] -= x[:m] * ((dq * q).mean(-1, keepdim=True).sum(0) * r[:m])
        return da.to(ctx.dtypes[0]), dt.to(ctx.dtypes[1]), d_gain, d_shift, None


def _project(t: Tensor, x: Tensor, r: Tensor, dots: Tensor) -> Tensor:
    """P t, with the means over units of t x."""
    return torch.sub(t, t.mean(-1, keepdim=True)).addcmul_(x, dots, value=-1).mul_(r)


class ComposedLayerNorm(TorchFunctionMode):
    """Within it, LayerNorms are composed of differentiable operations.

    The derivatives of torch's own are differentiated again with mean and variance held fixed, so that gradients of
    derivatives below one are wrong by half (torch 2.13, forward and reverse mode alike).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace calls of `layer_norm`, and pass on all others."""
        if func is functional.layer_norm:
            return _layer_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    over = tuple(range(-len(normalized_shape), 0))
    centred = x - x.mean(over, keepdim=True)
    out = centred * (centred.square().mean(over, keepdim=True) + eps).rsqrt()
    out = out if weight is None else out * weight
    return out if bias is None else out + bias
