#!/usr/bin/env python3
"""Execution providers that are libraries of their own ("plugins"), as a user has them.

    python3 tests/providers/plugins.py

Installs ONNX Runtime and each provider with `camscope runtime install`, explains a bundled photo with the bundled model on it and on the
CPU, and compares the heat: at most 1e-3 apart. Then what goes with it: the explanation compared itself with the CPU's and remembers so,
the library is taken by --ep-library too, --device takes the number that `runtime show` gives, --ep auto takes no GPU in software, and the
CPU stays the CPU beside a provider that runs on the processor. WebGPU runs on Vulkan in software (SwiftShader, from Debian's package
`chromium-common`; nothing is installed). What cannot be had is skipped, and said. The status is 1 where something is wrong.
"""

import array
import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from run import ROOT, Unavailable, linux_x86, once, run

MODEL = ROOT / "models/efficientnet-lite0.onnx"
PHOTO = ROOT / "samples/cat_and_coffee.jpg"
FARTHEST = 1e-3
# A network that the provider computes wrongly, for whatever reason: the comparison with the CPU has to see it.
LIES = {"webgpu": ROOT / "tests/fixtures/classifiers/squeezenet1_1.ts.onnx"}


def vulkan(cache):
    """The variables with which Vulkan runs in software."""
    linux_x86()

    def fill(scratch, ready):
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

    device = once(cache / "swiftshader", fill)
    sockets = cache / "run"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return {
        "LD_LIBRARY_PATH": str(device),
        "VK_ICD_FILENAMES": str(device / "vk_swiftshader_icd.json"),
        "XDG_RUNTIME_DIR": str(sockets),
    }


PROVIDERS = {"webgpu": vulkan, "openvino": lambda cache: linux_x86() or {}}


def build():
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--package", "camscope"], cwd=ROOT, check=True)
    about = json.loads(subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                                      stdout=subprocess.PIPE).stdout)
    return pathlib.Path(about["target_directory"]) / "debug" / "camscope"


def numbers(file):
    """The floats of a .npy file."""
    data = file.read_bytes()
    assert data[:6] == b"\x93NUMPY", file
    size = int.from_bytes(data[8:10], "little")
    assert ast.literal_eval(data[10:10 + size].decode().strip())["descr"] == "<f4", file
    return array.array("f", data[10 + size:])


def apart(a, b):
    """‖a − b‖ / ‖b‖"""
    assert len(a) == len(b) and len(b) > 0
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b)) ** 0.5


class Here:
    """A home of its own, and the program in it."""

    def __init__(self, program, data, scratch):
        self.program, self.scratch, self.photos = program, pathlib.Path(scratch), 0
        kept = {name: value for name, value in os.environ.items()
                if name not in ("ORT_DYLIB_PATH", "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", "VIRTUAL_ENV", "CONDA_PREFIX")}
        self.environment = kept | {
            "XDG_DATA_HOME": str(data),
            "XDG_CACHE_HOME": str(self.scratch / "cache"),
            "XDG_CONFIG_HOME": str(self.scratch / "config"),
        }

    def camscope(self, arguments, more=None, status=0):
        done = subprocess.run([self.program, *arguments], env=self.environment | (more or {}), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == status, f"camscope {' '.join(map(str, arguments))}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def explain(self, options, more=None):
        """The provider, and the heat."""
        self.photos += 1
        folder = self.scratch / str(self.photos)
        done = self.camscope(["explain", MODEL, PHOTO, "--json", "--raw", folder, *options], more)
        return json.loads(done.stdout)["provider"], numbers(folder / f"{PHOTO.stem}.heatmap.npy")

    def shown(self, options=(), more=None):
        return json.loads(self.camscope(["runtime", "show", "--json", *options], more).stdout)

    def remembered(self):
        file = self.scratch / "cache/camscope/providers-that-agree"
        return file.read_text(encoding="utf-8") if file.is_file() else ""


def install(here, name, variables):
    """Has the provider's package fetched."""
    done = subprocess.run([here.program, "runtime", "install", "--ep", name], env=here.environment | variables, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if "cannot fetch" in done.stderr:
        raise Unavailable(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0 and "note:" not in done.stderr, done.stderr


def check(here, name, variables, heat):
    """What became of a provider, in words; an AssertionError where something is wrong."""
    agreed = here.remembered()
    provider, own = here.explain(["--ep", name], variables)
    error = apart(own, heat)
    assert provider == name and error <= FARTHEST, f"{provider}: the heat is off by {error:.1e}"
    remembered = here.remembered().removeprefix(agreed)

    shown = here.shown(more=variables)
    assert shown["auto"] == "cpu", f"--ep auto would take {shown['auto']}, and there is no GPU here that is none in software"
    device = next(device for device in shown["devices"] if device["provider"] == name)
    assert device["usable"] and device["name"] and device["type"] == "CPU", device
    assert (device["doubt"] is not None) == (name == "webgpu"), device
    assert f" {name} {device['provider_version']} " in remembered, f"that it agrees with the CPU is not remembered: {remembered!r}"
    provider, again = here.explain(["--device", str(device["number"])], variables)
    assert provider == name and apart(again, heat) <= FARTHEST

    if name in LIES:
        said = here.camscope(["explain", LIES[name], PHOTO, "--ep", name], variables, status=1).stderr
        assert f"the execution provider {name} cannot be trusted with this model" in said, said

    # The library alone, in a home that has no other.
    runtime = {"ORT_DYLIB_PATH": shown["library"], "XDG_DATA_HOME": str(here.scratch / "no-data")}
    library = ["--ep-library", device["library"]]
    provider, again = here.explain([*library, "--ep", name], variables | runtime)
    assert provider == name and apart(again, heat) <= FARTHEST
    # Without the variables that have Vulkan found: the CPU must not be the provider by another name.
    provider, again = here.explain([*library, "--ep", "cpu"], runtime)
    assert provider == "cpu" and list(again) == list(heat), "beside the library the CPU gives something else"
    said = here.camscope(["explain", MODEL, PHOTO, *library, "--ep", "nosuch"], variables | runtime, status=1).stderr
    assert "no library offers it (there are cpu, " in said and name in said, said
    return f"right: the heat is off by {error:.1e}, on {device['name']} (provider {device['provider_version']})"


def main():
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache = (base / "camscope-providers").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    program, wrong = build(), False
    with tempfile.TemporaryDirectory() as scratch:
        here = Here(program, cache / "plugins", scratch)
        here.camscope(["runtime", "install"])
        _, heat = here.explain(["--ep", "cpu"])
        for name, needed in PROVIDERS.items():
            try:
                variables = needed(cache)
                install(here, name, variables)
                said = check(here, name, variables, heat)
            except Unavailable as error:
                said = f"skipped: {error}"
            except AssertionError as error:
                said, wrong = f"wrong: {error}", True
            print(f"  {name:9} {said}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
