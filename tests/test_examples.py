"""docs/examples: each runs as it stands and says what its text promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
SAYS = {
    "prune": ("three-or-eight.onnx: ", "accuracy ", "restricted original ", "latency ", "recipe "),
    "own_preprocessing": ("arrays as they are", "7 / other: "),
    "gates": ("every gate holds: accuracy>=original-10pp, macs<=30%*original, parity",),
    "retarget": ("% of the MACs, ", "larger.onnx: "),
    "validate_foreign": ("accuracy ", "both answer alike on ", "McNemar p = ", "file ", "latency: "),
}


def test_every_example_is_tested_and_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)
    listed = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert all(f"examples/{name}.py" in listed for name in SAYS)


@pytest.fixture
def checkout(tmp_path):
    """A folder like this one, into which examples may write."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "docs" / "examples").mkdir(parents=True)
    for path in EXAMPLES.iterdir():
        (tmp_path / "docs" / "examples" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def ran(checkout: Path, name: str) -> subprocess.CompletedProcess[str]:
    script = checkout / "docs" / "examples" / f"{name}.py"
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize("name", SAYS)
def test_an_example(name, checkout):
    done = ran(checkout, name)
    assert done.returncode == 0, done.stderr
    assert all(words in done.stdout for words in SAYS[name]), done.stdout
    assert any((checkout / "build" / "examples").iterdir())


def test_the_gates_of_the_example_do_fail(checkout):
    path = checkout / "docs" / "examples" / "gates.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["judge"]["require"] += ["size<=1KiB"]
    path.write_text(yaml.safe_dump(recipe))
    done = ran(checkout, "gates")
    assert done.returncode == 1
    assert "size<=1KiB: FAILED" in done.stdout
    assert (checkout / "build" / "examples" / "gates.json").is_file()
