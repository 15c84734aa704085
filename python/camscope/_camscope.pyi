from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Error",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Layer",
    "Note",
    "__version__",
    "demo",
    "differentiate",
    "evaluate",
    "layers",
    "main",
]

__version__: str

class Error(Exception):
    """What camscope cannot do: the text says what happened, and to what."""

    help: str | None
    """What to do about it."""

class Note(UserWarning):
    """What to know of a model or an image that can be explained all the same."""

@final
class Layer:
    """A value of a model with spatial extent, which can be looked at."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str | None: ...
    @property
    def modules(self) -> list[str]: ...
    @property
    def operator(self) -> str: ...
    @property
    def shape(self) -> tuple[int | None, ...]: ...
    @property
    def layout(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def default(self) -> bool: ...

@final
class Explanation:
    """One target of one image, explained."""

    @property
    def heatmap(self) -> NDArray[np.float32] | None: ...
    @property
    def activations(self) -> NDArray[np.float32] | None: ...
    @property
    def gradients(self) -> NDArray[np.float32] | None: ...
    @property
    def attributions(self) -> NDArray[np.float32] | None: ...
    @property
    def logits(self) -> NDArray[np.float32]: ...
    @property
    def target(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def class_index(self) -> int | None: ...
    @property
    def score(self) -> float: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def box(self) -> tuple[float, float, float, float] | None: ...
    @property
    def layer(self) -> str: ...
    @property
    def module(self) -> str | None: ...
    @property
    def method(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def blank(self) -> str | None: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def ms(self) -> dict[str, float]: ...
    def overlay(self, colormap: str = "jet", alpha: float = 0.4, boxes: bool = True) -> NDArray[np.uint8]: ...
    def save(
        self, path: str | PathLike[str], colormap: str = "jet", alpha: float = 0.4, boxes: bool = True
    ) -> None: ...
    def _repr_png_(self) -> bytes: ...

@final
class Explainer:
    """An ONNX model, made ready to explain images."""

    def __new__(
        cls,
        model: str | PathLike[str],
        method: str | None = None,
        layer: str | int | Sequence[str | int] | None = None,
        provider: str = "auto",
        *,
        target: str | int | None = None,
        layout: str | None = None,
        fuse: Literal["mean", "max"] | None = None,
        sign: Literal["positive", "negative", "both"] = "positive",
        score: Literal["logit", "probability"] = "logit",
        smooth: str | Sequence[str] | None = None,
        seed: int = 0,
        gradients: bool = True,
        verify: bool = True,
        threads: int | None = None,
        precision: Literal["fp32", "fp16"] = "fp32",
        size: int | tuple[int, int] | None = None,
        crop: str | int | float | None = None,
        bgr: bool = False,
        range: tuple[float, float] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        white: float | None = None,
        labels: str | PathLike[str] | None = None,
        sidecar: str | PathLike[str] | None = None,
        picture: str | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> Explainer: ...
    def explain(
        self,
        # A PIL image has no type that doesn't need Pillow.
        image: str | PathLike[str] | bytes | ArrayLike | Any,
        target: str | int | None = None,
    ) -> Explanation: ...
    @property
    def layers(self) -> list[Layer]: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def notes(self) -> list[str]: ...

@final
class Evaluation:
    """How good heatmaps are."""

    @property
    def heatmaps(self) -> list[dict[str, Any]]: ...
    @property
    def summary(self) -> list[dict[str, Any]]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def failed(self) -> list[str]: ...

def demo() -> Path: ...
def evaluate(
    model: str | PathLike[str],
    images: str | PathLike[str] | Sequence[str | PathLike[str]],
    method: str | Sequence[str] | None = None,
    layer: str | int | Sequence[str | int] | None = None,
    provider: str = "auto",
    *,
    target: str | int | Sequence[str | int] | None = None,
    metric: str | Sequence[str] | None = None,
    boxes: str | PathLike[str] | None = None,
    masks: str | PathLike[str] | None = None,
    steps: int = 32,
    sanity: bool | int = False,
    csv: str | PathLike[str] | None = None,
    plot: str | PathLike[str] | None = None,
    batch: int = 16,
    layout: str | None = None,
    fuse: Literal["mean", "max"] | None = None,
    sign: Literal["positive", "negative"] = "positive",
    score: Literal["logit", "probability"] = "logit",
    seed: int = 0,
    threads: int | None = None,
    precision: Literal["fp32", "fp16"] = "fp32",
    size: int | tuple[int, int] | None = None,
    crop: str | int | float | None = None,
    bgr: bool = False,
    range: tuple[float, float] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    white: float | None = None,
    labels: str | PathLike[str] | None = None,
    sidecar: str | PathLike[str] | None = None,
    picture: str | None = None,
    inputs: Mapping[str, ArrayLike] | None = None,
) -> Evaluation: ...
def differentiate(
    model: str | PathLike[str] | bytes,
    wrt: str | Sequence[str],
    *,
    output: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    precision: Literal["fp32", "fp16"] = "fp32",
) -> bytes: ...
def layers(
    model: str | PathLike[str],
    *,
    target: str | int | None = None,
    size: int | tuple[int, int] | None = None,
    crop: str | int | float | None = None,
    bgr: bool = False,
    range: tuple[float, float] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    white: float | None = None,
    labels: str | PathLike[str] | None = None,
    sidecar: str | PathLike[str] | None = None,
    picture: str | None = None,
    inputs: Mapping[str, ArrayLike] | None = None,
) -> list[Layer]: ...
def main(words: Sequence[str], packages: Sequence[str | PathLike[str]] | None = None) -> int: ...
