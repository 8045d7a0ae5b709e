"""onnxruntime's verdict on the models of one run: sanity, parity, accuracy, latency."""

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from seam_onnx.data import Dataset, Preprocess
from seam_onnx.errors import DataError, ModelError
from seam_onnx.model import Model, save, serialized
from seam_onnx.progress import Event, Observer
from seam_onnx.report import Accuracies, Proof
from seam_onnx.surgery.head import scores_of
from seam_onnx.surgery.logits import activation_of, logits_of
from seam_onnx.task import Task
from seam_onnx.teacher import Teacher
from seam_onnx.validate import (
    PARITY_LIMIT,
    Latency,
    Paired,
    Parity,
    Provider,
    Session,
    accuracy,
    as_logits,
    assert_parity,
    compare,
    measure,
    open_session,
    paired,
)  # fmt: skip

__all__ = ["Judge"]

LOWERING_LIMIT = 1e-3
"""Largest difference of outputs, of their range, between the torch module and onnxruntime.

Healthy models sit near 3e-7, fp16 ones near 4e-4.
"""
QUANTUM_LIMIT = 0.05
"""The same where activations are quantised: about twelve steps of an 8-bit output, whose step is 1/255 of its range.

Before each QuantizeLinear two sound runtimes differ by float rounding, some 1e-7 of the range, that is 3e-5 of a step.
That share of the integers lies so close to an edge that one of the two rounds them up and the other down. Each of these is
a whole step to the layers behind, so that of outputs, which are quantised themselves, nothing or a few whole steps differ.
Measured on random input with nine networks (two ResNet-20, ResNet-8 and -56, SqueezeNet, two MobileNets, DS-CNN, digits),
onnxruntime's quantiser, uint8 with weights by channel, five of them also int8 by tensor:

    torch against onnxruntime                               0 to 3 steps, at most 0.0123 (MobileNet v1, 1000 classes)
    onnxruntime against itself, its integer kernels
        against the same file unfused (four networks)       0 to 3 steps, at most 0.0119 (the same)
    the quantised network against the float one             0.010 to 0.083

So torch is as near to onnxruntime as onnxruntime is to itself, and the limit is four times the most that was seen. It stands
for mistakes that are larger than quantisation itself; one that is smaller would pass in some of these networks.
"""
PROBE = 16
"""Samples for parity."""
Scores = NDArray[np.float32]


class Judge:
    """Holds the original's session and the data; everything it says is by onnxruntime."""

    def __init__(
        self,
        model: Model,
        task: Task,
        preprocess: Preprocess,
        provider: Provider,
        threads: int,
        observer: Observer,
    ) -> None:
        self.model, self.task, self.preprocess, self.observer = model, task, preprocess, observer
        self.provider: Provider = provider
        self.threads = threads
        self.output = str(scores_of(model).name)
        self.session = self.opened(model)
        self.surgery: list[Parity] = []
        self.lowering: Parity | None = None
        self.val = self.logits(self.session, task.val)

    def opened(self, model: Model, *, exact: bool = False, threads: int | None = None) -> Session:
        """A session for a model in memory, by a temporary file where protobuf is too small; by default with the run's
        threads."""
        threads = self.threads if threads is None else threads
        size = sum(v.const_value.nbytes for v in model.initializers.values() if v.const_value is not None)
        if size < 1 << 30:
            return open_session(serialized(model), self.provider, threads, exact=exact)
        with tempfile.TemporaryDirectory() as folder:
            path = save(model, Path(folder) / "model.onnx")
            return open_session(path, self.provider, threads, exact=exact)

    def samples(self, data: Dataset, count: int | None = None) -> Scores:
        """Normalised samples (N, ...)."""
        return self.preprocess.normalize(data.x[:count])

    def scores(self, session: Session, data: Dataset, batch: int = 64) -> Scores:
        """Scores (N, outputs) of a model on a split."""
        parts = [self.answer(session, self.samples_at(data, k, batch)) for k in range(0, len(data), batch)]
        return np.concatenate(parts)

    def answer(self, session: Session, x: Scores) -> Scores:
        """Scores (N, outputs) of samples (N, ...), from the output that holds the classes."""
        scores: Scores = session.run(x)[session.output_names.index(self.output)].astype(np.float32)
        return scores.reshape(len(scores), -1)

    def samples_at(self, data: Dataset, start: int, count: int) -> Scores:
        """Normalised samples from `start` on."""
        return self.preprocess.normalize(data.x[start : start + count])

    def logits(self, session: Session, data: Dataset) -> Scores:
        """A model's logits (N, outputs) on a split."""
        return as_logits(self.scores(session, data))

    @property
    def plain(self) -> bool:
        """Does onnxruntime give the original's logits, in float32 from end to end, and for batches of any size?"""
        tensors = [v.const_value for v in self.model.initializers.values() if v.const_value is not None]
        float32 = all(t.dtype == ir.DataType.FLOAT for t in tensors if t.dtype.is_floating_point())
        direct = self.output == logits_of(self.model) and self.session.fixed_batch is None
        return direct and float32 and self.session.input_dtype == np.float32 and not self.quantised

    @property
    def quantised(self) -> bool:
        """Are activations rounded to integers?"""
        return any(node.op_type == "QuantizeLinear" for node in self.model.graph)

    def check_sanity(self) -> None:
        """Refuse data on which the original is no better than guessing."""
        right = accuracy(self.free(self.val), self.task.val.y)
        chance = 1 / len(self.task.wanted.outputs) if self.task.wanted.rest else 1 / self.task.wanted.classes
        margin = 3 * (chance * (1 - chance) / right.total) ** 0.5
        if right.value <= chance + margin and self.task.wanted.classes > 2:
            raise DataError(
                f"original model on {right.total} validation samples",
                f"answers {right.value:.1%} right, which is near chance ({chance:.1%})",
                "check preprocessing (--mean --std --scale --channels --layout) and the order of the labels (--names)",
            )

    def free(self, scores: Scores) -> Scores:
        """The original's free answer as scores over the task's outputs; one that is no output scores nowhere."""
        labels = self.task.wanted.relabel(scores.argmax(1))
        columns = np.zeros((len(labels), len(self.task.wanted.outputs) + 1), np.float32)
        columns[np.arange(len(labels)), labels] = 1  # -1 is the extra, last column
        return columns

    def original_on_val(self) -> float:
        """The original's free accuracy on validation: SeaM's threshold."""
        return accuracy(self.free(self.val), self.task.val.y).value

    def check_lowering(self, teacher: Teacher) -> None:
        """Compare the torch module with onnxruntime on real input."""
        probe = self.samples(self.task.val, PROBE)
        session = self.opened(self.model, exact=True) if self.quantised else self.session
        node = activation_of(self.model)
        activation = None if node is None else node.op_type
        expected, found = (
            self.answer(session, probe),
            activated(teacher.scores(probe), activation),
        )
        self.lowering = compare([expected], [found])
        limit = QUANTUM_LIMIT if self.quantised else LOWERING_LIMIT
        assert_parity(self.lowering, limit, "the model in torch against onnxruntime")

    def check_surgery(self, masked: Model, pruned: Model) -> None:
        """Compare a pruned model with its masked form on real input."""
        probe = self.samples(self.task.val, PROBE)
        found = compare(*(self.opened(model, exact=True).run(probe) for model in (masked, pruned)))
        assert_parity(found, PARITY_LIMIT, "the pruned against the masked model")
        self.surgery.append(found)

    def paired(self, data: Dataset, original: Scores, session: Session) -> Paired:
        """The original, whose logits these are, and a model on a split."""
        free = self.task.wanted.relabel(original.argmax(1)) == data.y
        return paired(free, self.task.wanted.restrict(original), self.logits(session, data), data.y)

    def shipped(self) -> Session:
        """The original as its user has it, not as it was read: what is timed."""
        return self.session if self.model.path is None else open_session(self.model.path, self.provider, self.threads)

    def restricted_on_val(self) -> float:
        """The original's accuracy on validation, restricted to the wanted outputs."""
        return accuracy(self.task.wanted.restrict(self.val), self.task.val.y).value

    def timed(self, model: Model, seconds: float = 0.3) -> Latency:
        """The original and a model in turns, at the smallest batch; quick, for the choice among many."""
        sessions = {"original": self.session, "pruned": self.opened(model)}
        return measure(sessions, self.samples(self.task.val, 8), rounds=20, min_seconds=seconds, max_seconds=10)

    def latency_ratio(self, model: Model) -> float:
        """Share of the original's median latency that a model stays below, by 95 % confidence.

        Of many models a search takes the largest that is fast enough: by the ratios themselves, the luckiest reading.
        """
        return self.timed(model, seconds=1.0).comparisons[0].interval.high

    def milliseconds(self, model: Model) -> float:
        """Median latency of a model."""
        return self.timed(model).timing("pruned").p50

    def race(self, path: Path, batches: tuple[int, ...]) -> Latency:
        """The saved file's latency against the original's, in full."""
        session = open_session(path, self.provider, self.threads)
        return measure(
            {"original": self.shipped(), "pruned": session}, self.samples(self.task.val, 64), batches=batches,
            progress=lambda p: self.observer(Event("latency", p.round, p.rounds)),
        )  # fmt: skip

    def prove(self, path: Path, latency: Latency) -> Proof:
        """Judge the saved file, whose latency is known: accuracy on validation and, once, on test."""
        session = open_session(path, self.provider, self.threads)
        if self.lowering is None:
            raise ModelError(path, "the lowering was not checked", "call check_lowering first")
        val = self.paired(self.task.val, self.val, session)
        test = self.paired(self.task.test, self.logits(self.session, self.task.test), session)
        return Proof(tuple(self.surgery), self.lowering, Accuracies.of(val), test, latency)


def activated(logits: Scores, activation: str | None) -> Scores:
    """What an op over the classes, if there is one, makes of logits (N, classes)."""
    if activation is None:
        return logits
    if activation == "Sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0, -logits)))
    shifted = logits - logits.max(1, keepdims=True)
    result = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return np.asarray(np.exp(result) if activation == "Softmax" else result)
