"""Union-find over channel labels, on arrays."""

import numpy as np

from seam_onnx.ops import Labels

__all__ = ["UnionFind"]


class UnionFind:
    """Disjoint sets of labels 0, 1, 2, ...; the smallest label stands for its set, so 0 ("pinned") always wins."""

    def __init__(self) -> None:
        self.parent = np.zeros(1, np.int64)
        self.size = 1

    def grow(self, count: int) -> Labels:
        """New labels (count,), each a set of its own. The array doubles when full: linear over all calls."""
        fresh = np.arange(self.size, self.size + count)
        self.size += count
        if self.size > len(self.parent):
            self.parent = np.concatenate([self.parent, np.arange(len(self.parent), 2 * self.size)])
        return fresh

    def find(self, labels: Labels) -> Labels:
        """The representative of each label. Cost: a few gathers (paths are halved on the way)."""
        roots = self.parent[labels]
        while True:
            above = self.parent[roots]
            if (above == roots).all():
                return roots
            self.parent[labels] = above
            roots = above

    def union(self, a: Labels, b: Labels) -> None:
        """Join the sets of a[i] and b[i] for every i after broadcasting."""
        a, b = np.broadcast_arrays(a, b)
        left, right = self.find(a.reshape(-1)), self.find(b.reshape(-1))
        while (differ := left != right).any():
            left, right = left[differ], right[differ]
            low, high = np.minimum(left, right), np.maximum(left, right)
            np.minimum.at(self.parent, high, low)
            left, right = self.find(left), self.find(right)

    def roots(self) -> Labels:
        """The representative of every label there is."""
        return self.find(np.arange(self.size))
