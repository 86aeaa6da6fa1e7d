"""A recurrent layer in machine code, called from compiled JAX programs.

XLA spends more on starting so small a product, and on what lies between two, than on the products: this halves the
time of a training. The handlers read what XLA hands over as its C interface defines it (`xla/ffi/api/c_api.h`, laid
out in words of eight bytes).
"""

from __future__ import annotations

import threading
from typing import Any

import jax
import numba
import numpy as np
from numba import njit
from numba.extending import intrinsic

from edgewright.learning.perceptron import Floats

Array = Any
_numba: Any = numba  # its types leave out what is used here
_carray = _numba.carray
_WORDS, _FLOATS = _numba.types.CPointer(_numba.int64), _numba.types.CPointer(_numba.float32)
FORWARD, BACKWARD = "edgewright_lstm_forward", "edgewright_lstm_backward"


def call(name: str, sizes: list[tuple[int, ...]], *arguments: Array) -> list[Array]:
    """One of the two, inside a traced function; axes that `jax.vmap` adds come first.

    Takes float32 in the kernels' shapes, unchecked.
    """
    _register()
    results = [jax.ShapeDtypeStruct(size, np.float32) for size in sizes]  # type: ignore[no-untyped-call]
    return list(jax.ffi.ffi_call(name, results, vmap_method="broadcast_all")(*arguments))


_registering = threading.Lock()
_compiled: dict[str, Any] = {}  # XLA holds no more than their addresses
_known: set[str] = set()


def _register() -> None:
    """Make both known to XLA. It takes no second address for a name: what is compiled stays, whatever comes between."""
    with _registering:
        for name, handler in ((FORWARD, _forward_handler), (BACKWARD, _backward_handler)):
            if name not in _compiled:
                _compiled[name] = _numba.cfunc(_numba.int64(_WORDS), cache=True)(handler)
            if name not in _known:
                capsule = jax.ffi.pycapsule(_compiled[name].ctypes)  # type: ignore[no-untyped-call]
                jax.ffi.register_ffi_target(name, capsule)
                _known.add(name)


_fast = njit(error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)


@njit(error_model="numpy", inline="always")
def _tanh(x: Any) -> Any:
    """To 5e-7: a rational function (the one of Eigen's), which vectorises as the library's does not."""
    x = min(max(x, np.float32(-7.9)), np.float32(7.9))
    y = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * y + np.float32(2.00018790482477e-13)
    p = p * y + np.float32(-8.60467152213735e-11)
    p = p * y + np.float32(5.12229709037114e-08)
    p = p * y + np.float32(1.48572235717979e-05)
    p = p * y + np.float32(6.37261928875436e-04)
    p = p * y + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * y + np.float32(1.18534705686654e-04)
    q = q * y + np.float32(2.26843463243900e-03)
    q = q * y + np.float32(4.89352518554385e-03)
    return x * p / q


@_fast
def _forward(
    input_: Floats, recurrent: Floats, bias: Floats, steps: Floats, hidden: Floats, gates: Floats, cells: Floats
) -> None:
    """[I, 4U], [U, 4U], [4U], [W, B, I] -> [W, B, U], [W, B, 4U], [W, B, U]"""
    window, batch, inputs = steps.shape
    units = len(recurrent)
    # One kind of squashing for all gates: sigmoid(z) = tanh(z/2)/2 + 1/2.
    half = np.full(4 * units, np.float32(0.5))
    half[2 * units : 3 * units] = 1
    rest = 1 - half
    np.dot(steps.reshape(window * batch, inputs), input_, gates.reshape(window * batch, 4 * units))
    remembered = np.zeros((batch, 4 * units), np.float32)
    before = np.zeros((batch, units), np.float32)
    for step in range(window):
        gate, cell, out = gates[step], cells[step], hidden[step]
        if step:
            np.dot(hidden[step - 1], recurrent, remembered)
        for b in range(batch):
            for j in range(4 * units):
                gate[b, j] = half[j] * _tanh(half[j] * (gate[b, j] + remembered[b, j] + bias[j])) + rest[j]
        for b in range(batch):
            for j in range(units):
                cell[b, j] = gate[b, units + j] * before[b, j] + gate[b, j] * gate[b, 2 * units + j]
                out[b, j] = gate[b, 3 * units + j] * _tanh(cell[b, j])
        before = cell


@_fast
def _backward(
    recurrent: Floats,
    steps: Floats,
    hidden: Floats,
    gates: Floats,
    cells: Floats,
    wanted: Floats,
    by_input: Floats,
    by_recurrent: Floats,
    by_bias: Floats,
    by_z: Floats,
) -> None:
    """Of the loss by the parameters and by what is squashed, [W, B, 4U], from that by the hidden states, [W, B, U]."""
    window, batch, inputs = steps.shape
    units = len(recurrent)
    one = np.float32(1)
    by_hidden, by_cell = np.zeros((batch, units), np.float32), np.zeros((batch, units), np.float32)
    nothing, squashed = np.zeros((batch, units), np.float32), np.empty((batch, units), np.float32)
    for step in range(window - 1, -1, -1):
        gate, cell, given, change = gates[step], cells[step], wanted[step], by_z[step]
        before = cells[step - 1] if step else nothing
        for b in range(batch):
            for j in range(units):
                squashed[b, j] = _tanh(cell[b, j])
        for b in range(batch):
            for j in range(units):
                i, f, g, o = gate[b, j], gate[b, units + j], gate[b, 2 * units + j], gate[b, 3 * units + j]
                h = by_hidden[b, j] + given[b, j]
                c = by_cell[b, j] + h * o * (one - squashed[b, j] * squashed[b, j])
                change[b, j] = c * g * i * (one - i)
                change[b, units + j] = c * before[b, j] * f * (one - f)
                change[b, 2 * units + j] = c * i * (one - g * g)
                change[b, 3 * units + j] = h * squashed[b, j] * o * (one - o)
                by_cell[b, j] = c * f
        if step:
            np.dot(change, recurrent.T, by_hidden)
    whole = by_z.reshape(window * batch, 4 * units)
    np.dot(steps.reshape(window * batch, inputs).T, whole, by_input)
    np.dot(hidden[:-1].reshape((window - 1) * batch, units).T, whole[batch:], by_recurrent)
    by_bias[:] = 0
    for row in range(window * batch):
        for j in range(4 * units):
            by_bias[j] += whole[row, j]


# What XLA hands over

_MAJOR, _MINOR = 0, 3


def _as_pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


@intrinsic
def _to_words(typing: Any, address: Any) -> Any:
    return _WORDS(_numba.int64), _as_pointer


@intrinsic
def _to_floats(typing: Any, address: Any) -> Any:
    return _FLOATS(_numba.int64), _as_pointer


_words: Any = _to_words  # int64 -> pointer to int64
_floats: Any = _to_floats  # int64 -> pointer to float32


@njit
def _answers_version(frame: Any) -> bool:
    """XLA asks once which version of its interface a handler was made for, and refuses one that it does not serve."""
    if frame[1] == 0 or _words(frame[1])[1] & 0xFFFFFFFF != 1:
        return False
    metadata = _words(_words(frame[1])[3])
    metadata[3] = _MAJOR | _MINOR << 32
    return True


@njit
def _of(buffers: Any, i: int) -> tuple[Any, Any, int]:
    """Numbers, sizes and number of axes of the ith buffer."""
    buffer = _words(buffers[i])
    return _floats(buffer[3]), _words(buffer[5]), buffer[4]


@njit
def _many(sizes: Any, axes: int) -> int:
    """All leading axes in one."""
    many = 1
    for i in range(axes):
        many *= sizes[i]
    return many


@njit
def _vectors(buffers: Any, i: int) -> Any:
    numbers, sizes, axes = _of(buffers, i)
    return _carray(numbers, (_many(sizes, axes - 1), sizes[axes - 1]))


@njit
def _matrices(buffers: Any, i: int) -> Any:
    numbers, sizes, axes = _of(buffers, i)
    return _carray(numbers, (_many(sizes, axes - 2), sizes[axes - 2], sizes[axes - 1]))


@njit
def _sequences(buffers: Any, i: int) -> Any:
    numbers, sizes, axes = _of(buffers, i)
    return _carray(numbers, (_many(sizes, axes - 3), sizes[axes - 3], sizes[axes - 2], sizes[axes - 1]))


def _forward_handler(frame: Any) -> int:
    if not _answers_version(frame):
        given, out = _words(frame[9]), _words(frame[14])
        input_, recurrent, bias = _matrices(given, 0), _matrices(given, 1), _vectors(given, 2)
        steps = _sequences(given, 3)
        hidden, gates, cells = _sequences(out, 0), _sequences(out, 1), _sequences(out, 2)
        for n in range(len(steps)):
            _forward(input_[n], recurrent[n], bias[n], steps[n], hidden[n], gates[n], cells[n])
    return 0


def _backward_handler(frame: Any) -> int:
    if not _answers_version(frame):
        given, out = _words(frame[9]), _words(frame[14])
        recurrent = _matrices(given, 0)
        steps, hidden, gates = _sequences(given, 1), _sequences(given, 2), _sequences(given, 3)
        cells, wanted = _sequences(given, 4), _sequences(given, 5)
        by_input, by_recurrent, by_bias = _matrices(out, 0), _matrices(out, 1), _vectors(out, 2)
        by_z = _sequences(out, 3)
        for n in range(len(steps)):
            _backward(
                recurrent[n],
                steps[n],
                hidden[n],
                gates[n],
                cells[n],
                wanted[n],
                by_input[n],
                by_recurrent[n],
                by_bias[n],
                by_z[n],
            )
    return 0
