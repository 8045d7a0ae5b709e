"""Milliseconds of layers on this machine: measured once, then read from the user's cache folder.

    times = LayerTimes("cpu", threads=1)
    times.of([Layer("Conv", ...), ...])         # {layer: ms, or None where onnxruntime cannot run it}

One JSON file a machine: its name is a hash of how layers are measured, onnxruntime's version, provider, device and the
number of threads, its keys are layers. It may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from seam_onnx.atomic import write_text
from seam_onnx.errors import PathError
from seam_onnx.validate.environment import device_facts
from seam_onnx.validate.layer import Layer, layer_ms
from seam_onnx.validate.providers import Provider

__all__ = ["LayerTimes", "cache_folder"]

METHOD = "2"
"""Changes when layers are measured in another way."""


class LayerTimes:
    """What is known of layers on one provider of this machine.

    Args:
        provider: `cpu`, `cuda` or `tensorrt`.
        threads: threads within one operator; 0 means all physical cores.
        folder: where the file lies.
    """

    def __init__(self, provider: Provider = "cpu", threads: int = 1, folder: Path | None = None) -> None:
        self.provider: Provider = provider
        self.threads = threads
        self.machine = {"method": METHOD, **device_facts(provider), "provider": provider, "threads": str(threads)}
        digest = hashlib.sha256(json.dumps(self.machine, sort_keys=True).encode()).hexdigest()[:16]
        self.path = (folder or cache_folder()) / f"layers-{digest}.json"
        self.known = self.read()

    def of(
        self, layers: Sequence[Layer], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, float | None]:
        """Milliseconds by the key of each layer; those not known yet are measured, some 20 ms each, and kept.

        Args:
            layers: any.
            progress: told how many of the missing ones are done.
        """
        missing = {layer.key: layer for layer in layers if layer.key not in self.known}
        for done, (key, layer) in enumerate(missing.items(), 1):
            self.known[key] = layer_ms(layer, self.provider, self.threads)
            progress(done, len(missing))
        if missing:
            self.write()
        return {layer.key: self.known[layer.key] for layer in layers}

    def read(self) -> dict[str, float | None]:
        """What the file has; nothing where there is none that can be read."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))["layers"]
            return {str(key): None if ms is None else float(ms) for key, ms in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def write(self) -> None:
        """Keep what is known, with what another run has found meanwhile; where nothing can be written, do without."""
        text = json.dumps({"machine": self.machine, "layers": self.read() | self.known}, indent=1)
        with contextlib.suppress(PathError):
            write_text(self.path, text)


def cache_folder() -> Path:
    """This project's folder among the user's caches; `XDG_CACHE_HOME` moves it."""
    usual = {"darwin": Path.home() / "Library" / "Caches", "win32": Path(os.environ.get("LOCALAPPDATA", Path.home()))}
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else usual.get(sys.platform, Path.home() / ".cache")) / "seam-onnx"
