"""The checks of run.py, where ONNX Runtime and ONNX can be imported."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = ROOT / "tests/fixtures"

# Ten architectures, convolutional and with attention, by both exporters of PyTorch.
ARCHITECTURES = """classifiers/mobilenet_v2 classifiers/resnet18 classifiers/densenet classifiers/efficientnet_b0 classifiers/squeezenet1_1
    families/convnext families/swin families/deit_distilled families/beit families/caformer""".split()
MODELS = [(f"{name}.{exporter}.onnx", []) for name in ARCHITECTURES for exporter in ["ts", "dynamo"]]
OTHERS = [
    ("classifiers/mobilenet_v2.ts.onnx", ["--top", "3", "--overlay", "--size", "input"]),
    ("classifiers/mobilenet_v2.dynamo.onnx", ["--method", "layercam", "--sign", "both", "--layer", "auto", "--layer", "features.7"]),
    ("classifiers/resnet18.ts.onnx", ["--target", "contrast:1,2", "--score", "probability"]),
    ("classifiers/resnet18.dynamo.onnx", ["--opset", "21", "--external"]),
    ("tasks/detection/yolov8.ts.onnx", ["--size", "64", "--target", "box:2"]),
    ("tasks/dense/seg_softmax.ts.onnx", ["--target", "segment:1"]),
]
QUICK = [MODELS[0], MODELS[3], MODELS[13], *OTHERS]

CLASSES = [3, -1, 0, 1, -1, 2, 4, 3]
TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(uint8)": "uint8"}


def session(model, optimised=True, threads=2):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def camscope(said, *words, cwd):
    done = subprocess.run([said["camscope"], *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"camscope {' '.join(map(str, words))}: {done.stderr}"
    return done.stdout


def apart(found, wanted):
    """The largest difference, as a share of the largest number."""
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    difference = numpy.abs(found.astype(numpy.float64) - wanted.astype(numpy.float64)).max(initial=0)
    return difference / max(numpy.abs(wanted).max(initial=0), 1e-12) if difference else 0.0


def feeds_of(own, batch):
    feeds = {}
    for at, given in enumerate(own.get_inputs()):
        if given.name == "camscope_class":
            feeds[given.name] = numpy.array([CLASSES[at % len(CLASSES)] for at in range(batch)], numpy.int64)
            continue
        shape = [batch if axis == 0 else size for axis, size in enumerate(given.shape)]
        values = numpy.sin(numpy.arange(numpy.prod(shape)) * 78.233 + at) * 43758.5453
        feeds[given.name] = (values - numpy.trunc(values)).astype(numpy.float32).reshape(shape)
    return feeds


def in_node(said, module, model, feeds):
    """What ONNX Runtime for Node, or for WebAssembly, gives."""
    name = {"onnxruntime-node": "dist/index.js", "onnxruntime-web": "dist/ort.wasm.min.mjs"}[module]
    request = {
        "model": str(model),
        "feeds": {name: [str(value.dtype), list(value.shape), value.ravel().tolist()] for name, value in feeds.items()},
    }
    done = subprocess.run(["node", HERE / "run.mjs", pathlib.Path(said["node"]) / module / name], input=json.dumps(request),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"{module}: {done.stderr[-500:]}"
    return {name: numpy.array(values, dtype).reshape(shape) for name, (dtype, shape, values) in json.loads(done.stdout).items()}


def in_openvino(model, feeds, names):
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(feeds)
    return {name: found[compiled.output(at)] for at, name in enumerate(names)}


def explained(said, model, options, image, target, folder):
    numpy.save(folder / "image.npy", image)
    kept, skip = [], False
    for word in options:
        # What only an export takes, or says another way.
        if skip:
            skip = False
        elif word in ("--top", "--target", "--opset"):
            skip = True
        elif word not in ("--overlay", "--external"):
            kept.append(word)
    if "--size" in kept and "input" in kept:
        kept = [word for word in kept if word not in ("--size", "input")]
    lines = camscope(said, "explain", "--ep", "cpu", model, "--tensor", "image.npy", "--target", target, "--raw", "raw", "--json", *kept, cwd=folder)
    return [numpy.load(folder / f"{json.loads(line)['raw']}.heatmap.npy") for line in lines.splitlines()]


def check(said, name, options):
    source = FIXTURES / name
    told = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        model = folder / "exported.onnx"
        camscope(said, "export", source, "-o", model, *options, cwd=folder)
        onnx.checker.check_model(str(model), full_check=True)
        loaded = onnx.load(model)
        domains = {node.domain for node in loaded.graph.node} - {node.domain for node in onnx.load(source).graph.node} - {"", "ai.onnx"}
        assert not domains, domains

        own = session(str(model))
        batch = own.get_inputs()[0].shape[0]
        batch = batch if isinstance(batch, int) else 8
        feeds = feeds_of(own, batch)
        names = [output.name for output in own.get_outputs()]
        found = dict(zip(names, own.run(None, feeds)))

        # The original's outputs: the same bits where nothing is fused, and else as near as fusing goes.
        plain = {name: value for name, value in feeds.items() if name != "camscope_class"}
        for optimised in [False, True]:
            wanted = dict(zip([o.name for o in session(str(source)).get_outputs()], session(str(source), optimised).run(None, plain)))
            given = dict(zip(names, session(str(model), optimised).run(None, feeds)))
            for output, value in wanted.items():
                far = apart(given[output], value)
                assert far <= (1e-5 if optimised else 0), f"{output}: {far}, optimised: {optimised}"
        same = all(numpy.array_equal(found[output], value) for output, value in wanted.items())
        told.append("outputs the same bits" if same else "outputs within 1e-5, the same bits unoptimised")

        # Each image's heat is what `explain` says of it alone.
        heatmaps = json.loads(own.get_modelmeta().custom_metadata_map["camscope.heatmaps"])
        target = options[options.index("--target") + 1] if "--target" in options else None
        if "--size" not in options or "input" not in options:
            for at in range(min(batch, 3)):
                asked = target or (f"class:#{CLASSES[at]}" if CLASSES[at] >= 0 else "class:top1")
                image = next(iter(plain.values()))[at:at + 1]
                for heat, heatmap in zip(explained(said, source, options, image, asked, folder), heatmaps, strict=True):
                    far = apart(found[heatmap["output"]][at], heat)
                    assert far <= 1e-5, f"{heatmap['output']} of image {at}: {far}"

        def compare(where, given):
            worst = 0.0
            for output, value in found.items():
                if value.dtype == numpy.uint8:
                    # A colour may be the next one.
                    differ = (given[output] != value).mean()
                    assert differ < 0.02, f"{where}: {output}: {differ:.1%} differ"
                    continue
                far = apart(given[output], value)
                worst = max(worst, far)
                assert far <= 1e-3, f"{where}: {output}: {far}"
            told.append(f"{where} {worst:.0e}")

        if said["node"]:
            compare("Node", in_node(said, "onnxruntime-node", model, feeds))
            if "--external" not in options:
                compare("WebAssembly", in_node(said, "onnxruntime-web", model, feeds))
        if said["openvino"]:
            compare("OpenVINO", in_openvino(model, feeds, names))
    return told


def timing(said, paths):
    """Exported against plain, on one thread: alternating runs in one process, the median of the ratios, by the clock and by processor time.

    The latter is less disturbed by what else the machine does."""
    for path in map(pathlib.Path, paths):
        path = path.resolve()
        with tempfile.TemporaryDirectory() as scratch:
            model = pathlib.Path(scratch) / "exported.onnx"
            camscope(said, "export", path, "-o", model, cwd=scratch)
            sizes = [path.stat().st_size, model.stat().st_size]
            plain, own = session(str(path), threads=1), session(str(model), threads=1)
            for batch in [1, 16]:
                feeds = feeds_of(own, batch)
                alone = {name: value for name, value in feeds.items() if name != "camscope_class"}
                pairs = [(plain, alone), (own, feeds)]
                for run, values in pairs:
                    run.run(None, values)  # the first run sets things up
                by_clock, by_processor, times = [], [], []
                begun = time.perf_counter()
                while len(by_clock) < 5 or (time.perf_counter() - begun < 30 and len(by_clock) < 101):
                    spent = {}
                    for at in [0, 1] if len(by_clock) % 2 else [1, 0]:
                        run, values = pairs[at]
                        clock, processor = time.perf_counter(), time.process_time()
                        run.run(None, values)
                        spent[at] = (time.perf_counter() - clock, time.process_time() - processor)
                    by_clock.append(spent[1][0] / spent[0][0])
                    by_processor.append(spent[1][1] / spent[0][1])
                    times.append(spent[0][1])
                quartiles = [[round(float(number), 3) for number in numpy.percentile(ratios, [25, 75])] for ratios in (by_clock, by_processor)]
                print(f"{path.name}, batch {batch}: {statistics.median(by_processor):.3f} of processor time (quartiles {quartiles[1]}), "
                      f"{statistics.median(by_clock):.3f} by the clock (quartiles {quartiles[0]}); {len(times)} rounds, plain "
                      f"{1e3 * statistics.median(times):.1f} ms of processor time; {sizes[0]} and {sizes[1]} bytes; load {os.getloadavg()[0]:.1f} on "
                      f"{os.cpu_count()} processors", flush=True)


def main():
    said = json.loads(sys.argv[1])
    if said["timing"]:
        timing(said, said["timing"])
        return 0
    wrong = 0
    for name, options in QUICK if said["quick"] else MODELS + OTHERS:
        try:
            told = ", ".join(check(said, name, options))
        except Exception as error:  # whatever a runtime raises is a finding
            wrong += 1
            told = f"WRONG: {type(error).__name__}: {error}"
        print(f"{name} {' '.join(options)}: {told}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
