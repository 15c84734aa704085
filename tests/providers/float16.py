#!/usr/bin/env python3
"""Heatmaps of `--precision fp16` on a device that computes in float16, against float32's.

    python3 tests/providers/float16.py [--camscope PROGRAM] [--ep webgpu] [MODEL]...

Takes the device that the provider finds, as `camscope runtime show` lists it, after `camscope runtime install --ep webgpu`. A real GPU has
float16; in software Mesa's llvmpipe has it (tried: Mesa 25.0; 22.3 has too little for WebGPU, and SwiftShader has no float16):

    VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.json python3 tests/providers/float16.py

Without models it takes the bundled one and recorded networks, and prints a line of a table for each: how far the heatmap, the gradient at
the input and the outputs are from float32's. The status is 1 where a heatmap is more than 2 % off. The gradient at the input is not judged:
next to a kink of a ReLU, rounding takes the other side. Not part of `.ci/run`: the device is rarely there.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FARTHEST = 2e-2
MODELS = """
models/efficientnet-lite0.onnx
tests/fixtures/classifiers/resnet18.ts.onnx
tests/fixtures/classifiers/mobilenet_v2.ts.onnx
tests/fixtures/classifiers/mobilenet_v3_small.ts.onnx
tests/fixtures/classifiers/vgg11_bn.ts.onnx
tests/fixtures/classifiers/efficientnet_b0.ts.onnx
tests/fixtures/families/swin.dynamo.onnx
tests/fixtures/families/caformer.ts.onnx
tests/fixtures/families/deit_distilled.dynamo.onnx
tests/fixtures/families/mixer.ts.onnx
tests/fixtures/families/mobilevit.ts.onnx
tests/fixtures/families/convnext.ts.onnx
""".split()


def check(command, model):
    """What `camscope check` says of the model, and whether that is right."""
    done = subprocess.run([*command, str(model)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    rows = {row["check"]: row["detail"] for row in map(json.loads, done.stdout.splitlines())}
    if "float16" not in rows:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
        return "; ".join(errors) or f"no answer, status {done.returncode}", False
    layers = re.findall(r"the (\w+ at `[^`]+`) is (\S+) from float32's", rows["float16"])
    outputs = re.search(r"outputs (\S+) \(", rows["float16"]).group(1)
    right = float(layers[0][1]) <= FARTHEST and done.returncode == 0
    return " | ".join([f"{what}: {off}" for what, off in layers] + [f"outputs: {outputs}"]), right


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camscope", default="camscope", help="the program (default: the one on the path)")
    parser.add_argument("--ep", default="webgpu", help="the execution provider (default: webgpu)")
    parser.add_argument("models", nargs="*", type=pathlib.Path, metavar="MODEL")
    options = parser.parse_args()
    command = [options.camscope, "check", "--json", "--precision", "fp16", "--ep", options.ep]
    wrong = 0
    for model in options.models or [ROOT / name for name in MODELS]:
        said, right = check(command, model)
        wrong += not right
        print(f"| {'right' if right else 'WRONG'} | {model.name} | {said} |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
