"""What side_by_side.py and scaling.py share: things are timed in turn in one process, and camscope is run beside them."""

import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(above: list[float], below: list[float]) -> dict[str, float]:
    """The spread of the ratios of each round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


class Sides:
    """Things that are timed in turn: a block of runs of each in a round, in an order that changes from round to round."""

    def __init__(self, sides: dict[str, Callable[[], object]], block_ms: float = 100.0, most: int = 10) -> None:
        self.sides = sides
        self.runs: dict[str, int] = {}
        self.times: dict[str, list[float]] = {name: [] for name in sides}
        self.rounds = 0
        for name, run in sides.items():
            run()
            self.runs[name] = max(1, min(most, round(block_ms / max(timed(run), 1e-3))))

    def round(self) -> None:
        names = list(self.sides)
        first = self.rounds // 2 % len(names)
        names = names[first:] + names[:first]
        if self.rounds % 2:
            names.reverse()
        for name in names:
            run = self.sides[name]
            run()  # not counted: the caches and the threads were another side's
            self.times[name].append(statistics.median(timed(run) for _ in range(self.runs[name])))
        self.rounds += 1


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def session(model: str | Path | bytes, threads: int, **sizes: int) -> ort.InferenceSession:
    """A session on the CPU; `sizes` are those of axes that the model leaves open, by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for axis, size in sizes.items():
        options.add_free_dimension_override_by_name(axis, size)
    model = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runner(session: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> Callable[[], object]:
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
    return lambda: session.run_with_ort_values(None, values)


def result(session: ort.InferenceSession, feeds: dict[str, np.ndarray], output: str) -> np.ndarray:
    return session.run([output], feeds)[0]


def one_hot(shape: list[int], label: int) -> np.ndarray:
    """The seed of one class, in every picture of a batch."""
    seed = np.zeros(shape, np.float32)
    seed[:, label] = 1
    return seed


def error(found: np.ndarray, right: np.ndarray) -> float:
    """The greatest difference, relative to the greatest value."""
    return float(np.abs(found.astype(np.float64) - right).max() / max(np.abs(right).max(), 1e-30))


class Camscope:
    """The program, with the ONNX Runtime of this Python unless the environment names another."""

    def __init__(self, program: str | None) -> None:
        target = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).parent.parent / "target")
        built = shutil.which("camscope", path=target / "release")
        found = program or built or shutil.which("camscope")
        if not found:
            sys.exit("there is no camscope: cargo build --release, or --camscope PROGRAM")
        self.program = found
        self.environment = dict(os.environ)
        folder = Path(ort.__file__).parent / "capi"
        for pattern in ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll"):
            for library in glob.glob(str(folder / pattern)):
                self.environment.setdefault("ORT_DYLIB_PATH", library)

    def run(self, *arguments: object) -> str:
        command = [self.program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if done.returncode:
            last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise RuntimeError(f"camscope {arguments[0]}: {last}")
        return done.stdout

    def bench(self, model: Path, threads: int | None, rounds: int | None, *more: object) -> dict:
        arguments = ["bench", model, "--ep", "cpu", "--json", *more]
        arguments += ["--threads", threads] if threads else []
        arguments += ["--rounds", rounds] if rounds else []
        return json.loads(self.run(*arguments))

    def auto_layer(self, model: Path) -> dict:
        layers = [json.loads(line) for line in self.run("layers", model, "--json").splitlines()]
        return next(layer for layer in layers if layer["default"])

    def differentiate(self, model: Path, to: Path) -> None:
        self.run("differentiate", model, "--wrt", "input", "-o", to)
