"""500 photos through `explain.py` on two workers, of which one is killed on the way: nothing is lost, and heat is that of `camscope explain`.

    python3 test.py CAMSCOPE MODEL.onnx PHOTO…

Run by `python3 examples/run.py ray`, in a Python that has Ray.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy
import pyarrow.dataset
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 500


def workers():
    """The processes of the actors that explain, of this run."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().decode(errors="replace")
            mine = (folder / "environ").read_bytes()
        except OSError:
            continue
        if name.startswith("ray::") and "Explain" in name and f"CAMSCOPE_EXAMPLE={os.getpid()}".encode() in mine:
            found.append(int(folder.name))
    return found


def run(model, photos, out, count, kill=False):
    environment = os.environ | {"CAMSCOPE_EXAMPLE": str(os.getpid()), "RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    with open(f"{out}.log", "w") as log:
        running = subprocess.Popen([sys.executable, HERE / "explain.py", model, photos, out, "--workers", str(count)], stdout=subprocess.PIPE,
                                   stderr=log, text=True, env=environment)
        killed = None
        while kill and killed is None and running.poll() is None:
            # Not before something is done, and not when everything is.
            if next(pathlib.Path(out).glob("*.parquet"), None) and workers():
                killed = workers()[0]
                os.kill(killed, signal.SIGKILL)
            time.sleep(0.05)
        said, _ = running.communicate()
    assert running.returncode == 0, pathlib.Path(f"{out}.log").read_text()[-3000:]
    assert not kill or killed, "all was done before a worker could be killed"
    return json.loads(said.splitlines()[-1])["seconds"]


def main():
    camscope, model, *samples = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        exported, photos = scratch / "explained.onnx", scratch / "photos"
        subprocess.run([camscope, "export", model, "-o", exported], check=True, stdout=subprocess.DEVNULL)
        photos.mkdir()
        for at in range(COUNT):
            photo = Image.open(samples[at % len(samples)]).convert("RGB").rotate(at * 7 % 360).resize((256 + at % 40, 256 + at % 30))
            photo.save(photos / f"{at:03}.png", compress_level=1)
        alone, two = run(exported, photos, scratch / "one", 1), run(exported, photos, scratch / "two", 2)
        with_loss = run(exported, photos, scratch / "killed", 2, kill=True)
        tables = [pyarrow.dataset.dataset(scratch / name).to_table().sort_by("path").to_pydict() for name in ["one", "killed"]]
        for table in tables:
            names = [pathlib.Path(path).name for path in table["path"]]
            assert names == [f"{at:03}.png" for at in range(COUNT)], f"{len(names)} rows, {len(set(names))} photos"
        assert tables[0]["class"] == tables[1]["class"]
        apart = max(numpy.abs(numpy.subtract(a, b)).max() / max(numpy.abs(a).max(), 1e-12) for a, b in zip(tables[0]["heat"], tables[1]["heat"]))
        assert apart <= 1e-5, apart
        # What the command line says of every tenth.
        some = range(0, COUNT, 10)
        lines = subprocess.run([camscope, "explain", "--ep", "cpu", model, *(photos / f"{at:03}.png" for at in some), "--raw", scratch / "raw", "--json"],
                               check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()
        worst = 0.0
        for at, line in zip(some, map(json.loads, lines), strict=True):
            heat = numpy.load(f"{line['raw']}.heatmap.npy" if os.path.isabs(line["raw"]) else scratch / "raw" / f"{line['raw']}.heatmap.npy").ravel()
            own = numpy.array(tables[1]["heat"][at])
            assert tables[1]["class"][at] == line["class"], line["image"]
            worst = max(worst, numpy.abs(own - heat).max() / max(numpy.abs(heat).max(), 1e-12))
        assert worst <= 1e-4, worst
        print(f"{COUNT} photos: 1 worker {alone} s, 2 workers {two} s ({COUNT / alone:.1f} and {COUNT / two:.1f} a second, efficiency "
              f"{alone / two / 2:.0%}), with one killed {with_loss} s: nothing lost; heat against explain's {worst:.0e}; "
              f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
