"""The command line in this process, and small stand-ins for pruned models."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from seam_onnx_cli.main import run

from seam_onnx.labels import wanted
from seam_onnx.model import load, save
from seam_onnx.provenance import stamped
from seam_onnx.surgery import cut_head

DIGITS = Path(__file__).parents[1] / "models" / "digits"
NAMES = tuple("0123456789")
QUICK = tuple(f"--set=search.{one}" for one in ("least=12", "rounds=2", "views=1", "proposals=2"))
"""A prune of few steps, for tests that are not about accuracy."""


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What `--json -` printed."""
        return json.loads(self.out)


def seam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Ran:
    """`seam-onnx` with these arguments."""
    monkeypatch.setattr("sys.argv", ["seam-onnx", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        run()
    printed = capsys.readouterr()
    return Ran(int(ended.value.code or 0), printed.out, printed.err)


def cut_digits(path: Path, labels: str, *, stamp: bool = True) -> Path:
    """The digits model with the wanted labels alone: right by construction, and made in milliseconds."""
    model = load(DIGITS / "model.onnx")
    chosen = wanted(labels, 10, NAMES, False)
    cut = cut_head(model, chosen.indices, rest=chosen.rest)
    return save(stamped(cut, model, chosen) if stamp else cut, path, overwrite=True)
