#!/usr/bin/env python3
"""Times methods of camscope next to those of pytorch-grad-cam and Captum: the same weights, picture, class and layer, on as many threads.

Needs:  what make_models.py needs, and  pip install grad-cam==1.5.7 captum==0.9.0 , and camscope, built with cargo build --release
Run:    python benches/methods_side_by_side.py FOLDER [ROW]...      (FOLDER with resnet18 and resnet50, as make_models.py fills it)

Rows: scorecam, ablationcam, eigencam, integrated-gradients; all of them without one. Of camscope it is the time that `camscope bench` tells,
from the tensor to the heat; of the others one call as their documentation has it, with a warmed-up model. Long calls are made once.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import torch
import torchvision
from captum.attr import IntegratedGradients
from pytorch_grad_cam import AblationCAM, EigenCAM, ScoreCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

CLASS = 5
LONG = 5.0
# Of integrated gradients: both sides take as many.
STEPS = 20

# The model, and how many times faster is wanted.
ROWS = {
    "scorecam": ("resnet18", 3),
    "ablationcam": ("resnet50", 20),
    "eigencam": ("resnet50", 5),
    "integrated-gradients": ("resnet50", 3),
}


def model_of(folder: Path, name: str) -> torch.nn.Module:
    model = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    return model.eval()


def others(method: str, model: torch.nn.Module):
    """What is called, and by whose library."""
    picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    if method == "integrated-gradients":
        attribution = IntegratedGradients(model)
        return lambda: attribution.attribute(picture, target=CLASS, n_steps=STEPS, internal_batch_size=10), "Captum"
    layers, targets = [model.layer4[-1]], [ClassifierOutputTarget(CLASS)]
    if method == "ablationcam":
        cam = AblationCAM(model, layers, ablation_layer=AblationLayer())
    else:
        cam = {"scorecam": ScoreCAM, "eigencam": EigenCAM}[method](model, layers)
    if hasattr(cam, "batch_size"):
        cam.batch_size = 16
    return lambda: cam(input_tensor=picture, targets=targets), "pytorch-grad-cam"


def milliseconds(call, clock: str) -> float:
    now = time.process_time if clock == "processor" else time.perf_counter
    times = []
    while not times or sum(times) < 2 * LONG and len(times) < 7:
        start = now()
        call()
        times.append(now() - start)
        if times[-1] > LONG:
            break
    # The first of several warms up.
    return 1e3 * statistics.median(times[1:] or times)


def own(camscope: str, file: Path, method: str, threads: int, clock: str, rounds: int) -> float:
    layer = ["--layer", "layer4"]
    if method == "integrated-gradients":
        layer, method = [], f"{method}:steps={STEPS}"
    command = [camscope, "bench", file, "--method", method, "--class", f"#{CLASS}", "--threads", threads, "--rounds", rounds]
    command = [str(part) for part in [*command, "--clock", clock, "--ep", "cpu", "--json", *layer]]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(found)["explain_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", nargs="*", metavar="ROW",)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="threads of each side [default: all cores]")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="processor: on a busy machine, with --threads 1")
    parser.add_argument("--camscope", metavar="PROGRAM", default=shutil.which("camscope") or "target/release/camscope")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.clock} clock")
    for method in args.rows or ROWS:
        name, wanted = ROWS[method]
        rounds = 1 if method in ("scorecam", "integrated-gradients") else 5
        ours = own(args.camscope, args.folder / f"{name}.onnx", method, args.threads, args.clock, rounds)
        call, whose = others(method, model_of(args.folder, name))
        theirs = milliseconds(call, args.clock)
        print(f"{method} {name}: camscope {ours:.0f} ms, {whose} {theirs:.0f} ms: {theirs / ours:.1f} × (goal {wanted})", flush=True)


if __name__ == "__main__":
    main()
