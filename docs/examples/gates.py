"""Gate in continuous integration: the step fails where the model is not what was promised, and says by how much.

The same as a command: seam-onnx prune --recipe docs/examples/gates.yaml
"""

import sys
from pathlib import Path

import seam_onnx

try:
    report = seam_onnx.reengineer(recipe=Path(__file__).with_name("gates.yaml"))
except seam_onnx.GateError as error:
    print(error)  # all files are written by now: look into build/examples/gates.json
    sys.exit(error.exit_code)
print(f"every gate holds: {', '.join(report.recipe['judge']['require'])}")
