#!/usr/bin/env python3
"""Exported models in other runtimes: each is checked by ONNX's own checker, and gives what `camscope explain` gives in every one of them.

    python3 tests/exported/run.py             # ten architectures by both exporters, and other targets
    python3 tests/exported/run.py --quick     # a few of them, two minutes
    python3 tests/exported/run.py --timing MODEL.onnx …   # exported against plain, in Python's ONNX Runtime

The runtimes come from the package registries, into a cache folder: ONNX Runtime and OpenVINO for Python from PyPI, ONNX Runtime for Node
and for WebAssembly from npm. Nothing is installed outside that folder. What cannot be had is skipped, and said. The status is 1 where
something is wrong.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent

PYTHON = ["onnxruntime==1.32.0", "onnx==1.23.2", "numpy"]
OPENVINO = ["openvino==2026.4.1"]
NODE = ["onnxruntime-node@1.30.0", "onnxruntime-web@1.30.0"]


class Unavailable(Exception):
    pass


def run(command, **how):
    try:
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **how)
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{command[0]}: {done.stdout.strip()[-300:]}")
    return done.stdout


def once(folder, fill):
    """A folder that `fill` has filled, now or earlier; never a half of one."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            ready = pathlib.Path(scratch) / "ready"
            ready.mkdir()
            fill(ready)
            ready.rename(folder)
    return folder


def packages(cache, name, wanted):
    """A folder of Python packages."""
    def fill(ready):
        run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", ready, *wanted])

    return once(cache / f"{name}-{'-'.join(wanted).replace('==', '-')}-{platform.python_version()}", fill)


def modules(cache):
    """A folder of Node's modules."""
    run(["node", "--version"])

    def fill(ready):
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ready, *NODE])

    return once(cache / f"node-{'-'.join(NODE).replace('@', '-')}", fill) / "node_modules"


def program():
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--package", "camscope"], cwd=ROOT, check=True)
    about = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return pathlib.Path(json.loads(about)["target_directory"]) / "debug" / "camscope"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few models")
    parser.add_argument("--timing", nargs="+", metavar="MODEL", help="measure exported models against plain ones")
    parser.add_argument("--camscope", type=pathlib.Path, help="the program, instead of building it")
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "camscope-tests"
    parser.add_argument("--cache", type=pathlib.Path, default=default, help="where the runtimes are kept")
    args = parser.parse_args()

    camscope = args.camscope.resolve() if args.camscope else program()
    said = {"camscope": str(camscope), "quick": args.quick, "timing": args.timing, "openvino": None, "node": None}
    try:
        path = [packages(args.cache, "exported", PYTHON)]
    except Unavailable as error:
        print(f"skipped: ONNX Runtime for Python cannot be had: {error}")
        return 0
    if not args.timing:
        try:
            # Behind the others: it brings a NumPy of its own choice.
            path.append(packages(args.cache, "openvino", OPENVINO))
            said["openvino"] = True
        except Unavailable as error:
            print(f"OpenVINO is skipped: {error}")
        try:
            said["node"] = str(modules(args.cache))
        except Unavailable as error:
            print(f"Node is skipped: {error}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    library = next(path[0].glob("onnxruntime/capi/libonnxruntime.so*"), None)
    if library is not None:
        # The same library for both: outputs are compared bit for bit.
        environment["ORT_DYLIB_PATH"] = str(library)
    return subprocess.run([sys.executable, HERE / "inside.py", json.dumps(said)], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
