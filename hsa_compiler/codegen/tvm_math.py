"""Functions of one element or one vector that TVM's LLVM back end would call a library for."""

from __future__ import annotations

from hsa_compiler.codegen import tvm_text as tx
from hsa_compiler.codegen.tvm_text import X
from hsa_compiler.codegen.tvm_writer import Writer

# Minimax fits by Lawson's algorithm, rounded to fp32. Evaluated in fp32, 2**x has a relative
# error below 1.7e-7 and log2(x) below 1.4e-7, also near x = 1, where log2 passes through 0.
_EXP2 = (
    0.6931470036506653,
    0.24022242426872253,
    0.05550733581185341,
    0.009671512991189957,
    0.001326472731307149,
)
_LOG2 = (
    1.4426950216293335,
    -0.7213473320007324,
    0.48091062903404236,
    -0.3607036769390106,
    0.28791624307632446,
    -0.23894481360912323,
    0.21571560204029083,
    -0.20726975798606873,
    0.125837042927742,
)
_SQRT_HALF_BITS = 0x3F3504F3


def _f32(value: float) -> X:
    return tx.const(value, "float32")


def _i32(value: int) -> X:
    return tx.const(value, "int32")


def _polynomial(x: X, coefficients: tuple[float, ...]) -> X:
    result = _f32(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = tx.add(_f32(coefficient), tx.mul(x, result))
    return result


def exp2(writer: Writer, x: X, depth: int) -> X:
    """2 ** x for fp32: ``2**round(x)`` by adding to the exponent bits, the rest by a polynomial.

    Below -127 the result is 0, from 128 on it is inf, and NaN stays NaN: of two numbers that do
    not compare, TVM's min and max return the second.
    """
    clamped = tx.call("max", _f32(-127.0), tx.call("min", _f32(128.0), x))
    x = writer.bind("x", clamped, depth)
    whole = writer.bind("whole", tx.call("nearbyint", x), depth)
    rest = writer.bind("rest", tx.sub(x, whole), depth)
    power = tx.add(_f32(1.0), tx.mul(rest, _polynomial(rest, _EXP2)))
    bits = tx.reinterpret(power, "int32")
    shift = tx.infix("<<", tx.cast(whole, "int32"), _i32(23))
    return tx.reinterpret(tx.add(bits, shift), "float32")


def log2(writer: Writer, x: X, depth: int) -> X:
    """log2(x) for fp32: the exponent plus a polynomial in mantissa - 1, the mantissa between
    sqrt(1/2) and sqrt(2). 0 gives -inf, negative numbers and NaN give NaN."""
    x = writer.keep("x", x, depth)
    tiny = tx.infix("<", x, _f32(2.0**-126))
    normal = tx.select(tiny, tx.mul(x, _f32(2.0**24)), x)
    bits = writer.keep("bits", tx.reinterpret(normal, "int32"), depth)
    steps = tx.infix(">>", tx.sub(bits, _i32(_SQRT_HALF_BITS)), _i32(23))
    steps = writer.keep("steps", steps, depth)
    mantissa = tx.reinterpret(tx.sub(bits, tx.infix("<<", steps, _i32(23))), "float32")
    rest = writer.keep("rest", tx.sub(mantissa, _f32(1.0)), depth)
    exponent = tx.sub(steps, tx.select(tiny, _i32(24), _i32(0)))
    exponent = tx.cast(exponent, "float32")
    result = tx.add(exponent, tx.mul(rest, _polynomial(rest, _LOG2)))
    infinite = tx.infix("==", x, _f32(float("inf")))
    zero = tx.infix("==", x, _f32(0.0))
    special = tx.select(zero, _f32(float("-inf")), tx.infix("*", x, _f32(float("nan"))))
    result = tx.select(tx.infix(">", x, _f32(0.0)), result, special)
    return tx.select(infinite, x, result)


def to_storage(writer: Writer, x: X, dtype: str) -> X:
    """A computed value in the form its tensor of tile dtype `dtype` holds; halves are rounded to
    nearest even."""
    if dtype != "bf16":
        return tx.cast(x, tx.STORAGE[dtype])
    x = writer.bind("value", x)
    bits = writer.bind("bits", tx.reinterpret(x, "uint32"))
    u32 = [tx.const(n, "uint32") for n in (16, 1, 0x7FFF, 0x7FC0)]
    odd = tx.infix("&", tx.infix(">>", bits, u32[0]), u32[1])
    rounded = tx.infix(">>", tx.infix("+", tx.infix("+", bits, u32[2]), odd), u32[0])
    # Adding to the bits of a NaN could make it an infinity or a number.
    rounded = tx.select(tx.infix("==", x, x), rounded, u32[3])
    return tx.cast(rounded, "uint16")
