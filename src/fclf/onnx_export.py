"""Edits as ONNX models: embeddings, source and target labels in, edited embeddings out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.closed.affine import Affine
from fclf.closed.conditional_vae import ConditionalVAE, Perceptron
from fclf.closed.linear import ClosedForm, DoNothing, Shift, project
from fclf.closed.personal import PersonalEffects
from fclf.closed.quantile import QuantileShift, transport
from fclf.closed.transport import ConditionalTransport, _solved
from fclf.errors import InputError
from fclf.field import FARTHEST, ROUNDING, ChangeField, ChangeResidual, TargetField
from fclf.files import atomic_write
from fclf.flow import Flow, Method
from fclf.tracing import Graph, TensorProto, Traced

__all__ = ["INPUTS", "OUTPUT", "export_onnx"]

INPUTS, OUTPUT = ("z", "source", "target"), "edited"
MOST_NUMBERS = 6_000_000
"""In the table of corrections, one matrix for each combination of attributes that are changed together."""
TINY = np.finfo(np.float64).tiny

Recorded = Any
"""A `Traced` array, which numpy's stubs do not know."""
Velocity = Callable[[Recorded], Recorded]


def export_onnx(checkpoint: Checkpoint, path: str | Path, *, strength: float = 1.0) -> Path:
    """Write the edit of a checkpoint as an ONNX model.

    Inputs are float32: `z` (n, d) unit vectors, `source` (n, K) labels that rows have and `target` (n, K) labels that
    they shall have, 0 or 1, in the order of the attributes in the model's metadata. The output `edited` (n, d) is
    float32; in between it computes in float64, with any n. Labels have to be known: the model infers none.

    What is exported is what is computed here: closed forms are run on arrays that record the operations
    (`fclf.tracing`). Conditional transport holds a table of its corrections for each combination of changed attributes;
    with more than 10 or so attributes only for the few that are changed together at most (`max_changes` in the
    metadata), and rows that change more come out as NaN.

    Args:
        checkpoint: what to export; `checkpoint.with_keep` gives another operating point.
        path: of the `.onnx` file, which is whole or absent.
        strength: of the edit; it is part of the model.

    Raises:
        InputError: for a field that cannot be exported, or where onnx is not installed.
    """
    if not 0 <= strength < math.inf:
        raise InputError(f"The strength of an edit must be a number of 0 or more, but {strength} came.")
    still: Recorded = None
    flow, names, graph = checkpoint.flow(), checkpoint.attribute_names, Graph()
    z, y, target = (graph.input(name) for name in INPUTS)
    metadata = {
        "attribute_names": json.dumps(list(names)),
        "strength": f"{strength:g}",
        "fclf_version": __version__,
        "data_fingerprint": checkpoint.data_fingerprint,
        "max_changes": str(len(names)),
    }
    encoder = getattr(checkpoint, "encoder", None)
    if encoder:
        metadata["encoder"] = encoder
    if isinstance(flow.field, TargetField):
        field = flow.field
        ends = _integrated(z, lambda x: _target_velocity(field, x, target), flow, strength)
    elif isinstance(flow.field, ChangeField):
        ends, most = _changed(flow.field, z, y, target, flow, strength)
        metadata["max_changes"] = str(most)
        still = ~(np.absolute(target - y).sum(axis=1) > 0.5)[:, None]
    else:
        raise InputError(f"A {type(flow.field).__name__} cannot be exported to ONNX.")
    came = Traced(graph, INPUTS[0])
    edited = graph.node("Cast", ends, to=TensorProto.FLOAT)
    if still is not None:  # such rows keep their bits
        edited = graph.node("Where", still, came, edited)
    if strength == 0:
        edited = came
    widths = dict(zip(INPUTS, (checkpoint.dim, len(names), len(names)), strict=True))
    model = graph.model(widths, edited, OUTPUT, metadata)
    with atomic_write(Path(path)) as file:
        file.write(model.SerializeToString())
    return Path(path)


def _changed(
    field: ChangeField, z: Recorded, y: Recorded, target: Recorded, flow: Flow, strength: float
) -> tuple[Recorded, int]:
    """`ChangeField.condition` and `solution`, or the integrated flow where there is a residual."""
    end, most = _destination(field.start, z, y, target)
    cosine = (z * end).sum(axis=1)[:, None]
    side = end - z * cosine
    sine = np.sqrt((side * side).sum(axis=1))[:, None]
    tangent = np.where(cosine > FARTHEST, sine / np.maximum(cosine, FARTHEST), 1 / FARTHEST)
    rate = np.log(tangent + np.sqrt(tangent * tangent + 1.0)) / np.maximum(sine, TINY)
    heading = side * np.where(sine > ROUNDING * np.finfo(np.float32).eps, rate, 0.0)
    if field.residual is None or not field.amount:
        length = np.sqrt((heading * heading).sum(axis=1))[:, None]
        turned = length * (flow.steps * flow.step_size * strength)  # gd: its sine is tanh, its cosine sech
        cosh = (np.exp(turned) + np.exp(-turned)) * 0.5
        return _projected(z / cosh + heading * (np.tanh(turned) / np.maximum(length, TINY))), most
    if not isinstance(field.residual, ChangeResidual):
        raise InputError(f"A residual of {type(field.residual).__name__} cannot be exported to ONNX.")
    residual, amount, change = field.residual, field.amount, target - y

    def velocity(x: Recorded) -> Recorded:
        return _tangent(x, heading + amount * _residual_velocity(residual, x, change))

    return _integrated(z, velocity, flow, strength), most


def _destination(form: ClosedForm, z: Recorded, y: Recorded, target: Recorded) -> tuple[Recorded, int]:
    """Where a closed form carries rows, and how many attributes it can change together."""
    k = _width(form)
    if type(form) is DoNothing:
        return z, k
    if type(form) is Shift:
        return project(z + (target - y) @ (form.strength * form.effects)), k
    if type(form) is Affine:
        residuals = z - form.intercept - y @ form.effects
        for number, adding in enumerate(form.maps):
            change = (target - y)[:, number, None]
            gained, lost = residuals @ adding, residuals @ np.linalg.inv(adding).T
            residuals = np.where(change > 0.5, gained, np.where(change < -0.5, lost, residuals))
        return project(form.intercept + target @ form.effects + residuals), k
    if type(form) is QuantileShift:
        logits = z @ form.weights.T + form.offsets
        columns = []
        for number, samples in enumerate(form.samples):
            own = logits[:, number]
            moves = [transport(own, samples[value], samples[1 - value]) - own for value in (0, 1)]
            columns.append(_chosen(y, target, number, moves[::-1], own * 0.0)[:, None])
        return form._moved(z, np.concatenate(columns, axis=1)), k
    if type(form) is ConditionalTransport:
        return _transported(form, z, y, target)
    raise InputError(
        f"An edit by {type(form).__name__} cannot be exported to ONNX; there are Shift, Affine, QuantileShift and "
        "ConditionalTransport."
    )


def _width(form: Any) -> int:
    for name in ("effects", "reliability"):
        if hasattr(form, name):
            return len(getattr(form, name))
    return 0


def _chosen(y: Recorded, target: Recorded, k: int, to: list[Recorded], otherwise: Recorded) -> Recorded:
    """`to[1]` for rows that gain attribute k, `to[0]` for those that lose it."""
    change = (target - y)[:, k]
    return np.where(change > 0.5, to[1], np.where(change < -0.5, to[0], otherwise))


def _transported(form: ConditionalTransport, z: Recorded, y: Recorded, target: Recorded) -> tuple[Recorded, int]:
    """The class's own arithmetic, with goals and corrections of all rows at once."""
    form = replace(form, personal=_Everyone.of(form.personal), learned=_recorded(form.learned))
    table = _Corrections.of(form)
    k = len(form.reliability)

    def goals(z: Recorded, moved: Recorded, y: Recorded, target: Recorded) -> Recorded:
        before = z @ form.weights.T + form.offsets
        held = form._held(before, moved)
        columns = [held[:, number] for number in range(2 * k)]
        for number in range(k):
            wanted = [form._wanted(before[:, number], moved[:, number], number, value) for value in (0, 1)]
            columns[number] = _chosen(y, target, number, wanted, columns[number])
        return np.concatenate([column[:, None] for column in columns], axis=1)

    def corrections(read: Recorded, goals: Recorded, flips: Recorded) -> Recorded:
        return table.solve(form.weights @ form.weights.T, read, goals, flips)

    return form._carried(z, y, target, goals, corrections), table.most


@dataclass(frozen=True)
class _Corrections:
    """Ridge and inverse for each combination of attributes that change together, zero where nothing is corrected."""

    patterns: NDArray[np.float64]
    ridges: NDArray[np.float64]
    inverses: NDArray[np.float64]
    most: int

    @classmethod
    def of(cls, form: ConditionalTransport) -> _Corrections:
        k = len(form.reliability)
        most, count = 0, 0
        while (most < k and (count + math.comb(k, most + 1)) * (2 * k) ** 2 <= MOST_NUMBERS) or most == 0:
            most += 1
            count += math.comb(k, most)
        chosen = [which for number in range(1, most + 1) for which in combinations(range(k), number)]
        patterns = np.zeros((len(chosen), k), dtype=np.bool_)
        for row, which in enumerate(chosen):
            patterns[row, list(which)] = True
        ridges, inverses = np.zeros((len(chosen), 2 * k)), np.zeros((len(chosen), 2 * k, 2 * k))
        for row, pattern in enumerate(patterns):
            active = form._active(pattern)
            weights = form.weights[active]
            ridge, inverse = form._inverse(weights @ weights.T, ~np.concatenate([pattern, pattern])[active])
            ridges[row, active], inverses[row][np.ix_(active, active)] = ridge, inverse
        return cls(patterns.astype(np.float64), ridges, inverses, most)

    def solve(self, gram: NDArray[np.float64], read: Recorded, goals: Recorded, flips: Recorded) -> Recorded:
        graph = read.graph
        changed = graph.node("Cast", flips, to=TensorProto.DOUBLE)
        likeness = changed @ (2 * self.patterns.T) - self.patterns.sum(axis=1)  # the number of changes, where it is it
        row = graph.node("ArgMax", likeness, axis=1, keepdims=0)
        known = graph.node("ReduceMax", likeness, axes=[1], keepdims=0) > changed.sum(axis=1) - 0.5
        inverse = graph.node("Gather", self.inverses, row)
        ridge = graph.node("Gather", self.ridges, row)
        found = _solved(read, goals, gram, ridge, lambda rest: (rest[:, None, :] @ inverse)[:, 0, :])
        return np.where(known[:, None], found, np.nan)


class _Everyone(PersonalEffects):
    """Adds up the effects of all attributes, as no row is known yet."""

    @classmethod
    def of(cls, effects: PersonalEffects) -> _Everyone:
        return cls(**{part.name: getattr(effects, part.name) for part in fields(effects)})

    def _changed(self, change: Any) -> Iterable[int]:
        return range(len(self.effects))


class _Recorded(Perceptron):
    """The network in plain operators."""

    def __call__(self, x: Any) -> Any:
        x = _silu(x @ self.weights[0] + self.biases[0])
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            x = x + _silu(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]


def _recorded(learned: ConditionalVAE) -> ConditionalVAE:
    encoder, decoder = (_Recorded(part.weights, part.biases) for part in (learned.encoder, learned.decoder))
    return replace(learned, encoder=encoder, decoder=decoder)


def _silu(x: Recorded) -> Recorded:
    return x * x.graph.node("Sigmoid", x)


def _projected(x: Recorded) -> Recorded:
    return x / np.maximum(np.sqrt((x * x).sum(axis=1)), TINY)[:, None]


def _tangent(x: Recorded, v: Recorded) -> Recorded:
    return v - x * (x * v).sum(axis=1)[:, None]


def _integrated(z: Recorded, velocity: Velocity, flow: Flow, strength: float) -> Recorded:
    """As `Flow.path`."""
    for _ in range(flow.steps):
        z = _step(velocity, z, flow.step_size * strength, flow.method)
    return z


def _step(velocity: Velocity, z: Recorded, size: float, method: Method) -> Recorded:
    """As `fclf.flow.step`."""
    if method == "euler":
        return _projected(z + size * velocity(z))

    def slope(x: Recorded) -> Recorded:
        x = _projected(x)
        return _tangent(x, velocity(x))

    k1 = slope(z)
    if method == "heun":
        return _projected(z + size / 2 * (k1 + slope(z + size * k1)))
    k2 = slope(z + size / 2 * k1)
    k3 = slope(z + size / 2 * k2)
    k4 = slope(z + size * k3)
    return _projected(z + size / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


def _target_velocity(field: TargetField, z: Recorded, target: Recorded) -> Recorded:
    """As `TargetField.forward`."""
    x: Recorded = np.concatenate([z, target], axis=1)
    for layer in (*field.layers, field.last):
        if isinstance(layer, nn.Linear):
            x = x @ _array(layer.weight).T + _array(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            scale, bias = _array(layer.weight), _array(layer.bias)
            x = x.graph.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=layer.eps)
        else:
            x = np.maximum(x, 0.0)
    return x


def _residual_velocity(residual: ChangeResidual, z: Recorded, change: Recorded) -> Recorded:
    """As `ChangeResidual.forward`."""
    part = {name: _array(value) for name, value in residual.state_dict().items()}
    factors = _silu(((z - part["mean"]) / part["spread"]) @ part["inward"] + part["bias"]) @ part["mix"]
    gates = change @ part["turning"] + np.absolute(change) @ part["lasting"]
    return ((factors * gates) @ part["outward"]) * part["spread"]


def _array(value: Any) -> NDArray[np.float64]:
    return np.asarray(value.detach().cpu().double().numpy())
