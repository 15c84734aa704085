#!/usr/bin/env python3
"""Times camscope next to ONNX Runtime's forward pass, to pytorch-grad-cam and to onnx-ad, in turn, on the same threads.

Needs:  what make_models.py needs, and pip install onnxruntime==1.32.0 grad-cam onnx-ad==0.3.0  (a column of one that isn't there is
        left out), and camscope, built with cargo build --release
Run:    python benches/side_by_side.py FOLDER [NAME]...           (FOLDER as make_models.py fills it; all of its models without a name)

What is timed, each with one picture and one class:
  forward      ONNX Runtime, the model as it is
  explain      camscope, from the tensor to the heatmap, as `camscope bench` says: a process of its own, next to each group of rounds
  grad-cam     pytorch-grad-cam's GradCAM on the same weights at the layer that camscope takes, as its documentation uses it
  lean         the same with frozen weights, and the backward pass no further than to the layer: the least that can be had of it
  gradient     the scores and the gradient at the input, by the model that `camscope differentiate` writes, in Python's ONNX Runtime
  onnx-ad      the same by the adjoint model that onnx-ad writes, with batch and number of seeds fixed to 1, where it does best

Ratios are of the same round, or for `explain` of neighbours: their median, and their least and greatest. `differs` says how far the
two gradients are apart, relative to the greatest value.
"""

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision

from timing import Camscope, Sides, error, one_hot, ratios, result, runner, session, spread

try:
    import cv2
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
except ImportError:
    GradCAM = None

CLASS = 5

# A process of its own writes the adjoint and tries it: it may take forever, or more memory than there is.
ADJOINT = """
import sys, numpy, onnx, onnx_ad
sys.path.insert(0, sys.argv[1])
from timing import session
adjoint = onnx_ad.reverse(onnx.load(sys.argv[2]), inputs=["input"], outputs=["logits"], layout="onnx")
onnx.save(adjoint, sys.argv[3])
model = session(sys.argv[3], int(sys.argv[4]), nadj=1)
shapes = {value.name: [size if isinstance(size, int) else 1 for size in value.shape] for value in model.get_inputs()}
model.run(None, {name: numpy.zeros(shape, numpy.float32) for name, shape in shapes.items()})
"""


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)


def torch_model(file: Path, side: int) -> torch.nn.Module:
    name = file.stem
    if name not in torchvision.models.list_models():
        name = name.rpartition("_")[0]  # NAME_SIDE
    more = {"image_size": side} if name.startswith("vit_") else {}
    model = torchvision.models.get_model(name, weights=None, **more)
    model.load_state_dict(torch.load(file.with_suffix(".pt"), weights_only=True))
    return model.eval()


def reshape_transform(layout: str) -> Callable | None:
    """What pytorch-grad-cam's documentation has for layers whose values are no maps of channels."""
    if layout == "NCHW":
        return None
    if layout == "NHWC":
        return lambda tensor: tensor.permute(0, 3, 1, 2)
    prefix, height, width = (int(part or 0) for part in re.fullmatch(r"tokens (?:(\d+)\+)?(\d+)[x×](\d+)", layout).groups())

    def tokens(tensor: torch.Tensor) -> torch.Tensor:
        maps = tensor[:, prefix:, :].reshape(tensor.size(0), height, width, tensor.size(2))
        return maps.transpose(2, 3).transpose(1, 2)

    return tokens


def layer_values(file: Path, layer: dict, picture: np.ndarray) -> np.ndarray:
    """The layer's values, by ONNX Runtime."""
    model = onnx.load(file)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(layer["name"]))
    return result(session(model.SerializeToString(), 0), {"input": picture}, layer["name"])


def grad_cam_sides(file: Path, layer: dict, picture: np.ndarray) -> tuple[dict[str, Callable], float]:
    """GradCAM as documented, and as lean as can be; and by how much its layer's values differ from those of camscope's layer."""
    if not layer["modules"]:
        raise RuntimeError(f"the layer {layer['name']} is no module's output")
    tensor, targets, sides = torch.from_numpy(picture), [ClassifierOutputTarget(CLASS)], {}
    for name in ("grad_cam", "grad_cam_lean"):
        model = torch_model(file, picture.shape[2])
        module = model.get_submodule(layer["modules"][0])
        if name == "grad_cam":
            seen = []
            hook = module.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().clone()))
            model(tensor)
            hook.remove()
            differs = error(seen[0].numpy(), layer_values(file, layer, picture))
            if differs > 1e-3:
                raise RuntimeError(f"the module {layer['modules'][0]} isn't the layer {layer['name']}: {differs:.1e} apart")
        else:
            model.requires_grad_(False)
            module.register_forward_hook(lambda module, inputs, output: output.requires_grad_(True))
        cam = GradCAM(model=model, target_layers=[module], reshape_transform=reshape_transform(layer["layout"]))
        sides[name] = lambda cam=cam: cam(input_tensor=tensor, targets=targets)
    return sides, differs


def torch_gradient(file: Path, picture: np.ndarray) -> np.ndarray:
    tensor = torch.from_numpy(picture).requires_grad_(True)
    torch_model(file, picture.shape[2])(tensor)[0, CLASS].backward()
    return tensor.grad.numpy()


def batch_of_one(file: Path, to: Path) -> None:
    model = onnx.load(file)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, to)


def gradient_sides(
    camscope: Camscope, file: Path, folder: Path, picture: np.ndarray, threads: int, limit: float
) -> tuple[dict[str, Callable], dict[str, float]]:
    """The two models that compute the gradient at the input, and how far apart what they give is."""
    right, found, sides = torch_gradient(file, picture), {}, {}
    one, ours, theirs = (folder / f"{part}.onnx" for part in ("one", "camscope", "onnx_ad"))
    batch_of_one(file, one)
    camscope.differentiate(one, ours)
    model = session(ours, threads)
    classes = model.get_outputs()[0].shape[1]
    feeds = {"input": picture, "seed.logits": one_hot([1, classes], CLASS)}
    found["camscope"] = result(model, feeds, "grad.input")
    sides["gradient"] = runner(model, feeds)
    try:
        command = [sys.executable, "-c", ADJOINT, Path(__file__).parent, one, theirs, str(threads)]
        subprocess.run(command, check=True, timeout=limit, capture_output=True, text=True)
        model = session(theirs, threads, nadj=1)
        feeds = {"input": picture, "adj_logits": one_hot([1, classes, 1], CLASS)}
        found["onnx_ad"] = result(model, feeds, "adj_input")[..., 0]
        sides["onnx_ad"] = runner(model, feeds)
    except subprocess.CalledProcessError as failure:
        note(f"{file.stem}: onnx-ad: {(failure.stderr.strip() or 'it crashed').splitlines()[-1]}")
    except subprocess.TimeoutExpired:
        note(f"{file.stem}: onnx-ad: not done after {limit:.0f} s")
    except Exception as failure:
        note(f"{file.stem}: onnx-ad: {str(failure).splitlines()[0]}")
    if not right.any():
        note(f"{file.stem}: the gradient is zero everywhere, so that nothing was compared")
        return sides, {}
    errors = {f"{name}_error": error(gradient, right) for name, gradient in found.items()}
    if "onnx_ad" in found:
        errors["differs"] = error(found["onnx_ad"], found["camscope"])
    return sides, errors


def measure(camscope: Camscope, file: Path, args: argparse.Namespace) -> dict:
    plain = session(file, args.threads)
    shape = [size if isinstance(size, int) else 1 for size in plain.get_inputs()[0].shape]
    picture = np.random.RandomState(0).randn(*shape).astype(np.float32)
    sides, row = {"forward": runner(plain, {"input": picture})}, {}
    layer = camscope.auto_layer(file)
    if GradCAM:
        try:
            more, row["layer_error"] = grad_cam_sides(file, layer, picture)
            sides |= more
        except Exception as failure:
            note(f"{file.stem}: pytorch-grad-cam: {failure}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            more, errors = gradient_sides(camscope, file, Path(folder), picture, args.threads, args.limit)
            sides, row = sides | more, row | errors
        except Exception as failure:
            note(f"{file.stem}: gradient at the input: {failure}")
    gc.collect()

    turns, reports = Sides(sides), []
    beside: dict[str, list[float]] = {name: [] for name in sides}
    for group in range(args.groups):
        # One group comes before its process, the next after it, so that a machine that becomes slower favours neither.
        for what in ("rounds", "bench") if group % 2 == 0 else ("bench", "rounds"):
            if what == "bench":
                reports.append(camscope.bench(file, args.threads, args.bench_rounds, "--batch", 1))
                continue
            for _ in range(args.rounds):
                turns.round()
        for name, times in turns.times.items():
            beside[name].append(statistics.median(times[-args.rounds :]))

    explain = [report["explain_ms"] for report in reports]
    ms = {name: spread(times) for name, times in turns.times.items()} | {"explain": spread(explain)}
    compared = {"explain_by_forward": spread([report["explain_ratio"] for report in reports])}
    for name in ("grad_cam", "grad_cam_lean"):
        if name in sides:
            compared[f"{name}_by_explain"] = ratios(beside[name], explain)
    for above, below in (("grad_cam", "forward"), ("gradient", "forward"), ("onnx_ad", "gradient")):
        if above in sides:
            if below in sides:
                compared[f"{above}_by_{below}"] = ratios(turns.times[above], turns.times[below])
    return {
        "model": file.stem,
        "input_shape": shape,
        "layer": layer["modules"][0] if layer["modules"] else layer["name"],
        "threads": args.threads,
        "rounds": turns.rounds,
        "benches": len(reports),
        "bench_forward_ms": statistics.median(report["forward_ms"] for report in reports),
        **{f"{name}_ms": of["median"] for name, of in ms.items()},
        **{name: of["median"] for name, of in compared.items()},
        **row,
        "ms": ms,
        "ratios": compared,
    }


COLUMNS = [
    ("model", "model"),
    ("forward", "forward_ms"),
    ("explain", "explain_ms"),
    ("by forward", "explain_by_forward"),
    ("grad-cam", "grad_cam_ms"),
    ("by explain", "grad_cam_by_explain"),
    ("lean", "grad_cam_lean_ms"),
    ("by explain", "grad_cam_lean_by_explain"),
    ("gradient", "gradient_ms"),
    ("by forward", "gradient_by_forward"),
    ("onnx-ad", "onnx_ad_ms"),
    ("by gradient", "onnx_ad_by_gradient"),
    ("differs", "differs"),
]


def cell(row: dict, key: str) -> str:
    if key not in row:
        return "-"
    if key == "model":
        return row[key]
    if key == "differs":
        return f"{row[key]:.1e}"
    if key.endswith("_ms"):
        return f"{row[key]:.1f} ms"
    of = row["ratios"][key]
    return f"{of['median']:.2f} ({of['min']:.2f}..{of['max']:.2f})"


def table(rows: list[dict]) -> None:
    kept = [(title, key) for title, key in COLUMNS if any(key in row for row in rows)]
    lines = [[title for title, _ in kept], *([cell(row, key) for _, key in kept] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (text.rjust(width) if at else text.ljust(width) for at, (text, width) in enumerate(zip(line, widths)))
        print("  ".join([first, *rest]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="threads of each side [default: all cores]")
    parser.add_argument("--groups", type=int, default=5, metavar="N", help="groups of rounds, each next to a `camscope bench`")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds in a group")
    parser.add_argument("--bench-rounds", type=int, default=3, metavar="N", help="rounds of each `camscope bench`")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="how long onnx-ad may take to write its model and for its first run")
    parser.add_argument("--camscope", metavar="PROGRAM")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if GradCAM:
        cv2.setNumThreads(args.threads)
    else:
        note("pytorch-grad-cam isn't installed: pip install grad-cam")
    camscope, rows = Camscope(args.camscope), []
    for name in args.names or sorted(file.stem for file in args.folder.glob("*.pt")):
        file = args.folder / f"{name.replace('@', '_')}.onnx"
        try:
            row = measure(camscope, file, args)
        except Exception as failure:
            note(f"{name}: {failure}")
            continue
        rows.append(row)
        if args.json:
            print(json.dumps(row), flush=True)
        gc.collect()
    if rows and not args.json:
        table(rows)


if __name__ == "__main__":
    main()
