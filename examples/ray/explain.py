#!/usr/bin/env python3
"""A folder of photos through an exported model with Ray Data: what is in each, and what in the photo speaks for it, as Parquet.

    camscope export model.onnx -o explained.onnx
    python3 explain.py explained.onnx PHOTOS OUT --workers 2

PHOTOS is a folder of images, or of Parquet files with the columns `path` and `bytes` (an encoded image). OUT gets Parquet files with `path`,
`class`, `label`, `score`, and `heat` with its `height` and `width`. Needs: pip install "ray[data]" onnxruntime pillow numpy
"""

import argparse
import io
import json
import math
import os
import pathlib
import time

import numpy
import ray


def prepared(bytes_, p):
    """A photo as the model takes it, by the preparation that the model carries."""
    from PIL import Image

    filters = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS, "nearest": Image.NEAREST}
    photo = Image.open(io.BytesIO(bytes_)).convert("RGB")
    height, width = p["size"]
    kind = p["crop"]["kind"]
    if kind == "squash":
        photo = photo.resize((width, height), filters[p["resize"]])
    elif kind in ("centre_fraction", "resize_to") and height == width:
        side = p["crop"].get("side") or math.floor(height / p["crop"]["fraction"])
        w, h = photo.size
        to = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
        photo = photo.resize(to, filters[p["resize"]])
        left, top = round((to[0] - width) / 2), round((to[1] - height) / 2)
        photo = photo.crop((left, top, left + width, top + height))
    else:
        raise ValueError(f"this example doesn't prepare photos by {p['crop']}")
    if (p["color"], p["layout"]) != ("RGB", "NCHW"):
        raise ValueError(f"this example feeds no {p['color']} in {p['layout']}")
    low, high = p["range"]
    values = low + numpy.asarray(photo, numpy.float32) / 255 * (high - low)
    values = (values - numpy.float32(p["mean"])) / numpy.float32(p["std"])
    return values.transpose(2, 0, 1)


class Explain:
    """One session in each worker, for as many batches as come."""

    def __init__(self, model, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # On a node with a GPU, its provider is taken; the others are for those without.
        self.session = onnxruntime.InferenceSession(model, options, providers=onnxruntime.get_available_providers())
        about = self.session.get_modelmeta().custom_metadata_map
        self.preparation = json.loads(about["camscope.preparation"])
        self.labels = json.loads(about.get("camscope.labels", "[]"))
        self.class_input = about["camscope.class_input"]
        self.heatmap = json.loads(about["camscope.heatmaps"])[0]["output"]
        self.image = next(given.name for given in self.session.get_inputs() if given.name != self.class_input)

    def __call__(self, batch):
        images = numpy.stack([prepared(bytes_, self.preparation) for bytes_ in batch["bytes"]])
        asked = numpy.full(len(images), -1, numpy.int64)  # of each the likeliest class
        logits, heat = self.session.run([self.session.get_outputs()[0].name, self.heatmap], {self.image: images, self.class_input: asked})
        best = logits.argmax(axis=1)
        return {
            "path": batch["path"],
            "class": best,
            "label": [self.labels[at] if at < len(self.labels) else "" for at in best],
            "score": logits[numpy.arange(len(best)), best],
            "heat": list(heat.reshape(len(heat), -1)),
            "height": numpy.full(len(heat), heat.shape[1]),
            "width": numpy.full(len(heat), heat.shape[2]),
        }


def photos(path):
    if next(pathlib.Path(path).glob("*.parquet"), None):
        return ray.data.read_parquet(path)
    return ray.data.read_binary_files(path, include_paths=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos")
    parser.add_argument("out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    args = parser.parse_args()
    if "RAY_ADDRESS" not in os.environ:
        # Workers hold their processors for good: two more, by Ray's count, for what reads and writes.
        ray.init(num_cpus=max(os.cpu_count(), args.workers * args.threads + 2))
    start = time.perf_counter()
    found = photos(args.photos).repartition(target_num_rows_per_block=args.batch).map_batches(
        Explain,
        fn_constructor_args=(str(pathlib.Path(args.model).resolve()), args.threads),
        batch_size=args.batch,
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=args.threads,
        # A worker that is lost is started again, and its batch goes to another.
        max_restarts=-1,
        max_task_retries=-1,
    )
    found.write_parquet(args.out)
    print(json.dumps({"workers": args.workers, "seconds": round(time.perf_counter() - start, 2)}))


if __name__ == "__main__":
    main()
