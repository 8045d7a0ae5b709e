"""Reading option values that typer has no type for."""

from collections.abc import Sequence

from seam_onnx.errors import UsageError

__all__ = ["floats", "pair", "sizes"]


def floats(text: str | None, option: str) -> tuple[float, ...] | None:
    """Comma-separated numbers."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} {text!r}", "is not a list of numbers", "write for example .485,.456,.406"
        ) from None


def pair(text: str | None, option: str) -> tuple[int, int] | None:
    """`224` or `240x320` as (height, width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdigit() for part in parts) or len(parts) > 2:
        raise UsageError(f"{option} {text!r}", "is not a size", "write 224 or 240x320 (height x width)")
    return int(parts[0]), int(parts[-1])


def sizes(entries: Sequence[str]) -> dict[str, int]:
    """`name=size` entries."""
    found = {}
    for entry in entries:
        name, _, size = entry.partition("=")
        if not name or not size.isdigit() or int(size) < 1:
            raise UsageError(f"--shape {entry!r}", "is not name=size", "write for example --shape seq=128")
        found[name] = int(size)
    return found
