#!/usr/bin/env python3
"""Time and memory of camscope against the picture's size, the model's depth, the threads and the batch, next to the forward pass.

Needs:  what make_models.py needs, and pip install onnxruntime==1.32.0 matplotlib, and camscope, built with cargo build --release
Run:    python benches/scaling.py FOLDER -o OUTDIR       (FOLDER as make_models.py fills it: models that aren't there are made)

Size (ResNet-50 with open height and width), depth (ResNets), threads and explaining a batch (ResNet-50) are what `camscope bench`
says. Of the gradient at the input it has one picture, so batches of that are the model that `camscope differentiate` writes next to the
plain one, in turn, in Python's ONNX Runtime; their memory is what a process's peak grew by since before it had a session.

Writes OUTDIR/scaling.jsonl, a measurement a line, and the plots OUTDIR/scaling-SWEEP.svg. Sweeps that aren't asked for keep what the
file had of them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SWEEPS = {
    "size": "side of the picture (pixels)",
    "depth": "layers of the ResNet",
    "threads": "threads",
    "batch": "pictures in a batch",
}
MODEL = "resnet50"
OPEN = "resnet50_open"


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)


def made(folder: Path, name: str) -> Path:
    """The model's file, which is made where there is none."""
    file = folder / f"{name}.onnx"
    if not file.exists():
        import make_models

        folder.mkdir(parents=True, exist_ok=True)
        make_models.export(make_models.make(name.removesuffix("_open"), 224), file, 224, open_size=name == OPEN)
    return file


def points(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    for sweep in args.sweeps:
        for x in getattr(args, {"size": "sizes", "depth": "depths", "threads": "threads", "batch": "batches"}[sweep]):
            yield sweep, x


def measure(args: argparse.Namespace, camscope, sweep: str, x: int) -> dict:
    if sweep == "size":
        report = camscope.bench(made(args.folder, OPEN), None, args.rounds, "--batch", 1, "--size", x)
    elif sweep == "depth":
        report = camscope.bench(made(args.folder, f"resnet{x}"), None, args.rounds, "--batch", 1)
    elif sweep == "threads":
        report = camscope.bench(made(args.folder, MODEL), x, args.rounds, "--batch", 1)
    else:
        report = batch(camscope, made(args.folder, MODEL), x, args.rounds or 7)
    report["model"] = Path(report["model"]).name
    return {"sweep": sweep, "x": x, **report}


def batch(camscope, model: Path, pictures: int, rounds: int) -> dict:
    from timing import Sides, ratios, runner, session, spread

    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder) / "gradient.onnx"
        camscope.differentiate(model, fused)
        peaks = {}
        for name, file in (("forward", model), ("gradient", fused)):
            command = [sys.executable, __file__, "--child", file, str(pictures)]
            of = [float(subprocess.check_output(command).splitlines()[-1]) for _ in range(min(rounds, 3))]
            peaks[name] = spread(of)
        threads = os.cpu_count() or 1
        sides = {}
        for name, file in (("forward", model), ("gradient", fused)):
            sides[name] = runner(session(file, threads), feeds(pictures, name == "gradient"))
        turns = Sides(sides)
        for _ in range(rounds):
            turns.round()
    ms = {name: spread(times) for name, times in turns.times.items()}
    time = ratios(turns.times["gradient"], turns.times["forward"])
    memory = peaks["gradient"]["median"] / peaks["forward"]["median"]
    explained = camscope.bench(model, None, rounds, "--batch", pictures)
    # One picture is no batch.
    explain = explained["ratios"]["explain" if pictures == 1 else "batch_explain"]
    return {
        "model": str(model),
        "input_shape": [pictures, 3, 224, 224],
        "rounds": rounds,
        "forward_ms": ms["forward"]["median"],
        "gradient_ms": ms["gradient"]["median"],
        "gradient_ratio": time["median"],
        "explain_ratio": explain["median"],
        "memory_gradient_ratio": memory,
        "ms": ms,
        "ratios": {"gradient": time, "explain": explain},
        "peak_mib": peaks,
    }


def feeds(pictures: int, seeded: bool) -> dict:
    import numpy as np

    from timing import one_hot

    picture = np.random.RandomState(0).randn(pictures, 3, 224, 224).astype(np.float32)
    return {"input": picture} | ({"seed.logits": one_hot([pictures, 1000], 5)} if seeded else {})


def resident(key: str) -> float:
    """MiB of this process: now (VmRSS), or the most there were (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system doesn't tell a process's memory")


def child(model: str, pictures: int) -> None:
    """One run of a model in a process of its own: prints what memory that took, in MiB."""
    from timing import runner, session

    given = feeds(pictures, model.endswith("gradient.onnx"))
    before = resident("VmRSS")
    runner(session(model, os.cpu_count() or 1), given)()
    print(resident("VmHWM") - before)


SERIES = {
    "time": [
        ("explain_ratio", "explain", "gradient at one layer", "#0b6fa4", "o"),
        ("all_layers_ratio", "all_layers", "through every layer to the input", "#c2571a", "s"),
        ("gradient_ratio", "gradient", "gradient at the input, exported", "#c2571a", "s"),
    ],
    "memory": [
        ("memory_ratio", "memory", "gradient at one layer", "#0b6fa4", "o"),
        ("memory_all_ratio", "memory_all", "through every layer to the input", "#c2571a", "s"),
        ("memory_gradient_ratio", "memory_gradient", "gradient at the input, exported", "#c2571a", "s"),
    ],
}
PANELS = {"time": "time", "memory": "peak memory"}


def plot(rows: list[dict], sweep: str, to: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": sweep, "font.size": 10, "font.family": "sans-serif"})
    from matplotlib import pyplot

    rows = sorted((row for row in rows if row["sweep"] == sweep), key=lambda row: row["x"])
    figure, panels = pyplot.subplots(1, 2, figsize=(6.4, 2.9), dpi=100, layout="constrained")
    handles = {}
    for axes, (what, label) in zip(panels, PANELS.items()):
        for key, spread, name, colour, marker in SERIES[what]:
            found = [row for row in rows if isinstance(row.get(key), int | float)]
            if not found:
                continue
            x, y = [row["x"] for row in found], [row[key] for row in found]
            ends = [(row.get("ratios") or {}).get(spread) or {"min": row[key], "max": row[key]} for row in found]
            bars = [
                [max(0.0, at - end["min"]) for at, end in zip(y, ends)],
                [max(0.0, end["max"] - at) for at, end in zip(y, ends)],
            ]
            style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.4, "elinewidth": 0.8, "capsize": 2}
            handles[name] = axes.errorbar(x, y, yerr=bars, label=name, **style)
        axes.axhline(1, color="#888888", linewidth=0.8, linestyle=":")
        axes.set_xlabel(SWEEPS[sweep])
        axes.set_ylabel("forward passes")
        axes.set_title(label, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if sweep in ("size", "batch"):
            axes.set_xscale("log", base=2)
        ticks = sorted({row["x"] for row in rows})
        axes.set_xticks(ticks, [str(tick) for tick in ticks], rotation=45 if len(ticks) > 5 else 0)
        axes.minorticks_off()
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(to, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"type": lambda text: [int(part) for part in text.split(",")], "metavar": "N,N,…"}
    parser.add_argument("folder", type=Path, nargs="?", help="the models; not needed to plot only")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUTDIR")
    parser.add_argument("--sweeps", type=lambda text: text.split(","), default=list(SWEEPS), metavar="NAME,NAME,…", help=",".join(SWEEPS))
    parser.add_argument("--sizes", default=[128, 192, 256, 384, 512, 768, 1024], **numbers)
    parser.add_argument("--depths", default=[18, 34, 50, 101, 152], **numbers)
    parser.add_argument("--threads", default=[1, 2], **numbers)
    parser.add_argument("--batches", default=[1, 4, 16, 64], **numbers)
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each measurement [default: as camscope bench does; batches: 7]")
    parser.add_argument("--plot-only", action="store_true", help="draw what OUTDIR/scaling.jsonl has")
    parser.add_argument("--camscope", metavar="PROGRAM")
    args = parser.parse_args()
    if unknown := set(args.sweeps) - set(SWEEPS):
        parser.error(f"there is no sweep {', '.join(sorted(unknown))}")
    file = args.out / "scaling.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not args.plot_only:
        if not args.folder:
            parser.error("FOLDER is missing")
        from timing import Camscope

        camscope = Camscope(args.camscope)
        args.out.mkdir(parents=True, exist_ok=True)
        rows = [row for row in rows if row["sweep"] not in args.sweeps]
        for sweep, x in points(args):
            try:
                row = measure(args, camscope, sweep, x)
            except Exception as failure:
                note(f"{sweep} {x}: {failure}")
                continue
            rows.append(row)
            said = {key: round(value, 2) for key, value in row.items() if key.endswith("ratio") and value is not None}
            print(sweep, x, f"forward {row.get('forward_ms', 0):.1f} ms", said, flush=True)
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for sweep in SWEEPS:
        if any(row["sweep"] == sweep for row in rows):
            plot(rows, sweep, args.out / f"scaling-{sweep}.svg")


if __name__ == "__main__":
    main()
