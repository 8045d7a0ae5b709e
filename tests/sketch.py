"""A small network while it is being drawn: ONNX text, line by line, in the forms that its opset has."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Value:
    """An activation (N, width, size, size)."""

    name: str
    width: int
    size: int


@dataclass
class Sketch:
    """A graph being drawn: its lines, its weights' declarations, and the activations there are so far."""

    draw: st.DrawFn
    opset: int
    lines: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    # ---- choices ------------------------------------------------------------------------------------------
    def yes(self) -> bool:
        return self.draw(st.booleans())

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def either(self, *operands: str) -> tuple[str, ...]:
        """The operands in one order or the other."""
        return operands if self.yes() else operands[::-1]

    def pick(self, **limits: int) -> Value:
        """One of the activations with these sizes, mostly a late one."""
        fitting = [v for v in self.values if all(getattr(v, k) == n for k, n in limits.items())]
        return fitting[-1] if self.yes() else self.draw(st.sampled_from(fitting))

    # ---- lines --------------------------------------------------------------------------------------------
    def new(self) -> str:
        """A name for the next line's result."""
        return f"v{len(self.lines)}"

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        """One more line; the name of what it makes."""
        name = self.new()
        given = ", ".join(f"{key} = {value}" for key, value in attributes.items())
        self.lines.append(f"{name} = {op} {f'<{given}>' if given else ''} ({', '.join(inputs)})")
        return name

    def add(self, name: str, width: int, size: int) -> Value:
        """Note an activation that later steps may read."""
        self.values.append(Value(name, width, size))
        return self.values[-1]

    # ---- constants ----------------------------------------------------------------------------------------
    def weight(self, *shape: int) -> str:
        """A random floating-point initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(f"float[{', '.join(map(str, shape))}] {name}" if shape else f"float {name}")
        return name

    def ints(self, *numbers: int) -> str:
        """An int64 vector: an initializer or a Constant node."""
        name, kind = f"c{len(self.lines)}_{len(self.weights)}", f"int64[{len(numbers)}]"
        listed = f"{{{', '.join(map(str, numbers))}}}"
        if self.opset < 9 or self.yes():  # Constant-1 makes floats only
            self.weights.append(f"{kind} {name} = {listed}")
        else:
            self.lines.append(f"{name} = Constant <value = {kind} {listed}> ()")
        return name

    def scalar(self, number: float) -> str:
        """A float constant."""
        return self.node("Constant", value=f"float {{{number}}}")

    # ---- forms that changed with the opset ------------------------------------------------------------------
    def over(self, op: str, x: str, axes: tuple[int, ...], since: int, **attributes: object) -> str:
        """An op with axes, which are an attribute before opset `since` and an operand from then on."""
        if self.opset < since:
            return self.node(op, x, axes=list(axes), **attributes)
        return self.node(op, x, self.ints(*axes), **attributes)

    def slice(self, x: str, axes: tuple[int, ...], starts: tuple[int, ...], ends: tuple[int, ...]) -> str:
        """Slice, with its bounds as attributes or as operands."""
        if self.opset < 10:
            return self.node("Slice", x, axes=list(axes), starts=list(starts), ends=list(ends))
        return self.node("Slice", x, self.ints(*starts), self.ints(*ends), self.ints(*axes))

    def mean(self, x: Value) -> str:
        """Mean over space, kept as 1 x 1."""
        if self.yes():
            return self.node("GlobalAveragePool", x.name)
        return self.over("ReduceMean", x.name, self.one((2, 3), (-1, -2)), 18, keepdims=1)

    def text(self, extra: Value | None) -> str:
        """The graph; its input is the first value, its outputs are y (N, 5) and perhaps one more."""
        outputs, x = "float[N, 5] y", self.values[0]
        if extra is not None:
            outputs += f", float[N, {extra.width}, {extra.size}, {extra.size}] {extra.name}"
        header = f"(float[N, {x.width}, {x.size}, {x.size}] x) => ({outputs}) <{', '.join(self.weights)}>"
        return header + "\n{ " + "\n  ".join(self.lines) + " }"
