"""A toy problem of a second for tests of the search."""

from collections.abc import Callable

import numpy as np
import torch

from seam_onnx.data import Dataset, Preprocess, Splits
from seam_onnx.labels import Wanted
from seam_onnx.model import Model
from seam_onnx.search import (
    Aim,
    ChannelSearch,
    Found,
    Recipe,
    Views,
)
from seam_onnx.surgery.logits import logits_of
from seam_onnx.task import Task, make_task
from seam_onnx.teacher import Teacher

CPU = torch.device("cpu")
DEEP = """(float[N, 3, 8, 8] x) => (float[N, 5] y)
  <float[32, 3, 3, 3] w1, float[32] b1, float[32, 32, 3, 3] w2, float[32] s, float[32] t, float[32] m, float[32] v,
   float[32, 32, 3, 3] w3, float[32] b3, float[5, 32] g, float[5] h>
{ a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
  r = Relu (a)
  b = Conv <pads = [1, 1, 1, 1]> (r, w2)
  n = BatchNormalization (b, s, t, m, v)
  q = Relu (n)
  c = Conv <pads = [1, 1, 1, 1]> (q, w3, b3)
  d = Add (r, c)
  e = Relu (d)
  p = GlobalAveragePool (e)
  f = Flatten (p)
  y = Gemm <transB = 1> (f, g, h) }"""
"""A residual block: a group of 32 on the stream, and one of 32 in the branch, which may go as a whole."""
WRITTEN_OUT = """(float[N, 3, 8, 8] image) => (float[N, 5] y)
  <float[16, 3, 1, 1] a, float[16] b, float[16, 24] w, float[24] gamma, float[24, 16] v, float[16, 5] g,
   float[1] two = {2.0}, float[1] epsilon = {0.00001}>
{ c = Conv (image, a, b)
  r = GlobalAveragePool (c)
  f = Flatten (r)
  h = MatMul (f, w)
  m = ReduceMean <axes = [-1]> (h)
  d = Sub (h, m)
  q = Pow (d, two)
  u = ReduceMean <axes = [-1]> (q)
  e = Add (u, epsilon)
  s = Sqrt (e)
  n = Div (d, s)
  t = Mul (n, gamma)
  p = MatMul (t, v)
  k = Relu (p)
  y = MatMul (k, g) }"""
"""(N, 3, 8, 8) -> (N, 16, 8, 8) -> (N, 16) -> normalised (N, 24) -> (N, 16) -> (N, 5)"""
SHORT = Recipe(least=24, epochs=1, rounds=2, views=1, proposals=2)


def dataset(count: int, seed: int) -> Dataset:
    """Images whose colour tells the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 5
    colours = np.random.default_rng(9).standard_normal((5, 3, 1, 1)) * 2
    x = colours[y] + 0.5 * rng.standard_normal((count, 3, 8, 8))
    return Dataset(x.astype(np.float32), y.astype(np.int64), None)


def toy(*indices: int, rest: bool = False) -> Task:
    chosen = Wanted(indices, tuple(map(str, indices)), rest, 5)
    return make_task(chosen, Splits(dataset(200, 0), dataset(100, 1), dataset(100, 2), ()))


def views_of(model: Model, task: Task, seed: int = 0, augment: tuple[str, ...] = (), most: int = 2) -> Views:
    preprocess = Preprocess(size=(8, 8), augment=augment)
    return Views(task, preprocess, Teacher(model, CPU), CPU, seed, most)


def agree(*_: Model) -> None:
    """A check of surgery that looks away."""


def searched(
    base: Model, views: Views, aim: Aim, recipe: Recipe, recover: str = "finetune", check: Callable[..., None] = agree
) -> Found:
    return ChannelSearch(base, logits_of(base), views, aim, recipe, recover, 8, check).run()
