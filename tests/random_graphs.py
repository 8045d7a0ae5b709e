"""A hypothesis strategy for small convolutional networks at a drawn opset.

Layout of what is drawn: an input (N, C, 8, 8), a convolution, one to six steps, each of which turns activations drawn
so far into one more, a head with five outputs, and sometimes an inner activation as a second output.
"""

import onnx
from graphs import parse
from hypothesis import strategies as st
from sketch import Sketch, Value

OPSETS = (7, 8, 9, 10, 11, 12, 13, 17, 18, 20, 22)
FAR = 1 << 40


def convolve(s: Sketch, x: Value, out: int, kernel: int, stride: int = 1, group: int = 1, pad: bool = True) -> Value:
    pad = pad or x.size < kernel
    amount = kernel // 2 if pad else 0
    operands = [x.name, s.weight(out, x.width // group, kernel, kernel), *([s.weight(out)] if s.yes() else [])]
    how = {"auto_pad": s.one('"SAME_UPPER"', '"SAME_LOWER"')} if pad else {"auto_pad": '"VALID"'}
    how = {"pads": [amount] * 4} if s.yes() else how
    y = s.node("Conv", *operands, strides=[stride] * 2, group=group, **how)
    return s.add(y, out, (x.size + 2 * amount - kernel) // stride + 1)


def conv(s: Sketch) -> Value:
    return convolve(s, s.pick(), s.one(2, 4, 6, 8), s.one(1, 3), s.one(1, 2), pad=s.yes())


def depthwise(s: Sketch) -> Value:
    x = s.pick()
    return convolve(s, x, x.width * s.one(1, 2), 3, s.one(1, 2), group=x.width, pad=s.yes())


def grouped(s: Sketch) -> Value:
    x = s.pick()
    return convolve(s, x, s.one(4, 8, 12), s.one(1, 3), group=1 if x.width % 2 else 2, pad=s.yes())


def shared(s: Sketch) -> Value:
    """Two convolutions with one weight."""
    x = s.pick()
    other, out = s.pick(width=x.width), s.one(x.width, 4)
    w = s.weight(out, x.width, 1, 1)
    s.add(s.node("Conv", other.name, w), out, other.size)
    return s.add(s.node("Conv", x.name, w), out, x.size)


def batch_norm(s: Sketch) -> Value:
    x = s.pick()
    parameters = [s.weight(x.width) for _ in range(4)]
    return s.add(s.node("BatchNormalization", x.name, *parameters), x.width, x.size)


def activation(s: Sketch) -> Value:
    x = s.pick()
    op = s.one("Relu", "Sigmoid", "Tanh", "Softplus", "Elu", "Abs", "Exp", "Clip", "Dropout", "Identity", "PRelu")
    if op == "Clip" and s.opset < 11:
        y = s.node("Clip", x.name, min=0.1, max=1.0)
    elif op == "Clip":
        y = s.node("Clip", x.name, s.scalar(0.1), s.scalar(1.0))
    elif op == "PRelu":
        y = s.node("PRelu", x.name, s.weight(*s.one((x.width, 1, 1), (1,), (x.width, x.size, 1))))
    elif op == "Exp":
        y = s.node("Exp", s.node("Neg", s.node("Abs", x.name)))
    else:
        y = s.node(op, x.name)
    return s.add(y, x.width, x.size)


def binary(s: Sketch) -> Value:
    x = s.pick()
    other = s.pick(width=x.width, size=x.size)
    return s.add(s.node(s.one("Add", "Mul", "Sub"), x.name, other.name), x.width, x.size)


def residual(s: Sketch) -> Value:
    x = s.pick()
    y = convolve(s, x, x.width, 3)
    if y.size != x.size:  # no padding was drawn that keeps the size
        return y
    return s.add(s.node("Add", *s.either(x.name, y.name)), x.width, x.size)


def with_constant(s: Sketch) -> Value:
    x = s.pick()
    c, n = x.width, x.size
    shape = s.one((), (1,), (c, 1, 1), (1, c, 1, 1), (n, n), (1, 1, 1, 1), (c, n, 1), (1, n))
    return s.add(s.node(s.one("Add", "Mul", "Sub"), *s.either(x.name, s.weight(*shape))), c, n)


def concat(s: Sketch) -> Value:
    x = s.pick()
    other = s.pick(size=x.size)
    y = s.node("Concat", x.name, other.name, axis=s.one(1, -3 if s.opset > 10 else 1))
    return s.add(y, x.width + other.width, x.size)


def squeeze_excite(s: Sketch) -> Value:
    x = s.pick()
    low = convolve(s, Value(s.mean(x), x.width, 1), s.one(1, 2, 4), 1)
    high = convolve(s, Value(s.node("Relu", low.name), low.width, 1), x.width, 1)
    gate = s.node(s.one("Sigmoid", "HardSigmoid"), high.name)
    return s.add(s.node("Mul", *s.either(x.name, gate)), x.width, x.size)


def spatial_gate(s: Sketch) -> Value:
    """One channel that multiplies all."""
    x = s.pick()
    one = convolve(s, x, 1, 1)
    return s.add(s.node("Mul", *s.either(x.name, s.node("Sigmoid", one.name))), x.width, x.size)


def pool(s: Sketch) -> Value:
    x = s.pick()
    kernel, pad = s.one((2, 0), (3, 1))
    if x.size < kernel:
        return conv(s)
    op = s.one("MaxPool", "AveragePool")
    extra = {"count_include_pad": s.one(0, 1)} if op == "AveragePool" else {}
    y = s.node(op, x.name, kernel_shape=[kernel] * 2, strides=[2, 2], pads=[pad] * 4, **extra)
    return s.add(y, x.width, (x.size + 2 * pad - kernel) // 2 + 1)


def pad(s: Sketch) -> Value:
    x = s.pick()
    begin, end, around = s.one(0, 1, 2), s.one(0, 2), s.one(0, 1)
    amounts = [0, begin, around, around, 0, end, around, around]
    if s.opset < 11:
        y = s.node("Pad", x.name, pads=amounts, value=s.one(0.0, 0.5))
    else:
        y = s.node("Pad", x.name, s.ints(*amounts), *([s.scalar(0.5)] if s.yes() else []))
    return s.add(y, x.width + begin + end, x.size + 2 * around)


def part(s: Sketch) -> Value:
    """Some channels, by bounds that are negative or far outside."""
    x = s.pick()
    width, start = x.width, s.one(0, 1) if x.width > 1 else 0
    far = -width - 5 if s.opset > 9 else 0  # onnx does not infer the shape of an older Slice that starts there
    stop = (far, -1, width - 1) if width > 1 else (far, 1, 1)
    first, last, left = s.one((start, FAR, width - start), (-1, width, 1), stop)
    y = s.slice(x.name, (1,), (first,), (last,))
    if x.size > 2 and s.yes():
        y = s.slice(y, (2, -1 if s.opset > 9 else 3), (1, 1), (x.size, FAR))
        return s.add(y, left, x.size - 1)
    return s.add(y, left, x.size)


def split(s: Sketch) -> Value:
    """Two parts: equal ones by default or by count, or of given sizes."""
    x = s.pick()
    if x.width < 2:
        return conv(s)
    sizes = [x.width // 2, x.width - x.width // 2]
    count = ", num_outputs = 2" if s.opset >= 18 else ""
    sized = f", split = {sizes}" if s.opset < 13 else ""
    left, right = f"{s.new()}l", f"{s.new()}r"
    if x.width % 2 == 0 and s.yes():
        s.lines.append(f"{left}, {right} = Split <axis = 1{count}> ({x.name})")
    else:
        operand = "" if sized else f", {s.ints(*sizes)}"
        s.lines.append(f"{left}, {right} = Split <axis = 1{sized}> ({x.name}{operand})")
    s.add(left, sizes[0], x.size)
    return s.add(right, sizes[1], x.size)


def shuffle(s: Sketch) -> Value:
    x = s.pick()
    if x.width % 2:
        return conv(s)
    wide = s.node("Reshape", x.name, s.ints(0, 2, x.width // 2, x.size, x.size))
    turned = s.node("Transpose", wide, perm=[0, 2, 1, 3, 4])
    y = s.node("Reshape", turned, s.ints(0, s.one(x.width, -1), x.size, x.size))
    return s.add(y, x.width, x.size)


def linear(s: Sketch) -> Value:
    """Channels last, as (N, H, W, C) or as (N, H W, C), through a MatMul."""
    x = s.pick()
    out, flat = s.one(2, 4, 6), s.yes()
    if flat:
        last = s.node("Transpose", s.node("Reshape", x.name, s.ints(0, 0, -1)), perm=[0, 2, 1])
    else:
        last = s.node("Transpose", x.name, perm=[0, 2, 3, 1])
    y = s.node("MatMul", last, s.weight(x.width, out))
    y = s.node("Add", *s.either(y, s.weight(out))) if s.yes() else y
    if flat:
        y = s.node("Reshape", s.node("Transpose", y, perm=[0, 2, 1]), s.ints(0, out, x.size, x.size))
    else:
        y = s.node("Transpose", y, perm=[0, 3, 1, 2])
    return s.add(y, out, x.size)


def flat(s: Sketch, x: Value) -> tuple[str, int]:
    """The features (N, count) of an activation."""
    if s.yes():
        x = Value(s.mean(x), x.width, 1)
    count = x.width * x.size**2
    if x.size == 1 and s.yes():
        return s.over("Squeeze", x.name, (2, 3), 13), count
    if s.yes():
        return s.node("Flatten", x.name), count
    if s.yes():
        return s.node("Reshape", x.name, s.ints(*s.one((-1, count), (0, -1), (0, count)))), count
    batch = s.node("Gather", s.node("Shape", x.name), s.ints(0))
    return s.node("Reshape", x.name, s.node("Concat", batch, s.ints(s.one(-1, count)), axis=0)), count


def head(s: Sketch) -> None:
    """y (N, 5): Gemm in all its forms, or MatMul and Add, and perhaps Softmax."""
    y, count = flat(s, s.pick())
    if s.yes():
        turned, bias = s.one(0, 1), s.weight(*s.one((5,), (1, 5), (1,), ()))
        factors = s.one({}, {"alpha": 0.5, "beta": 2.0}, {"beta": 0.0})
        weight = s.weight(5, count) if turned else s.weight(count, 5)
        y = s.node("Gemm", y, weight, bias, transB=turned, **factors)
    else:
        y = s.node("MatMul", y, s.weight(count, 5))
        y = s.node("Add", *s.either(y, s.weight(5))) if s.yes() else y
    s.lines.append(f"y = {s.one('Identity', 'Softmax')} ({y})")


STEPS = (
    conv, depthwise, grouped, shared, batch_norm, activation, binary, residual, with_constant, concat,
    squeeze_excite, spatial_gate, pool, pad, part, split, shuffle, linear,
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """A random model; its text is the doc string, which a failing test prints."""
    opset = draw(st.sampled_from(OPSETS))
    s = Sketch(draw, opset)
    s.add("x", draw(st.sampled_from((1, 3, 4))), 8)
    conv(s)
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        step(s)
    head(s)
    extra = draw(st.sampled_from(s.values[1:])) if draw(st.integers(0, 5)) == 0 else None
    text = s.text(extra)
    proto = parse(text, opset, seed=draw(st.integers(0, 3)))
    proto.doc_string = text
    return proto
