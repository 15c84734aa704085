#!/usr/bin/env python3
"""Times the Python module next to pytorch-grad-cam, on the same weights and the same photo; and how long `import camscope` takes.

Needs:  what make_models.py needs, pip install grad-cam pillow, and camscope's wheel
Run:    python benches/python_module.py FOLDER [NAME]... [--photo FILE]     (FOLDER as make_models.py fills it; resnet50 without a name)

What is timed, on the same threads, both sides in turn:
  photo    from the file of the photo to its heatmap: `Explainer.explain(path)`; PIL, torchvision's transforms and `GradCAM`
  tensor   from the input of the network to the heatmap

Each ratio is that of one round, pytorch-grad-cam / camscope: median, and quartiles. By the clock, and by processor time of all threads, which what
else the machine does disturbs less. `differs` says how far the two heatmaps of one input are apart, both from 0 to 1 and of the size of the photo.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

CLASS = 5


def measured(sides, seconds):
    """Rounds of both sides, the order changing: of each their times by the clock and by the processor."""
    for run in sides.values():
        run()
        run()
    times = {name: [] for name in sides}
    begun = time.perf_counter()
    while len(times["camscope"]) < 7 or (time.perf_counter() - begun < seconds and len(times["camscope"]) < 200):
        names = list(sides)
        if len(times["camscope"]) % 2:
            names.reverse()
        for name in names:
            clock, processor = time.perf_counter(), time.process_time()
            sides[name]()
            times[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return times


def told(times):
    found = {"rounds": len(times["camscope"])}
    for at, how in enumerate(["clock", "processor"]):
        ratios = [theirs[at] / own[at] for own, theirs in zip(times["camscope"], times["grad_cam"], strict=True)]
        first, middle, last = np.percentile(ratios, [25, 50, 75])
        found[how] = {"ratio": round(float(middle), 2), "quartiles": [round(float(first), 2), round(float(last), 2)],
                      **{f"{name}_ms": round(1e3 * statistics.median(spent[at] for spent in all_), 1) for name, all_ in times.items()}}
    return found


def compare(file, photo, threads, seconds):
    import camscope
    import cv2
    import torch
    import torchvision
    from PIL import Image
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.set_num_threads(threads)
    model = torchvision.models.get_model(file.stem, weights=None)
    model.load_state_dict(torch.load(file.with_suffix(".pt"), weights_only=True))
    model.eval()
    warnings.simplefilter("ignore", camscope.Note)
    explainer = camscope.Explainer(file, provider="cpu", threads=threads)
    target = f"class:#{CLASS}"
    first = explainer.explain(photo, target)
    prepare = torchvision.transforms.Compose([
        torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224), torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    cam = GradCAM(model=model, target_layers=[model.get_submodule(first.module)])
    targets = [ClassifierOutputTarget(CLASS)]

    def by_torch():
        return cam(input_tensor=prepare(Image.open(photo).convert("RGB"))[None], targets=targets)[0]

    tensor = prepare(Image.open(photo).convert("RGB"))[None]
    array = tensor.numpy()
    # Of one input: random weights make much of a pixel that is rounded otherwise.
    own = explainer.explain(array, target).heatmap
    differs = float(np.abs(cv2.resize(own / own.max(), (224, 224)) - cam(input_tensor=tensor, targets=targets)[0]).max())
    pairs = {
        "photo": {"camscope": lambda: explainer.explain(photo, target).heatmap, "grad_cam": by_torch},
        "tensor": {"camscope": lambda: explainer.explain(array, target).heatmap, "grad_cam": lambda: cam(input_tensor=tensor, targets=targets)},
    }
    for what, sides in pairs.items():
        print(json.dumps({"model": file.stem, "what": what, "layer": first.module, "threads": threads, **told(measured(sides, seconds)),
                          "differs": round(differs, 4), "load": round(os.getloadavg()[0], 1), "processors": os.cpu_count()}), flush=True)


def imports(rounds=15):
    """How long the import takes in a fresh process, with what it imports: by the clock and by the processor, the least and the median."""
    script = ("import time\na, b = time.perf_counter(), time.process_time()\nimport {}\n"
              "print(time.perf_counter() - a, time.process_time() - b)")
    for name in ["camscope", "numpy", "onnxruntime"]:
        runs = [list(map(float, subprocess.run([sys.executable, "-c", script.format(name)], check=True, stdout=subprocess.PIPE, text=True).stdout.split()))
                for _ in range(rounds)]
        clock, processor = ([1e3 * run[at] for run in runs] for at in range(2))
        print(json.dumps({"import": name, "rounds": rounds, "clock_ms": {"least": round(min(clock), 1), "median": round(statistics.median(clock), 1)},
                          "processor_ms": {"least": round(min(processor), 1), "median": round(statistics.median(processor), 1)}}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=["resnet50"])
    parser.add_argument("--photo", type=Path, default=Path(__file__).parents[1] / "samples/chelsea.jpg")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=30, help="for each comparison")
    args = parser.parse_args()
    imports()
    for name in args.names:
        compare(args.folder / f"{name}.onnx", args.photo, args.threads, args.seconds)


if __name__ == "__main__":
    main()
