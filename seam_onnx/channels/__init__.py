"""Channels: labels, the walk that ties them, and which of them are constant or needed."""

from seam_onnx.channels.analyze import Alive, Axis, Channels, Cost, Group, analyze
from seam_onnx.channels.trace import Binding, Work

__all__ = ["Alive", "Axis", "Binding", "Channels", "Cost", "Group", "Work", "analyze"]
