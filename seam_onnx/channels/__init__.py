"""Channels: labels, the walk that ties them, and which of them are constant or needed."""

from seam_onnx.channels.analyze import Alive, Axis, Channels, Cost, Group, analyze
from seam_onnx.channels.detours import Detour
from seam_onnx.channels.records import Binding, Meeting, Mix, Work

__all__ = ["Alive", "Axis", "Binding", "Channels", "Cost", "Detour", "Group", "Meeting", "Mix", "Work", "analyze"]
