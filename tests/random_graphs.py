"""A hypothesis strategy for small convolutional networks in ONNX text, at a drawn opset.

Layout of what is drawn: an input (N, C, 8, 8), two to six steps, each of which turns values drawn so far into one more,
a head with five outputs, and sometimes an inner value as a second output. A step is a method of `Sketch` below.
"""

from dataclasses import dataclass, field

import onnx
from graphs import parse
from hypothesis import strategies as st

OPSETS = (8, 9, 10, 11, 12, 13, 17, 18, 20, 22)


@dataclass(frozen=True)
class Value:
    """An activation (N, width, size, size)."""

    name: str
    width: int
    size: int


@dataclass
class Sketch:
    """A graph being drawn."""

    draw: st.DrawFn
    opset: int
    lines: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    # ---- parts ----------------------------------------------------------------------------------------------------
    def new(self) -> str:
        return f"v{len(self.lines)}"

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = self.new()
        given = f" <{', '.join(f'{k} = {v}' for k, v in attributes.items())}>" if attributes else ""
        self.lines.append(f"{name} = {op}{given} ({', '.join(inputs)})")
        return name

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(f"float[{', '.join(map(str, shape))}] {name}" if shape else f"float {name}")
        return name

    def ints(self, *numbers: int) -> str:
        name, kind = f"c{len(self.lines)}_{len(self.weights)}", f"int64[{len(numbers)}]"
        listed = f"{{{', '.join(map(str, numbers))}}}"
        if self.opset < 9 or self.yes():  # Constant-1 makes floats only
            self.weights.append(f"{kind} {name} = {listed}")
        else:
            self.lines.append(f"{name} = Constant <value = {kind} {listed}> ()")
        return name

    def scalar(self, number: float) -> str:
        return self.node("Constant", value=f"float {{{number}}}")

    def pick(self, **limits: int) -> Value:
        fitting = [v for v in self.values if all(getattr(v, k) == n for k, n in limits.items())]
        return fitting[-1] if self.yes() else self.draw(st.sampled_from(fitting))

    def add(self, name: str, width: int, size: int) -> Value:
        self.values.append(Value(name, width, size))
        return self.values[-1]

    def yes(self) -> bool:
        return self.draw(st.booleans())

    def one(self, *choices: object):
        return self.draw(st.sampled_from(choices))

    def axes_of(self, op: str, x: str, axes: tuple[int, ...], since: int, **attributes: object) -> str:
        if self.opset < since:
            return self.node(op, x, axes=list(axes), **attributes)
        return self.node(op, x, self.ints(*axes), **attributes)

    # ---- steps ----------------------------------------------------------------------------------------------------
    def convolve(self, x: Value, out: int, kernel: int, stride: int = 1, group: int = 1, pad: bool = True) -> Value:
        pad = pad or x.size < kernel
        amount = kernel // 2 if pad else 0
        inputs = [x.name, self.weight(out, x.width // group, kernel, kernel)]
        inputs += [self.weight(out)] if self.yes() else []
        how = {"pads": [amount] * 4} if not pad or self.yes() else {"auto_pad": '"SAME_UPPER"'}
        y = self.node("Conv", *inputs, strides=[stride] * 2, group=group, **how)
        return self.add(y, out, (x.size + 2 * amount - kernel) // stride + 1)

    def conv(self) -> Value:
        return self.convolve(self.pick(), self.one(2, 4, 6, 8), self.one(1, 3), self.one(1, 2), pad=self.yes())

    def depthwise(self) -> Value:
        x = self.pick()
        return self.convolve(x, x.width * self.one(1, 2), 3, self.one(1, 2), group=x.width, pad=self.yes())

    def grouped(self) -> Value:
        x = self.pick()
        if x.width % 2:
            return self.conv()
        return self.convolve(x, self.one(4, 8, 12), self.one(1, 3), group=2, pad=self.yes())

    def batch_norm(self) -> Value:
        x = self.pick()
        parameters = [self.weight(x.width) for _ in range(4)]
        return self.add(self.node("BatchNormalization", x.name, *parameters), x.width, x.size)

    def activation(self) -> Value:
        x = self.pick()
        op = self.one("Relu", "Sigmoid", "Tanh", "Softplus", "Elu", "Abs", "Exp0", "Clip", "Dropout", "Identity", "PRelu")
        if op == "Clip" and self.opset < 11:
            y = self.node("Clip", x.name, min=0.1, max=1.0)
        elif op == "Clip":
            low, high = self.scalar(0.1), self.scalar(1.0)
            y = self.node("Clip", x.name, low, high)
        elif op == "PRelu":
            y = self.node("PRelu", x.name, self.weight(x.width, 1, 1))
        elif op == "Exp0":
            y = self.node("Exp", self.node("Neg", self.node("Abs", x.name)))
        else:
            y = self.node(op, x.name)
        return self.add(y, x.width, x.size)

    def binary(self) -> Value:
        x = self.pick()
        other = self.pick(width=x.width, size=x.size)
        return self.add(self.node(self.one("Add", "Mul", "Sub"), x.name, other.name), x.width, x.size)

    def residual(self) -> Value:
        x = self.pick()
        y = self.convolve(x, x.width, 3)
        return self.add(self.node("Add", *((x.name, y.name) if self.yes() else (y.name, x.name))), x.width, x.size)

    def shifted(self) -> Value:
        x = self.pick()
        shape = self.one((), (1,), (x.width, 1, 1), (1, x.width, 1, 1), (x.size, x.size), (1, 1, 1, 1), (x.width, x.size, 1))
        operands = [x.name, self.weight(*shape)]
        return self.add(self.node(self.one("Add", "Mul", "Sub"), *(operands if self.yes() else operands[::-1])), x.width, x.size)

    def concat(self) -> Value:
        x = self.pick()
        other = self.pick(size=x.size)
        return self.add(self.node("Concat", x.name, other.name, axis=self.one(1, -3 if self.opset > 10 else 1)), x.width + other.width, x.size)

    def squeeze_excite(self) -> Value:
        x = self.pick()
        pooled = self.mean(x)
        low = self.convolve(Value(pooled, x.width, 1), self.one(1, 2, 4), 1)
        high = self.convolve(Value(self.node("Relu", low.name), low.width, 1), x.width, 1)
        gate = self.node(self.one("Sigmoid", "HardSigmoid"), high.name)
        return self.add(self.node("Mul", *((x.name, gate) if self.yes() else (gate, x.name))), x.width, x.size)

    def mean(self, x: Value) -> str:
        if self.yes():
            return self.node("GlobalAveragePool", x.name)
        return self.axes_of("ReduceMean", x.name, self.one((2, 3), (-1, -2)), 18, keepdims=1)

    def pool(self) -> Value:
        x = self.pick()
        kernel, pad = self.one((2, 0), (3, 1))
        if x.size < kernel:
            return self.conv()
        op = self.one("MaxPool", "AveragePool")
        extra = {"count_include_pad": self.one(0, 1)} if op == "AveragePool" else {}
        y = self.node(op, x.name, kernel_shape=[kernel] * 2, strides=[2, 2], pads=[pad] * 4, **extra)
        return self.add(y, x.width, (x.size + 2 * pad - kernel) // 2 + 1)

    def pad(self) -> Value:
        x = self.pick()
        begin, end, around = self.one(0, 1, 2), self.one(0, 2), self.one(0, 1)
        amounts = [0, begin, around, around, 0, end, around, around]
        if self.opset < 11:
            y = self.node("Pad", x.name, pads=amounts, value=self.one(0.0, 0.5))
        else:
            fill = [self.scalar(0.5)] if self.yes() else []
            y = self.node("Pad", x.name, self.ints(*amounts), *fill)
        return self.add(y, x.width + begin + end, x.size + 2 * around)

    def slice_of(self, x: str, axes: tuple[int, ...], starts: tuple[int, ...], ends: tuple[int, ...]) -> str:
        if self.opset < 10:
            return self.node("Slice", x, axes=list(axes), starts=list(starts), ends=list(ends))
        return self.node("Slice", x, self.ints(*starts), self.ints(*ends), self.ints(*axes))

    def slice(self) -> Value:
        x = self.pick()
        start, width = self.one(0, 1) if x.width > 1 else 0, x.width
        far = -width - 5 if self.opset > 9 else 0  # onnx does not infer the shape of an old Slice that starts there
        choices = ((start, 1 << 40, width - start), (-1, width, 1), (far, -1 if width > 1 else 1, max(1, width - 1)))
        start, end, left = self.one(*choices)
        y = self.slice_of(x.name, (1,), (start,), (end,))
        if x.size > 2 and self.yes():
            y = self.slice_of(y, (2, -1 if self.opset > 9 else 3), (1, 1), (x.size, 1 << 40))
            return self.add(y, left, x.size - 1)
        return self.add(y, left, x.size)

    def split(self) -> Value:
        x = self.pick()
        if x.width < 2:
            return self.conv()
        sizes = (x.width // 2, x.width - x.width // 2)
        left, right = f"{self.new()}l", f"{self.new()}r"
        if x.width % 2 == 0 and self.yes():
            count = ", num_outputs = 2" if self.opset >= 18 else ""
            line = f"{left}, {right} = Split <axis = 1{count}> ({x.name})"
        elif self.opset < 13:
            line = f"{left}, {right} = Split <axis = 1, split = [{sizes[0]}, {sizes[1]}]> ({x.name})"
        else:
            line = f"{left}, {right} = Split <axis = 1> ({x.name}, {self.ints(*sizes)})"
        self.lines.append(line)
        self.add(left, sizes[0], x.size)
        return self.add(right, sizes[1], x.size)

    def shuffle(self) -> Value:
        x = self.pick()
        if x.width % 2:
            return self.conv()
        wide = self.node("Reshape", x.name, self.ints(0, 2, x.width // 2, x.size, x.size))
        turned = self.node("Transpose", wide, perm=[0, 2, 1, 3, 4])
        return self.add(self.node("Reshape", turned, self.ints(0, self.one(x.width, -1), x.size, x.size)), x.width, x.size)

    # ---- heads ----------------------------------------------------------------------------------------------------
    def flat(self, x: Value) -> tuple[str, int]:
        if self.yes():
            x = Value(self.mean(x), x.width, 1)
        how = self.one("Flatten", "Reshape", "Squeeze") if x.size == 1 else self.one("Flatten", "Reshape")
        if how == "Squeeze":
            return self.axes_of("Squeeze", x.name, (2, 3), 13), x.width
        count = x.width * x.size**2
        if how == "Flatten":
            return self.node("Flatten", x.name), count
        if self.yes():
            return self.node("Reshape", x.name, self.ints(*self.one((-1, count), (0, -1), (0, count)))), count
        batch = self.node("Gather", self.node("Shape", x.name), self.ints(0))
        return self.node("Reshape", x.name, self.node("Concat", batch, self.ints(self.one(-1, count)), axis=0)), count

    def head(self) -> None:
        y, count = self.flat(self.pick())
        if self.yes():
            turned = self.one(0, 1)
            bias = self.weight(*self.one((5,), (1, 5), (1,), ()))
            factors = self.one({}, {"alpha": 0.5, "beta": 2.0}, {"beta": 0.0})
            weight = self.weight(5, count) if turned else self.weight(count, 5)
            y = self.node("Gemm", y, weight, bias, transB=turned, **factors)
        else:
            y = self.node("Add", self.node("MatMul", y, self.weight(count, 5)), self.weight(5))
        self.lines.append(f"y = {self.one('Identity', 'Softmax')} ({y})")

    def text(self, extra: str | None) -> str:
        outputs = "float[N, 5] y" + (f", float[N, {extra.width}, {extra.size}, {extra.size}] {extra.name}" if extra else "")
        first = self.values[0]
        body = "\n  ".join(self.lines)
        return f"(float[N, {first.width}, {first.size}, {first.size}] x) => ({outputs}) <{', '.join(self.weights)}>\n{{ {body} }}"


STEPS = (
    "conv", "depthwise", "grouped", "batch_norm", "activation", "binary", "residual", "shifted", "concat",
    "squeeze_excite", "pool", "pad", "slice", "split", "shuffle",
)  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """A random model; its text is the doc string, which a failing test prints."""
    opset = draw(st.sampled_from(OPSETS))
    sketch = Sketch(draw, opset)
    sketch.add("x", draw(st.sampled_from((1, 3, 4))), 8)
    sketch.conv()
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)):
        getattr(sketch, step)()
    sketch.head()
    inner = [v for v in sketch.values[1:]]
    extra = draw(st.sampled_from(inner)) if draw(st.integers(0, 5)) == 0 else None
    text = sketch.text(extra)
    proto = parse(text, opset, seed=draw(st.integers(0, 3)))
    proto.doc_string = text
    return proto
