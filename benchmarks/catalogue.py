"""The classifiers that the coverage sweep exports: name to a module with random weights and an example input.

Every weight, and every BatchNorm statistic, is random and nothing is trivially zero, so that a mistake anywhere in a
graph shows in its outputs. No weights are fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EXPORTERS", "MODELS", "Entry", "export", "original"]

EXPORTERS = ("legacy17", "default20", "default23")
"""torch.onnx.export: TorchScript at opset 17; the default one at 20 with a dynamic batch; and at 23."""


@dataclass(frozen=True)
class Entry:
    """One architecture."""

    library: str
    """torchvision, timm or transformers."""
    build: Callable[[], nn.Module]
    """Makes the module."""
    shape: tuple[int, ...]
    """Of one input, the batch apart."""
    vocabulary: int = 0
    """Number of tokens; 0 for an input of real numbers."""

    def example(self, batch: int) -> Tensor:
        """A random input (batch, *shape)."""
        if self.vocabulary:
            return torch.randint(3, self.vocabulary, (batch, *self.shape))
        return torch.randn(batch, *self.shape)


def vision(name: str, size: int = 64, **options: Any) -> Entry:
    """A torchvision classifier on (3, size, size)."""

    def build() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name, weights=None, **options)

    return Entry("torchvision", build, (3, size, size))


def timm(name: str, size: int = 64, **options: Any) -> Entry:
    """A timm classifier on (3, size, size)."""

    def build() -> nn.Module:
        from timm import create_model

        return create_model(name, pretrained=False, **options)

    return Entry("timm", build, (3, size, size))


class Logits(nn.Module):
    """A transformers classifier that takes one tensor and returns its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


def transformer(name: str, shape: tuple[int, ...], vocabulary: int = 0, **options: Any) -> Entry:
    """A transformers classifier with a small configuration."""

    def build() -> nn.Module:
        import transformers

        kind, task = name.split(":")
        config = getattr(transformers, f"{kind}Config")(**options, num_labels=10)
        return Logits(getattr(transformers, f"{kind}For{task}")(config))

    return Entry("transformers", build, shape, vocabulary)


SMALL = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 256}

MODELS: dict[str, Entry] = {
    "resnet18": vision("resnet18"),
    "densenet121": vision("densenet121"),
    "mobilenet_v3_small": vision("mobilenet_v3_small"),
    "shufflenet_v2": vision("shufflenet_v2_x1_0"),
    "efficientnet_b0": vision("efficientnet_b0"),
    "convnext_tiny": vision("convnext_tiny"),
    "vit_tiny": timm("vit_tiny_patch16_224", img_size=64, depth=4),
    "swin_t": vision("swin_t"),
    "regnet_y_400mf": vision("regnet_y_400mf"),
    "repvgg": timm("repvgg_a0"),
    "ghostnet": timm("ghostnet_100"),
    "levit": timm("levit_128s", 224),
    "mixer": timm("mixer_s32_224", 224),
    "bert": transformer("Bert:SequenceClassification", (16,), 1000, vocab_size=1000, **SMALL),
    "resnet50": vision("resnet50"),
    "resnext50": vision("resnext50_32x4d"),
    "wide_resnet50": vision("wide_resnet50_2"),
    "alexnet": vision("alexnet", 224),
    "vgg16_bn": vision("vgg16_bn", 224),
    "googlenet": vision("googlenet", aux_logits=False, init_weights=False),
    "inception_v3": vision("inception_v3", 128, aux_logits=False, init_weights=False),
    "squeezenet1_1": vision("squeezenet1_1"),
    "mobilenet_v2": vision("mobilenet_v2"),
    "mobilenet_v3_large": vision("mobilenet_v3_large"),
    "mnasnet": vision("mnasnet1_0"),
    "efficientnet_v2_s": vision("efficientnet_v2_s"),
    "vit": vision("vit_b_16", image_size=64),
    "maxvit_t": vision("maxvit_t", 224),
    "hrnet": timm("hrnet_w18_small"),
    "cspresnet": timm("cspresnet50"),
    "res2net": timm("res2net50_26w_4s"),
    "seresnet": timm("seresnet50"),
    "ese_vovnet": timm("ese_vovnet19b_dw"),
    "nfnet": timm("eca_nfnet_l0"),
    "efficientformer": timm("efficientformer_l1", 224),
    "fastvit": timm("fastvit_t8"),
    "mobileone": timm("mobileone_s0"),
    "convnextv2": timm("convnextv2_atto"),
    "tinynet": timm("tinynet_e"),
    "lcnet": timm("lcnet_050"),
    "dla": timm("dla46_c"),
    "mobilevit": timm("mobilevit_xxs"),
    "mobilevitv2": timm("mobilevitv2_050"),
    "deit": timm("deit_tiny_patch16_224", img_size=64, depth=4),
    "poolformer": timm("poolformer_s12"),
    "coatnet": timm("coatnet_nano_rw_224", 224),
    "edgenext": timm("edgenext_xx_small"),
    "hgnet": timm("hgnetv2_b0"),
    "pvt_v2": timm("pvt_v2_b0"),
    "tiny_vit": timm("tiny_vit_5m_224", 224, num_classes=1000),
    "distilbert": transformer("DistilBert:SequenceClassification", (16,), 1000, vocab_size=1000, dim=96,
                              n_layers=3, n_heads=6, hidden_dim=256),
    "modernbert": transformer("ModernBert:SequenceClassification", (16,), 1000, vocab_size=1000, pad_token_id=0,
                              bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, **SMALL),
    "hf_vit": transformer("ViT:ImageClassification", (3, 64, 64), image_size=64, patch_size=16, **SMALL),
    "ast": transformer("AST:AudioClassification", (128, 64), max_length=128, num_mel_bins=64, **SMALL),
    "wav2vec2": transformer("Wav2Vec2:SequenceClassification", (4000,), conv_dim=(32,) * 7,
                            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, **SMALL),
}  # fmt: skip


def randomise(model: nn.Module, entry: Entry) -> None:
    """Replace every constant parameter by random numbers near it, and calibrate BatchNorm on random data."""
    with torch.no_grad():
        for tensor in model.parameters():
            jitter(tensor)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = None
        model.train()(entry.example(8))
        for name, tensor in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                tensor.mul_(torch.rand_like(tensor) * 0.2 + 0.9)
    model.eval()


def jitter(tensor: Tensor) -> None:
    """Make a parameter random where it is constant, and a vector a little more so."""
    level = float(tensor.flatten()[0]) if tensor.numel() else 0.0
    if (tensor == level).all():
        near = max(abs(level), 0.1) * (torch.rand_like(tensor) * 0.6 + 0.7)
        tensor.copy_(torch.randn_like(tensor) * 0.1 if level == 0 else near)
    elif tensor.ndim == 1:
        tensor.mul_(torch.rand_like(tensor) * 0.4 + 0.8)


def original(name: str) -> nn.Module:
    """The torch module of a model, always the same one."""
    entry = MODELS[name]
    torch.manual_seed(0)
    model = entry.build()
    randomise(model, entry)
    return model


def export(name: str, exporter: str, path: str) -> nn.Module:
    """Build a model and export it to a file."""
    entry, model = MODELS[name], original(name)
    example = entry.example(2 if exporter == "default20" else 1)
    if exporter == "legacy17":
        torch.onnx.export(model, (example,), path, opset_version=17, dynamo=False)
    else:
        dynamic = ({0: torch.export.Dim("batch")},) if exporter == "default20" else None
        torch.onnx.export(model, (example,), path, opset_version=int(exporter[-2:]), dynamo=True,
                          dynamic_shapes=dynamic, external_data=False, verbose=False)  # fmt: skip
    return model
