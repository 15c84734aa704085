"""Gradients by what `camscope differentiate` writes, in other programs' runtimes; `run.py` calls this in its environment.

    python written.py python|wasm CAMSCOPE MODULE SCRATCH HALVES FILE…

A JSON line for each FILE of `tests/fixtures`, like those of `provider-gradients`. MODULE is the path of onnxruntime-web's module (for `wasm`),
HALVES the folder of the float16 files, or `-` for float32.
"""

import base64
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"

# As in provider-gradients.rs, which says why.
TOLERANCE, TOLERANCE_HALF = 1e-4, 5e-3

# A third of them, the first, are not timed: they set things up.
ROUNDS = 15


class Failed(Exception):
    pass


def in_python(path, feeds, output, rounds=ROUNDS):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            (found,) = session.run([output], feeds)
            times.append(time.perf_counter() - start)
    except Exception as error:  # whatever the library raises is the answer
        raise Failed(str(error)) from error
    times = sorted(times[rounds // 3 :])
    return found, times[len(times) // 2]


class Wasm:
    def __init__(self, module):
        script = pathlib.Path(__file__).with_suffix(".mjs")
        self.node = subprocess.Popen(["node", script, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, path, feeds, output, rounds=ROUNDS):
        sent = {name: [str(value.dtype), value.shape, base64.b64encode(value.tobytes()).decode()] for name, value in feeds.items()}
        self.node.stdin.write(json.dumps({"model": str(path), "feeds": sent, "output": output, "rounds": rounds}) + "\n")
        self.node.stdin.flush()
        line = self.node.stdout.readline()
        if not line:
            raise Failed(f"node ended with status {self.node.wait()}")
        said = json.loads(line)
        if "error" in said:
            raise Failed(said["error"])
        return np.frombuffer(base64.b64decode(said["base64"]), said["type"]).reshape(said["shape"]), said["seconds"]


class Model:
    """A model, and what was written of it."""

    def __init__(self, camscope, path, written):
        graph = onnx.load(path).graph
        constants = {tensor.name for tensor in graph.initializer}
        (self.input,) = [value.name for value in graph.input if value.name not in constants]
        self.path, self.output = path, graph.output[0].name
        self.written = written
        command = [camscope, "differentiate", path, "--output", self.output, "--wrt", self.input, "-o", self.written]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(done.stderr)
        inputs = {value.name: value for value in onnx.load(self.written).graph.input}
        self.seed = f"seed.{self.output}"
        kinds = {name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for name, value in inputs.items()}
        self.kind, self.seed_kind = kinds[self.input], kinds[self.seed]
        (plain,) = [value for value in graph.input if value.name == self.input]
        self.plain_kind = onnx.helper.tensor_dtype_to_np_dtype(plain.type.tensor_type.elem_type)

    def gradient(self, run, x, classes, index, rounds=ROUNDS):
        seed = np.zeros((1, classes), self.seed_kind)
        seed[0, index] = 1
        feeds = {self.input: x.astype(self.kind), self.seed: seed}
        found, seconds = run(self.written, feeds, f"grad.{self.input}", rounds)
        return found.astype(np.float64), seconds

    def scores(self, run, x, rounds=ROUNDS):
        found, seconds = run(self.path, {self.input: x.astype(self.plain_kind)}, self.output, rounds)
        return found.astype(np.float64).ravel(), seconds


def off(found, wanted):
    wanted = wanted.astype(np.float64)
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def number(error):
    return error if np.isfinite(error) else str(error)


def check(file, run, camscope, scratch, halves):
    folder, name = file.split("/")
    index = json.loads((FIXTURES / folder / "index.json").read_text(encoding="utf-8"))
    (entry,) = [entry for entry in index if name in entry["files"]]
    recorded = np.load(FIXTURES / folder / f"{entry['name']}.npz")
    tolerance = TOLERANCE_HALF if halves else TOLERANCE
    path = (halves or FIXTURES) / file
    x, wanted = recorded["input"], recorded["grad_input"]
    classes = recorded["logits"].size
    model = Model(camscope, path, scratch / "written.onnx")
    try:
        scores, plain = model.scores(run, x)
    except Failed as error:
        return {"file": file, "verdict": "unsupported", "error": str(error)}
    found, seconds = model.gradient(run, x, classes, entry["class"])
    error, score_error = off(found, wanted), off(scores, recorded["logits"].ravel())
    reference = Model(camscope, (halves / "rounded" if halves else FIXTURES) / file, scratch / "reference.onnx")
    allowed, scores_allowed = max(tolerance, 4 * float(recorded["err_input"].ravel()[0])), tolerance
    if halves:
        scores, _ = reference.scores(in_python, x, 1)
        rounded, _ = reference.gradient(in_python, x, classes, entry["class"], 1)
        allowed = max(tolerance, 4 * off(rounded, wanted))
        scores_allowed = max(tolerance, 4 * off(scores, recorded["logits"].ravel()))
    within, second = error <= allowed, None
    if not within and (halves or run is not in_python):
        # Off, or on the other side of a kink? At another input a wrong gradient is wrong, too.
        other = x * 0.9 + 0.1 * (np.random.default_rng(11).random(x.shape, np.float32) - 0.5)
        found, _ = model.gradient(run, other, classes, entry["class"], 1)
        right, _ = reference.gradient(in_python, other, classes, entry["class"], 1)
        second = off(found, right)
    verdict = "right"
    if not within:
        if not score_error <= scores_allowed:
            verdict = "scores"
        else:
            verdict = "kink" if second is not None and second <= tolerance else "wrong"
    return {"file": file, "input": number(error), "layer": None, "second": second and number(second), "scores": number(score_error),
            "ratio": seconds / plain, "verdict": verdict}


def main():
    runtime, camscope, module, scratch, halves, *files = sys.argv[1:]
    run = in_python if runtime == "python" else Wasm(module)
    for file in files:
        try:
            line = check(file, run, camscope, pathlib.Path(scratch), None if halves == "-" else pathlib.Path(halves))
        except Failed as error:
            line = {"file": file, "verdict": "failed", "error": str(error)}
        print(json.dumps(line), flush=True)
    if run is not in_python:
        run.node.stdin.close()
        run.node.wait()


if __name__ == "__main__":
    main()
