"""What a type checker is to make of the package; nothing runs this."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import camscope


def heat(image: str | Path | bytes | Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
    explainer = camscope.Explainer("model.onnx", "gradcam", [3, "layer4"], fuse="mean", size=(224, 224), mean=0.5)
    explanation: camscope.Explanation = explainer.explain(image, target="class:top1")
    overlay: NDArray[np.uint8] = explanation.overlay(alpha=0.5)
    assert overlay.ndim == 3
    assert explanation.heatmap is not None
    return explanation.heatmap


def advice(error: camscope.Error) -> str:
    return error.help or str(error)


def mean(photos: list[Path]) -> object:
    found: camscope.Evaluation = camscope.evaluate("model.onnx", photos, ["gradcam", "layercam"], metric="road", sanity=True)
    return found.summary[0]["metrics"]["road"], found.heatmaps[0]["target"], found.failed


layers: list[camscope.Layer] = camscope.layers(Path("model.onnx"))
gradient: bytes = camscope.differentiate(b"model", wrt=["input"], shapes={"input": (1, 3, 224, 224)})
