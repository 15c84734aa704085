#!/usr/bin/env python3
"""Gradients of recorded networks on several execution providers and runtimes, against recorded autograd, in float32 and float16.

    python3 tests/providers/run.py                     # everything; a table (--release: with times)
    python3 tests/providers/run.py --quick             # a few networks, a few minutes
    python3 tests/providers/run.py --release --write docs/providers.md

What the providers need comes from the package registries, into a cache folder: OpenVINO from PyPI (`pip download`), ONNX Runtime with
WebGPU from npm (`npm pack`), a Vulkan device in software (SwiftShader) from Debian's package `chromium-common` (`apt-get download`), ONNX
Runtime for Python from PyPI, and for WebAssembly from npm. Nothing is installed outside that folder. What cannot be had is skipped, and
said. The status is 1 where a gradient is wrong or a network doesn't run.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import queue
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
PYTHON = "1.32.0"
ONNX = "1.23.2"
WEB = "1.30.0"

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
    "python": ["classifiers/mobilenet_v2.ts.onnx"],
    "wasm": ["classifiers/resnet18.ts.onnx"],
}
QUICK_HALVES = {"cpu": ["families/caformer.ts.onnx"]}


PRECISIONS = ["float32", "float16"]


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


def python(cache):
    """A Python of its own, with ONNX Runtime."""

    def fill(scratch, ready):
        del scratch
        run([sys.executable, "-m", "venv", "--without-pip", ready])
        (packages,) = ready.glob("lib/python3*/site-packages")
        run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages,
             f"onnxruntime=={PYTHON}", f"onnx=={ONNX}"])

    return once(cache / f"python-{PYTHON}-{platform.python_version()}", fill) / "bin" / "python"


def web(cache):
    """The module of ONNX Runtime for WebAssembly."""
    run(["node", "--version"])

    def fill(scratch, ready):
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", scratch / "web", f"onnxruntime-web@{WEB}"])
        modules = scratch / "web" / "node_modules"
        # The rest is for browsers with a GPU.
        for name in ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]:
            shutil.copy(modules / "onnxruntime-web" / "dist" / name, ready)

    return once(cache / f"onnxruntime-web-{WEB}", fill) / "ort.wasm.min.mjs"


def by_camscope(variables):
    def commands(cache, programs, scratch):
        del scratch
        return [programs["provider-gradients"]], variables(cache)

    return commands


def by_others(runtime):
    def commands(cache, programs, scratch):
        module = web(cache) if runtime == "wasm" else "-"
        script = pathlib.Path(__file__).with_name("written.py")
        return [python(cache), script, programs["camscope"], module, scratch], {}

    return commands


PROVIDERS = {
    "cpu": by_camscope(lambda cache: {}),
    "openvino": by_camscope(openvino),
    "webgpu": by_camscope(webgpu),
    "python": by_others("python"),
    "wasm": by_others("wasm"),
}


def halves(cache, files, folder):
    """The float16 form of each file, in a folder."""
    run([python(cache), pathlib.Path(__file__).with_name("halves.py"), folder, *files])
    return folder


def build(release):
    """The programs that run the networks: `provider-gradients` and `camscope`."""
    about = json.loads(subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                                      stdout=subprocess.PIPE).stdout)
    folder, programs = pathlib.Path(about["target_directory"]), {}
    # Only the first has to be fast.
    for package, program, fast in [("camscope-tests", "provider-gradients", release), ("camscope", "camscope", False)]:
        command = ["cargo", "build", "--quiet", "--locked", "--package", package, "--bin", program]
        subprocess.run(command + ["--release"] * fast, cwd=ROOT, check=True)
        programs[program] = folder / ("release" if fast else "debug") / program
    return programs


def lines_until(process, deadline, row):
    """A process's lines; it is ended at the deadline, or where a line takes longer than `row` seconds."""
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (line := lines.get(timeout=max(0.1, min(row, deadline - time.monotonic())))) is not None:
            yield line
        process.wait()
    except queue.Empty:
        pass
    finally:
        process.kill()


def measure(name, precision, command, variables, files, seconds, row, timed):
    """What became of each file: a dictionary of the program's answers."""
    answers, rest, deadline = {}, collections.deque(files), time.monotonic() + seconds
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DYLIB_PATH"} | variables

    def answered(file, answer):
        answers[file] = answer
        print(f"  {name:9} {precision:8} {file:45} {cell(answer)}", flush=True)

    while rest and time.monotonic() < deadline:
        process = subprocess.Popen([*command, *rest], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        begun = time.monotonic()
        for line in lines_until(process, deadline, row):
            answer = json.loads(line)
            if not timed:
                answer.pop("ratio", None)
            answered(answer["file"], answer)
            rest.popleft()
            begun = time.monotonic()
        reader.join()
        if rest and time.monotonic() < deadline:
            # It died or was ended: the next file was too much for it.
            file = rest.popleft()
            if time.monotonic() - begun >= row:
                answered(file, {"file": file, "verdict": "slow", "seconds": row})
            else:
                said = (errors[0].strip().splitlines() or [f"status {process.wait()}"])[-1]
                answered(file, {"file": file, "verdict": "failed", "error": said})
    for file in rest:
        answers[file] = {"file": file, "verdict": "not reached"}
    return answers


def number(value):
    return value if isinstance(value, str) else f"{value:.1e}"


def copied(copies):
    """What went between host and device, where something did."""
    counts = [copies[way]["count"] for way in ("to device", "to host", "for cpu")] if copies else [0, 0, 0]
    text = f"; {counts[0]} in, {counts[1]} out" if any(counts) else ""
    return text + (f", {counts[2]} for the CPU" if counts[2] else "")


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
    if verdict == "slow":
        return f"not done in {answer['seconds']:.0f} s"
    text = number(answer["input"])
    if answer["layer"] is not None:
        text += ", " + number(answer["layer"])
    if verdict == "copies":
        return text + f" (too many copies: {json.dumps(answer['copies'])})"
    if verdict != "right":
        another = "" if answer["second"] is None else f"; at another input {number(answer['second'])}"
        text += f" ({verdict}{another})"
    text += copied(answer.get("copies"))
    if isinstance(answer.get("ratio"), float):
        text += f"; {answer['ratio']:.1f} ×"
    return text


def table(results, skipped, files):
    names = [name for name in PROVIDERS if results.get(name)]
    lines = ["| network | precision | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for file in files:
        for precision in PRECISIONS:
            cells = [cell(results[name].get(precision, {}).get(file)) for name in names]
            if any(cells):
                lines.append(f"| {file} | {precision} | " + " | ".join(cells) + " |")
    for name, reason in skipped.items():
        lines += ["", f"`{name}` was skipped: {reason}"]
    return "\n".join(lines) + "\n"


PAGE = """# Providers

This page says which execution providers give the right gradients. A script makes it, which fetches what it needs from the package registries:

```sh
python3 tests/providers/run.py --release --write docs/providers.md    # --quick: a few networks, printed
```

Small networks with recorded gradients (`tests/fixtures`): each cell has the relative L2 error of the gradient at the input, and, where it was recorded, at
the last layer, against float64 autograd. At most 1e-4 is right, or four times float32 autograd's own error. "Kink": off at the recorded input, but right at another one, so
that a value lies next to a ReLU's or a maximum's tie. Where a provider's scores are off its plain forward pass is wrong, and no gradient can be right. Not measured here: a real GPU.

WebGPU's `Conv` is wrong where a window has several places and the input channels are a multiple of 3, but not of 4, above 3 (6, 9, 15, 18 and 27 of the numbers from 2 to 36
that were tried): [onnxruntime#29651](https://github.com/microsoft/onnxruntime/issues/29651). Some of these networks, made thinner, have such numbers. Then the scores are off, or,
where only the backward pass has such a convolution, as in DenseNet, the gradient alone. camscope's comparison with the CPU stops such a model: "cannot be trusted".

In float16 every weight is rounded, by up to 2⁻¹¹ = 5e-4 of itself. What that does to a gradient is the network's own: in these small ones with weights by chance, layers and
kinks make it up to some tenths. So the same weights in float32 arithmetic are the measure: an error of at most four times theirs is right, or 5e-3, which is ten
roundings. camscope brings a float16 model to float32 as it opens it (`cpu`, `openvino`, `webgpu`); what it writes for `python` and `wasm` stays in float16.

On a device, "in" and "out" are the copies that an explanation takes from the host and to it: in go the image and the seed, and the image again where the backward pass reads it; out come
the scores and a heatmap. More is an error: the script's status is then 1. Other values stay on the device. "For the CPU" are the copies of values of operators that the provider has no
kernel for, which ONNX Runtime gives to the CPU. What it copies within a run is not counted. Without either, copies were not counted.

The last number is time, over that of the plain forward pass there: of an explanation at the input and the last layer (`cpu`, `openvino`, `webgpu`), or of the written model, which
gives scores and gradient (`python`, `wasm`). Without it, it was not measured. These networks are so small that it tells the cost of many small steps; [performance.md](performance.md) has networks of full size.

`cpu` is ONNX Runtime as `camscope runtime install` fetches it. `openvino` is the library of the PyPI package `onnxruntime-openvino` {openvino}, on its CPU device.
`webgpu` is the library of the npm package `onnxruntime-node` {node}, on Vulkan in software (SwiftShader, from Debian's package `chromium-common`).
`python` is what `camscope differentiate` writes, in PyPI's `onnxruntime` {python}; `wasm` the same in npm's `onnxruntime-web` {web}, its WebAssembly under Node, on one thread.

{table}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few networks on each provider")
    parser.add_argument("--provider", action="append", choices=list(PROVIDERS), help="this one only; may be given several times")
    parser.add_argument("--only", metavar="TEXT", help="only files whose names have this in them")
    parser.add_argument("--seconds", type=float, help="how long each provider may take for a precision (default: 1800, with --quick 40)")
    parser.add_argument("--row", type=float, default=120, metavar="SECONDS", help="how long a network may take (default: 120)")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="this one only")
    parser.add_argument("--release", action="store_true", help="an optimised build: without it camscope's own times say nothing and are left out")
    parser.add_argument("--cache", type=pathlib.Path, help="where to keep what is fetched")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="write the page with the table here")
    options = parser.parse_args()
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache = (options.cache or base / "camscope-providers").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    seconds = options.seconds or (40 if options.quick else 1800)
    # What earlier runs gave stays in the table where this one is of one provider, or doesn't get so far.
    known = cache / ("quick-table.json" if options.quick else "table.json")
    part = options.provider or options.precision or options.only
    results = json.loads(known.read_text(encoding="utf-8")) if part and known.is_file() else {}
    programs, skipped, ran = build(options.release), {}, []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name in options.provider or PROVIDERS:
            for precision in options.precision or PRECISIONS:
                chosen = {"float32": QUICK, "float16": QUICK_HALVES}[precision].get(name, []) if options.quick else FILES
                files = [file for file in chosen if not options.only or options.only in file]
                if not files:
                    continue
                try:
                    command, variables = PROVIDERS[name](cache, programs, scratch)
                    short = halves(cache, files, scratch / "halves") if precision == "float16" else "-"
                except Unavailable as error:
                    skipped[f"{name} {precision}"] = str(error)
                    print(f"  {name:9} {precision:8} skipped: {error}", flush=True)
                    continue
                # The runtime's name comes after the script's.
                at = 2 if name in ("python", "wasm") else 1
                command = [*command[:at], name, *command[at:], short]
                timed = options.release or name in ("python", "wasm")
                answers = measure(name, precision, command, variables, files, seconds, options.row, timed)
                ran += answers.values()
                earlier = results.setdefault(name, {}).setdefault(precision, {})
                earlier |= {file: answer for file, answer in answers.items() if answer["verdict"] != "not reached" or file not in earlier}
    known.write_text(json.dumps(results), encoding="utf-8")
    text = table(results, skipped, FILES)
    if options.write:
        page = PAGE.format(openvino=OPENVINO, node=NODE, python=PYTHON, web=WEB, table=text)
        options.write.write_text(page, encoding="utf-8")
    print("\n" + text)
    bad = [answer for answer in ran if answer["verdict"] in ("wrong", "failed", "copies")]
    print(f"{len(bad)} wrong or failed" if bad else "nothing wrong", end="")
    unreached = sum(answer["verdict"] in ("not reached", "slow") for answer in ran)
    print(f", {unreached} not reached" if unreached else "", end="")
    print(f", skipped: {', '.join(skipped)}" if skipped else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
