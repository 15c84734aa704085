"""See what an ONNX image model looked at.

>>> import camscope
>>> folder = camscope.demo()
>>> explainer = camscope.Explainer(folder / "efficientnet-lite0.onnx")
>>> explanation = explainer.explain(folder / "cat_and_coffee.jpg", target="class:espresso")
>>> explanation.heatmap.shape
(7, 7)
>>> explanation.save("espresso.png")

The command ``camscope`` comes with this package.
"""

from ._camscope import (
    Error,
    Evaluation,
    Explainer,
    Explanation,
    Layer,
    Note,
    __version__,
    demo,
    differentiate,
    evaluate,
    layers,
)

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
]
