#!/usr/bin/env python3
"""Writes the models that docs/performance.md measures: random weights with a fixed seed, 224 × 224, opset 18, an open batch.

Needs:  pip install torch==2.15.0 torchvision==0.29.2 onnx==1.23.2 onnxscript==0.7.2
Run:    python benches/make_models.py FOLDER [NAME]...        (all of them without a name; NAME@SIDE for another input size)

Gradients and times don't mind what the weights are, as long as no activation is dead: batch norms get statistics of noise.
"""

import sys
import warnings
from pathlib import Path

import torch
import torchvision

NAMES = """
mobilenet_v2 efficientnet_b0 resnet18 resnet34 resnet50 resnet101 resnet152 vgg16 vit_b_16 convnext_tiny swin_t
""".split()


def make(name: str, side: int) -> torch.nn.Module:
    torch.manual_seed(0)
    more = {"image_size": side} if name.startswith("vit_") else {}
    model = torchvision.models.get_model(name, weights=None, **more).train()
    with torch.no_grad():
        if any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None
            for _ in range(2):
                model(torch.randn(4, 3, side, side))
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
            elif not parameter.any():  # a ViT's head, without which every gradient is zero
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def export(model: torch.nn.Module, file: Path, side: int, open_size: bool = False) -> None:
    """Writes the model with an open batch, and with open height and width where asked for."""
    axes = {0: "batch", 2: "height", 3: "width"} if open_size else {0: "batch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.randn(1, 3, side, side),),
            file,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": axes, "logits": {0: "batch"}},
            opset_version=18,
            dynamo=False,
        )


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[2:] or NAMES:
        name, _, side = wanted.partition("@")
        side = int(side or 224)
        file = folder / f"{wanted.replace('@', '_')}.onnx"
        if file.exists():
            continue
        model = make(name, side)
        torch.save(model.state_dict(), file.with_suffix(".pt"))
        export(model, file, side)
        print(file, f"{file.stat().st_size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
