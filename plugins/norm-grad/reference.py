"""NormGrad by autograd, from its definition: a layer that changes nothing is put behind the one that is explained, with weights of its own at every
place, and the heat there is the norm of the gradient with respect to them. Of the thinned ResNet-18 of `tests/fixtures/classifiers`, in float64.

    python plugins/norm-grad/reference.py

Last run with the versions of tests/fixtures/README.md.
"""

import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
FIXTURES = HERE.parent.parent / "tests" / "fixtures"
sys.path.insert(0, str(FIXTURES))

from record_classifiers import build  # noqa: E402


def heat(model, image, module, target, variant):
    weights = []

    def identity(_, __, output):
        (channels, height, width) = output.shape[1:]
        if variant == "normgrad":
            own = torch.eye(channels, dtype=output.dtype).expand(height, width, channels, channels).clone().requires_grad_()
            result = torch.einsum("hwcd,ndhw->nchw", own, output)
        else:
            own = torch.ones(height, width, channels, dtype=output.dtype, requires_grad=True)
            result = torch.einsum("hwc,nchw->nchw", own, output)
        weights.append(own)
        return result

    hook = model.get_submodule(module).register_forward_hook(identity)
    logits = model(image)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, target], weights)
    return gradient.flatten(2).norm(dim=2)


def main():
    model, _ = build("resnet18")
    kept = np.load(FIXTURES / "classifiers" / "resnet18.npz")
    image, target = torch.from_numpy(kept["input"]).double(), int(kept["class"][0])
    model = model.double()
    values = {}
    for variant in ["normgrad", "normgrad-scaling"]:
        for module in ["layer2", "layer4"]:
            values[f"{variant}.{module}"] = heat(model, image, module, target, variant).float().numpy()
    np.savez(HERE / "reference.npz", **values)
    print({key: value.shape for key, value in values.items()})


if __name__ == "__main__":
    main()
