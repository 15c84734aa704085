#!/usr/bin/env python3
"""Runs the examples' tests.

    python3 examples/run.py               # all of them
    python3 examples/run.py web notebook  # some

What they need comes from the package registries, into a cache folder; Chromium from Debian's package `chromium`, where it isn't there
already. What cannot be had is skipped, and said. The status is 1 where an example fails.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ROOT / "models/efficientnet-lite0.onnx"
PHOTO = ROOT / "samples/cat_and_coffee.jpg"

# What runs exported models elsewhere fetches packages too.
spec = importlib.util.spec_from_file_location("exported", ROOT / "tests/exported/run.py")
exported = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)

PYTHON = ["onnxruntime==1.32.0", "numpy", "pillow", "matplotlib", "nbclient", "nbformat", "ipykernel", "pyarrow"]
RAY = ["ray[data]==2.60.0", *PYTHON]
SPARK = ["pyspark==4.0.1", "pandas", *PYTHON]
NODE = ["onnxruntime-web@1.30.0", "playwright-core@1.65.1"]


def python(cache, name, wanted):
    """A Python of its own."""
    def fill(ready):
        exported.run([sys.executable, "-m", "venv", ready])
        exported.run([ready / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])

    return exported.once(cache / f"{name}-{len(wanted)}", fill) / "bin/python"


def library(python):
    found = next(python.parents[1].glob("lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so*"), None)
    return {"ORT_DYLIB_PATH": str(found)} if found else {}


def web(camscope, cache):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise exported.Unavailable("there is no Chromium")
    exported.run(["node", "--version"])

    def fill(ready):
        exported.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ready, *NODE])

    modules = exported.once(cache / f"node-{'-'.join(NODE).replace('@', '-')}", fill) / "node_modules"
    interpreter = python(cache, "examples", PYTHON)
    environment = os.environ | library(interpreter)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        # Browsers decode JPEG each in its own way; what is compared is the rest.
        save = f"from PIL import Image; Image.open({str(PHOTO)!r}).save({str(scratch / 'photo.png')!r})"
        subprocess.run([interpreter, "-c", save], check=True)
        subprocess.run([camscope, "export", MODEL, "-o", scratch / "model.onnx"], check=True, env=environment)
        words = ["explain", "--ep", "cpu", MODEL, scratch / "photo.png", "--class", "top1", "--class", "top2", "--raw", "raw", "--json"]
        lines = subprocess.run([camscope, *words], check=True, env=environment, cwd=scratch, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        lines = [json.loads(line) for line in lines]
        load = "import json, sys, numpy; print(json.dumps([numpy.load(f).ravel().tolist() for f in sys.argv[1:]]))"
        files = [scratch / f"{line['raw']}.heatmap.npy" for line in lines]
        heat = json.loads(subprocess.run([interpreter, "-c", load, *files], check=True, stdout=subprocess.PIPE, text=True).stdout)
        expected = {"heat": heat[0], "other": {"class": lines[1]["class"], "heat": heat[1]}}
        (scratch / "expected.json").write_text(json.dumps(expected))
        shot = ["screenshot.png"] if os.environ.get("SCREENSHOT") else []
        subprocess.run(["node", "test.mjs", modules, chromium, scratch / "model.onnx", scratch / "photo.png", scratch / "expected.json", *shot],
                       check=True, cwd=ROOT / "examples/web")


def ray(camscope, cache):
    interpreter = python(cache, "ray", RAY)
    samples = sorted((ROOT / "samples").glob("*.jpg"))
    subprocess.run([interpreter, ROOT / "examples/ray/test.py", camscope, MODEL, *samples], check=True, env=os.environ | library(interpreter))


def spark(camscope, cache):
    if shutil.which("java") is None:
        raise exported.Unavailable("there is no Java")
    interpreter = python(cache, "spark", SPARK)
    samples = sorted((ROOT / "samples").glob("*.jpg"))
    subprocess.run([interpreter, ROOT / "examples/spark/test.py", camscope, MODEL, *samples], check=True, env=os.environ | library(interpreter))


def notebook(camscope, cache):
    interpreter = python(cache, "examples", PYTHON)
    environment = os.environ | library(interpreter) | {"PATH": f"{pathlib.Path(camscope).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    script = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], 4)
# What is installed already is not installed again.
for cell in book.cells:
    if cell.source.startswith("%pip"):
        cell.source = ""
NotebookClient(book, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
pictures = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs if "image/png" in out.get("data", {})]
assert len(pictures) == 1, f"{len(pictures)} figures"
print("".join(out.get("text", "") for cell in book.cells if cell.cell_type == "code" for out in cell.outputs).strip())
"""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(MODEL, scratch)
        for suffix in [".toml", ".labels.txt"]:
            shutil.copy(MODEL.with_name(MODEL.stem + suffix), scratch)
        shutil.copy(PHOTO, scratch)
        subprocess.run([interpreter, "-c", script, ROOT / "examples/notebook.ipynb", scratch], check=True, env=environment)


EXAMPLES = {"web": web, "ray": ray, "spark": spark, "notebook": notebook}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="EXAMPLE", help=", ".join(EXAMPLES))
    parser.add_argument("--camscope", type=pathlib.Path, help="the program, instead of building it")
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "camscope-tests"
    parser.add_argument("--cache", type=pathlib.Path, default=default, help="where packages are kept")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in EXAMPLES]
    if unknown:
        parser.error(f"there is no example {', '.join(unknown)}")
    camscope = args.camscope.resolve() if args.camscope else exported.program()
    wrong = 0
    for name in args.names or EXAMPLES:
        print(f"{name}:", flush=True)
        try:
            EXAMPLES[name](camscope, args.cache)
        except exported.Unavailable as error:
            print(f"skipped: {error}")
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"WRONG: {error}")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
