"""Arrays that record what numpy code does with them, as an ONNX graph: one formula, computed here and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from fclf.errors import InputError

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    raise InputError("An export needs onnx and onnxruntime: pip install 'fclf[onnx]'.") from missing

__all__ = ["Graph", "TensorProto", "Traced"]

OPSET = 17
IR_VERSION = 8
"""Of files that runtimes since 2022 read."""

UNARY = {
    "absolute": "Abs",
    "exp": "Exp",
    "invert": "Not",
    "log": "Log",
    "negative": "Neg",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
BINARY = {
    "add": "Add",
    "bitwise_and": "And",
    "bitwise_or": "Or",
    "divide": "Div",
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "logical_and": "And",
    "matmul": "MatMul",
    "maximum": "Max",
    "minimum": "Min",
    "multiply": "Mul",
    "subtract": "Sub",
}


class Graph:
    """Nodes and constants that have been recorded; all numbers are float64 inside."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(self, operator: str, *inputs: Any, **attributes: Any) -> Traced:
        """Record an operation on traced arrays and constants."""
        name = f"v{len(self.nodes)}"
        names = [value.name if isinstance(value, Traced) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], **attributes))
        return Traced(self, name)

    def constant(self, value: Any) -> str:
        """Name of a constant, stored once."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(np.float64)
        key = str(array.dtype), array.shape, np.ascontiguousarray(array).tobytes()
        if key not in self._known:
            self._known[key] = f"c{len(self._known)}"
            self.constants[self._known[key]] = numpy_helper.from_array(np.array(array, order="C"), self._known[key])
        return self._known[key]

    def input(self, name: str) -> Traced:
        """A float32 input, as float64."""
        return self.node("Cast", Traced(self, name), to=TensorProto.DOUBLE)

    def model(self, inputs: dict[str, int], result: Traced, output: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The model, of float32 inputs of these widths with one length, and a result in float32."""
        self.nodes.append(helper.make_node("Identity", [result.name], [output]))
        width = next(iter(inputs.values()))
        graph = helper.make_graph(
            self.nodes,
            "edit",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", width])],
            list(self.constants.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="fclf"
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model


class Traced(NDArrayOperatorsMixin):
    """An array of n rows that is not known yet: numpy's functions on it are recorded and not computed.

    Operators and the functions of `UNARY`, `BINARY` and `FUNCTIONS` are known; anything else is an error and never a
    wrong graph. What is written in place becomes a new array, so code may not rely on two names of one array.
    """

    __array_priority__ = 1000
    dtype = np.dtype(np.float64)

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Traced:
        if method != "__call__" or options:
            raise NotImplementedError(f"{ufunc.__name__}.{method} with {sorted(options)} cannot be exported")
        if ufunc.__name__ == "square":
            return self.graph.node("Mul", inputs[0], inputs[0])
        if ufunc.__name__ == "not_equal":
            return self.graph.node("Not", self.graph.node("Equal", *map(_number, inputs)))
        if ufunc.__name__ in UNARY:
            return self.graph.node(UNARY[ufunc.__name__], *inputs)
        if ufunc.__name__ in BINARY:
            return self.graph.node(BINARY[ufunc.__name__], *map(_number, inputs))
        raise NotImplementedError(f"numpy.{ufunc.__name__} cannot be exported")

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Traced:
        if function.__name__ not in FUNCTIONS:
            raise NotImplementedError(f"numpy.{function.__name__} cannot be exported")
        return FUNCTIONS[function.__name__](self.graph, *args, **options)

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise NotImplementedError("a traced array has no values")

    def __bool__(self) -> bool:
        raise NotImplementedError("a traced array has no values to decide by")

    def __getitem__(self, key: Any) -> Traced:
        found, axis = self, 0
        for part in key if isinstance(key, tuple) else (key,):
            if part is None:
                found = self.graph.node("Unsqueeze", found, np.array([axis]))
                axis += 1
            elif isinstance(part, slice):
                if part != slice(None):
                    start, end = part.start or 0, np.iinfo(np.int64).max if part.stop is None else part.stop
                    found = self.graph.node(
                        "Slice", found, *(np.array([x]) for x in (start, end, axis, part.step or 1))
                    )
                axis += 1
            else:
                found = self.graph.node("Gather", found, np.array(int(part)), axis=axis)
        return found

    def reshape(self, *shape: int) -> Traced:
        """With -1 for the number of rows."""
        return self.graph.node("Reshape", self, np.array(shape))

    def sum(self, axis: int) -> Traced:
        """Over one axis, which goes."""
        return self.graph.node("ReduceSum", self, np.array([axis]), keepdims=0)

    def astype(self, *_: Any, **__: Any) -> Traced:
        """Everything is float64."""
        return self


def _number(value: Any) -> Any:
    """A constant as float64, as both sides of an operator must be."""
    if isinstance(value, Traced):
        return value
    array = np.asarray(value)
    return array if array.dtype.kind == "b" else array.astype(np.float64)


def _concatenate(graph: Graph, arrays: Iterable[Any], axis: int = 0) -> Traced:
    return graph.node("Concat", *arrays, axis=axis)


def _einsum(graph: Graph, subscripts: str, *arrays: Any) -> Traced:
    if subscripts != "ij,ij->i":
        raise NotImplementedError(f"einsum {subscripts} cannot be exported")
    return graph.node("Mul", *arrays).sum(axis=1)


def _prod(graph: Graph, array: Traced, axis: int) -> Traced:
    return graph.node("ReduceProd", array, axes=[axis], keepdims=0)


def _quantile(graph: Graph, sample: NDArray[np.float64], q: Traced) -> Traced:
    """Quantiles of a sorted constant sample, linear in between as numpy's."""
    place = q * float(len(sample) - 1)
    low = graph.node("Floor", place)
    first = graph.node("Cast", low, to=TensorProto.INT64)
    second = graph.node("Min", graph.node("Add", first, np.array(1)), np.array(len(sample) - 1))
    below, above = (graph.node("Gather", sample, index) for index in (first, second))
    return below + (place - low) * (above - below)


def _searchsorted(graph: Graph, sample: NDArray[np.float64], values: Traced, side: str = "left") -> Traced:
    """How many of a sorted constant sample are below each value, by halving: memory grows with n alone."""
    steps = len(sample).bit_length()
    padded = np.concatenate([sample, np.full(2**steps - 1 - len(sample), np.inf)])
    found = graph.node("Mul", graph.node("Cast", values * 0.0, to=TensorProto.INT64), np.array(0))
    for step in (2**k for k in reversed(range(steps))):
        seen = graph.node("Gather", padded, graph.node("Add", found, np.array(step - 1)))
        further = graph.node("Less" if side == "left" else "LessOrEqual", seen, values)
        found = graph.node("Where", further, graph.node("Add", found, np.array(step)), found)
    return graph.node("Cast", found, to=TensorProto.DOUBLE)


FUNCTIONS: dict[str, Callable[..., Traced]] = {
    "clip": lambda graph, array, low, high: graph.node("Clip", array, float(low), float(high)),
    "concatenate": _concatenate,
    "einsum": _einsum,
    "ones_like": lambda graph, array: array * 0.0 + 1.0,
    "prod": _prod,
    "quantile": _quantile,
    "searchsorted": _searchsorted,
    "where": lambda graph, condition, yes, no: graph.node("Where", condition, _number(yes), _number(no)),
    "zeros_like": lambda graph, array: array * 0.0,
}
