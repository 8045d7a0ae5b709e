"""The channel groups of a network drawn along it, as SVG text without any library.

Layers that multiply stand in graph order from left to right, each a bar as high as its output has channels. A group has
one colour wherever it occurs; pinned channels are hatched. A strip above the bars shows each layer's multiply-adds; the
legend has the dearest groups, and pointing at a bar names its layer.
"""

from collections.abc import Iterator
from html import escape

from seam_onnx.inspection import Inspection, LayerCost

__all__ = ["network_svg"]

BAR, GAP, LEFT, TOP = 14, 4, 60, 50
COST_HEIGHT, FLOOR, HEIGHT = 60, 140, 260
"""Height of the strip of costs, where the strip of channels begins, and its height."""
LINE, LEGEND = 18, 16
"""Height of a line of the legend, and how many groups it has at most."""
PINNED = "pinned: cannot be removed"
NARROWEST = 640
STYLE = "text { font: 12px system-ui, sans-serif; fill: #1b2430 } .soft { fill: #5b6675; font-size: 11px }"
HATCH = (
    '<pattern id="pinned" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="#eceff3"/><rect width="2" height="6" fill="#9aa3b0"/></pattern>'
)


def network_svg(found: Inspection, title: str) -> str:
    """The drawing, a whole SVG document; the same inspection gives the same text."""
    layers = [layer for layer in found.layers if layer.macs]
    colours = {group.name: colour(k) for k, group in enumerate(found.groups)}
    legend = list(legend_lines(found, colours))
    width = max(NARROWEST, LEFT + len(layers) * (BAR + GAP) + 20)
    height = FLOOR + HEIGHT + 40 + LINE * len(legend)
    parts = [*heading(found, title), *axes(layers, width), *bars(layers, colours), *legend]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f"<defs><style>{STYLE}</style>{HATCH}</defs>\n"
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def colour(index: int) -> str:
    """Neighbouring numbers get hues far apart: steps of the golden angle, in three lightnesses."""
    return f"hsl({index * 137.508 % 360:.0f} 62% {(45, 60, 35)[index // 12 % 3]}%)"


def heading(found: Inspection, title: str) -> Iterator[str]:
    """What is drawn, and how large it is."""
    summary = f"{title}: {found.params:,.0f} parameters, {found.macs:,.0f} MACs at batch 1, {len(found.groups)} groups"
    yield f'<text x="{LEFT}" y="20" font-weight="600">{escape(summary)}</text>'


def axes(layers: list[LayerCost], width: int) -> Iterator[str]:
    """Scales of both strips: lines at the largest number and at half of it."""
    for top, size, number, unit in (
        (TOP, COST_HEIGHT, max((layer.macs for layer in layers), default=0.0), "MACs of a layer"),
        (FLOOR, HEIGHT, float(max(map(channels, layers), default=0)), "channels of its output, by group"),
    ):
        yield f'<text class="soft" x="{LEFT}" y="{top - 6}">{unit}</text>'
        for share in (1.0, 0.5, 0.0):
            y = top + size * (1 - share)
            yield f'<line x1="{LEFT - 4}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e6e9ee"/>'
            label = short(number * share)
            yield f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'


def channels(layer: LayerCost) -> int:
    """Channels of a layer's output."""
    return sum(layer.groups.values()) + layer.pinned


def short(number: float) -> str:
    """A count with a unit prefix."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:.0f}"


def bars(layers: list[LayerCost], colours: dict[str, str]) -> Iterator[str]:
    """One column a layer: its cost above, its channels below, stacked by group with the pinned ones on top."""
    widest = max(map(channels, layers), default=1)
    dearest = max((layer.macs for layer in layers), default=0.0) or 1.0
    for k, layer in enumerate(layers):
        x, floor = LEFT + k * (BAR + GAP), float(FLOOR + HEIGHT)
        cost = COST_HEIGHT * layer.macs / dearest
        yield f"<g><title>{escape(described(layer))}</title>"
        yield rectangle(x, TOP + COST_HEIGHT - cost, cost, "#7a8699")
        for fill, count in (*((colours[g], n) for g, n in layer.groups.items()), ("url(#pinned)", layer.pinned)):
            size = HEIGHT * count / widest
            floor -= size
            yield rectangle(x, floor, size, fill) if count else ""
        yield "</g>"


def rectangle(x: float, y: float, height: float, fill: str) -> str:
    """A piece of a bar."""
    return f'<rect x="{x}" y="{y:.2f}" width="{BAR}" height="{height:.2f}" fill="{fill}"/>'


def described(layer: LayerCost) -> str:
    """What pointing at a bar shows."""
    parts = [f"{count} of group {name}" for name, count in layer.groups.items()]
    parts += [f"{layer.pinned} pinned"] if layer.pinned else []
    return f"{layer.op} {layer.node}: {'; '.join(parts)}; {layer.macs:,.0f} MACs, {layer.params:,} parameters"


def legend_lines(found: Inspection, colours: dict[str, str]) -> Iterator[str]:
    """The pinned hatch and the dearest groups with what each would save."""
    dearest = sorted(found.groups, key=lambda group: -group.macs)
    entries = [("url(#pinned)", PINNED)]
    for group in dearest[:LEGEND]:
        share = group.macs / found.macs if found.macs else 0.0
        saved = f"{short(group.macs)} MACs ({share:.0%}) gone with it"
        text = f"{group.name}: {group.channels} channels, {len(group.axes)} axes, {saved}"
        entries.append((colours[group.name], text))
    if len(dearest) > LEGEND:
        entries.append(("none", f"and {len(dearest) - LEGEND} groups that cost less"))
    for k, (fill, text) in enumerate(entries):
        y = FLOOR + HEIGHT + 24 + k * LINE
        yield f'<rect x="{LEFT}" y="{y - 10}" width="12" height="12" fill="{fill}"/>'
        yield f'<text x="{LEFT + 18}" y="{y}">{escape(text)}</text>'
