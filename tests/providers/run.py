#!/usr/bin/env python3
"""Gradients of recorded networks on several execution providers, against recorded autograd.

    python3 tests/providers/run.py                     # everything; a table
    python3 tests/providers/run.py --quick             # a few networks, a few minutes
    python3 tests/providers/run.py --write docs/providers.md

What the providers need comes from the package registries, into a cache folder: OpenVINO from PyPI (`pip download`), ONNX Runtime with
WebGPU from npm (`npm pack`), and a Vulkan device in software (SwiftShader) from Debian's package `chromium-common` (`apt-get download`;
nothing is installed). What cannot be had is skipped, and said. The status is 1 where a gradient is wrong or a network doesn't run.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

OPENVINO = "1.24.1"
NODE = "1.30.0"

# Families of convolutional networks and of transformers, by both exporters of PyTorch and by tf2onnx.
FILES = """
classifiers/resnet18.ts.onnx
classifiers/mobilenet_v2.ts.onnx
families/swin.dynamo.onnx
families/caformer.ts.onnx
classifiers/squeezenet1_1.ts.onnx
classifiers/vgg11_bn.ts.onnx
families/deit_distilled.dynamo.onnx
classifiers/mobilenet_v3_small.ts.onnx
families/mixer.ts.onnx
families/mobilevit.ts.onnx
classifiers/googlenet.dynamo.onnx
families/convnext.ts.onnx
classifiers/efficientnet_b0.ts.onnx
families/vit_relpos.ts.onnx
classifiers/shufflenet_v2.ts.onnx
classifiers/densenet.ts.onnx
classifiers/inception_v3.ts.onnx
classifiers/resnet18.dynamo.onnx
classifiers/mobilenet_v2.dynamo.onnx
classifiers/squeezenet1_1.dynamo.onnx
families/swin.ts.onnx
families/caformer.dynamo.onnx
families/mobilevit.dynamo.onnx
families/convnext.dynamo.onnx
families/beit.ts.onnx
families/coatnet.dynamo.onnx
families/efficientnet_same.dynamo.onnx
keras/mobilenet_v2.onnx
""".split()

# One for each kind of fault that was found: masks, max-poolings, outputs that a runtime folds.
QUICK = {
    "cpu": "classifiers/resnet18.ts.onnx classifiers/mobilenet_v2.ts.onnx families/caformer.ts.onnx".split(),
    "openvino": """classifiers/mobilenet_v2.ts.onnx classifiers/mobilenet_v3_small.ts.onnx classifiers/squeezenet1_1.dynamo.onnx
        families/caformer.ts.onnx families/swin.dynamo.onnx""".split(),
    "webgpu": ["classifiers/resnet18.ts.onnx", "families/deit_distilled.dynamo.onnx"],
}


class Unavailable(Exception):
    """A provider that cannot be had here, and why."""


def run(command, **more):
    """Runs a command that has to succeed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    except OSError as error:
        raise Unavailable(f"{command[0]} does not run: {error.strerror}") from error
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or ["it says nothing"]
        raise Unavailable(f"`{' '.join(map(str, command[:4]))} …` failed: {lines[-1]}")
    return done.stdout


def once(folder, fill):
    """A folder that `fill` has filled, now or earlier; never a half of one."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            ready = pathlib.Path(scratch) / "ready"
            ready.mkdir()
            fill(pathlib.Path(scratch), ready)
            ready.rename(folder)
    return folder


def linux_x86():
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable("what is fetched is for Linux on x86-64")


def openvino(cache):
    linux_x86()

    def fill(scratch, ready):
        # Whatever Python runs this: only the libraries in the package are used.
        run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
             "--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64",
             "--dest", scratch, f"onnxruntime-openvino=={OPENVINO}"])
        (wheel,) = scratch.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                name = pathlib.PurePosixPath(entry).name
                if entry.startswith("onnxruntime/capi/") and ".so" in name:
                    with archive.open(entry) as source, open(ready / name, "wb") as target:
                        shutil.copyfileobj(source, target)

    folder = once(cache / f"openvino-{OPENVINO}", fill)
    library = next(folder.glob("libonnxruntime.so*"), None)
    if library is None:
        raise Unavailable("the package has no libonnxruntime")
    return {"ORT_DYLIB_PATH": str(library), "LD_LIBRARY_PATH": str(folder)}


def webgpu(cache):
    linux_x86()

    def runtime(scratch, ready):
        run(["npm", "pack", "--silent", f"onnxruntime-node@{NODE}"], cwd=scratch)
        (archive,) = scratch.glob("*.tgz")
        run(["tar", "--extract", "--gzip", "--file", archive, "--directory", scratch])
        library = next(scratch.glob("package/bin/*/linux/x64/libonnxruntime.so*"), None)
        if library is None:
            raise Unavailable("the package has no libonnxruntime for Linux on x86-64")
        shutil.copy(library, ready)

    def vulkan(scratch, ready):
        try:
            run(["apt-get", "download", "chromium-common"], cwd=scratch)
        except Unavailable:
            # The lists of packages may be missing; root can fetch them.
            run(["apt-get", "update"])
            run(["apt-get", "download", "chromium-common"], cwd=scratch)
        (package,) = scratch.glob("*.deb")
        run(["dpkg-deb", "--extract", package, scratch / "package"])
        for name in ["libvk_swiftshader.so", "vk_swiftshader_icd.json", "libvulkan.so.1"]:
            shutil.copy(scratch / "package/usr/lib/chromium" / name, ready)

    library = next(once(cache / f"onnxruntime-node-{NODE}", runtime).glob("libonnxruntime.so*"))
    device = once(cache / "swiftshader", vulkan)
    sockets = cache / "run"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return {
        "ORT_DYLIB_PATH": str(library),
        "LD_LIBRARY_PATH": str(device),
        "VK_ICD_FILENAMES": str(device / "vk_swiftshader_icd.json"),
        "XDG_RUNTIME_DIR": str(sockets),
    }


PROVIDERS = {"cpu": lambda cache: {}, "openvino": openvino, "webgpu": webgpu}


def build():
    """The program that runs the networks."""
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--package", "camscope-tests", "--bin", "provider-gradients"], cwd=ROOT,
                   check=True)
    about = json.loads(subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                                      stdout=subprocess.PIPE).stdout)
    return pathlib.Path(about["target_directory"]) / "debug" / "provider-gradients"


def lines_until(process, deadline):
    """A process's lines; it is ended at the deadline."""
    timer = threading.Timer(max(deadline - time.monotonic(), 0.1), process.kill)
    timer.start()
    try:
        yield from process.stdout
        process.wait()
    finally:
        timer.cancel()
        process.kill()


def measure(program, provider, variables, files, seconds):
    """What became of each file: a dictionary of the program's answers."""
    answers, rest, deadline = {}, collections.deque(files), time.monotonic() + seconds
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DYLIB_PATH"} | variables
    while rest:
        if time.monotonic() >= deadline:
            break
        process = subprocess.Popen([program, provider, *rest], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        for line in lines_until(process, deadline):
            answer = json.loads(line)
            answers[answer["file"]] = answer
            rest.popleft()
            print(f"  {provider:9} {answer['file']:45} {cell(answer)}", flush=True)
        reader.join()
        if rest and time.monotonic() < deadline:
            # It died: the next file was too much for it.
            said = (errors[0].strip().splitlines() or [f"status {process.returncode}"])[-1]
            file = rest.popleft()
            answers[file] = {"file": file, "verdict": "failed", "error": said}
            print(f"  {provider:9} {file:45} {cell(answers[file])}", flush=True)
    for file in rest:
        answers[file] = {"file": file, "verdict": "not reached"}
    return answers


def number(value):
    return value if isinstance(value, str) else f"{value:.1e}"


def cell(answer):
    if answer is None:
        return ""
    verdict = answer["verdict"]
    if verdict in ("failed", "unsupported"):
        # The reason comes last.
        lines = [line for line in answer["error"].splitlines() if line.strip()] or ["it says nothing"]
        reason = lines[-1].replace("|", "/")[-120:]
        return ("fails: " if verdict == "failed" else "does not load the model itself: ") + reason
    if verdict == "not reached":
        return "not reached in the time"
    if verdict == "scores":
        return f"its scores are off by {number(answer['scores'])}"
    text = number(answer["input"])
    if answer["layer"] is not None:
        text += ", " + number(answer["layer"])
    if verdict != "right":
        text += f" ({verdict}; at another input {number(answer['second'])})"
    return text


def table(results, skipped, files):
    names = [name for name in PROVIDERS if name in results]
    lines = ["| network | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for file in files:
        lines.append(f"| {file} | " + " | ".join(cell(results[name].get(file)) for name in names) + " |")
    for name, reason in skipped.items():
        lines += ["", f"`{name}` was skipped: {reason}"]
    return "\n".join(lines) + "\n"


PAGE = """# Providers

This page says which execution providers give the right gradients. A script makes it, which fetches what it needs from the package registries:

```sh
python3 tests/providers/run.py --write docs/providers.md    # --quick: a few networks, printed
```

Small networks with recorded gradients (`tests/fixtures`), in float32: each cell has the relative L2 error of the gradient at the input, and, where it was recorded, at
the last layer, against float64 autograd. At most 1e-4 is right, or four times float32 autograd's own error. "Kink": off at the recorded input, but right at another one, so
that a value lies next to a ReLU's or a maximum's tie. Where a provider's scores are off its plain forward pass is wrong, and no gradient can be right. Not measured here: float16, time, and a real GPU.

`cpu` is ONNX Runtime as `camscope runtime install` fetches it. `openvino` is the library of the PyPI package `onnxruntime-openvino` {openvino}, on its CPU device.
`webgpu` is the library of the npm package `onnxruntime-node` {node}, on Vulkan in software (SwiftShader, from Debian's package `chromium-common`).

{table}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few networks on each provider")
    parser.add_argument("--provider", action="append", choices=list(PROVIDERS), help="this one only; may be given several times")
    parser.add_argument("--only", metavar="TEXT", help="only files whose names have this in them")
    parser.add_argument("--seconds", type=float, help="how long each provider may take (default: 3600, with --quick 240)")
    parser.add_argument("--cache", type=pathlib.Path, help="where to keep what is fetched")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="write the page with the table here")
    options = parser.parse_args()
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache = (options.cache or base / "camscope-providers").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    seconds = options.seconds or (240 if options.quick else 3600)
    # What earlier runs gave stays in the table where this one is of one provider, or doesn't get so far.
    known = cache / ("quick.json" if options.quick else "results.json")
    results = json.loads(known.read_text(encoding="utf-8")) if options.provider and known.is_file() else {}
    program, skipped, ran = build(), {}, []
    for name in options.provider or PROVIDERS:
        files = QUICK[name] if options.quick else FILES
        files = [file for file in files if not options.only or options.only in file]
        try:
            variables = PROVIDERS[name](cache)
        except Unavailable as error:
            skipped[name] = str(error)
            print(f"  {name:9} skipped: {error}", flush=True)
            continue
        answers = measure(program, name, variables, files, seconds)
        ran += answers.values()
        earlier = results.setdefault(name, {})
        earlier |= {file: answer for file, answer in answers.items() if answer["verdict"] != "not reached" or file not in earlier}
    known.write_text(json.dumps(results), encoding="utf-8")
    files = [file for file in FILES if any(file in answers for answers in results.values())]
    text = table(results, skipped, files)
    if options.write:
        options.write.write_text(PAGE.format(openvino=OPENVINO, node=NODE, table=text), encoding="utf-8")
    print("\n" + text)
    bad = [answer for answer in ran if answer["verdict"] in ("wrong", "failed")]
    print(f"{len(bad)} wrong or failed" if bad else "nothing wrong", end="")
    unreached = sum(answer["verdict"] == "not reached" for answer in ran)
    print(f", {unreached} not reached" if unreached else "", end="")
    print(f", skipped: {', '.join(skipped)}" if skipped else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
