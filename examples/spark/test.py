"""60 photos through `explain.py`: all of them are there, and classes and heat are those of `camscope explain`.

    python3 test.py CAMSCOPE MODEL.onnx PHOTO…

Run by `python3 examples/run.py spark`, in a Python that has Spark.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlparse

import numpy
import pyarrow.dataset
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 60


def main():
    camscope, model, *samples = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        exported, photos, out = scratch / "explained.onnx", scratch / "photos", scratch / "out"
        subprocess.run([camscope, "export", model, "-o", exported], check=True, stdout=subprocess.DEVNULL)
        photos.mkdir()
        for at in range(COUNT):
            photo = Image.open(samples[at % len(samples)]).convert("RGB").rotate(at * 7 % 360).resize((256 + at % 40, 256 + at % 30))
            photo.save(photos / f"{at:03}.png", compress_level=1)
        start = time.perf_counter()
        environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
        done = subprocess.run([sys.executable, HERE / "explain.py", exported, photos, out], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        seconds = time.perf_counter() - start
        table = pyarrow.dataset.dataset(out).to_table().sort_by("path").to_pydict()
        names = [pathlib.Path(urlparse(path).path).name for path in table["path"]]
        assert names == [f"{at:03}.png" for at in range(COUNT)], names
        lines = subprocess.run([camscope, "explain", "--ep", "cpu", model, *sorted(photos.iterdir()), "--raw", scratch / "raw", "--json"],
                               check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()
        worst = 0.0
        for at, line in enumerate(map(json.loads, lines)):
            heat = numpy.load(scratch / "raw" / f"{line['raw']}.heatmap.npy")
            assert (table["class"][at], table["label"][at]) == (line["class"], line["label"]), line["image"]
            own = numpy.array(table["heat"][at]).reshape(table["height"][at], table["width"][at])
            worst = max(worst, numpy.abs(own - heat).max() / max(numpy.abs(heat).max(), 1e-12))
        assert len(lines) == COUNT and worst <= 1e-4, (len(lines), worst)
        print(f"{COUNT} photos in {seconds:.0f} s, Spark's start included: classes and labels are explain's, heat within {worst:.0e}")


if __name__ == "__main__":
    main()
