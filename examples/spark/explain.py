#!/usr/bin/env python3
"""A folder of photos through an exported model with Spark: what is in each, and what in the photo speaks for it, as Parquet.

    camscope export model.onnx -o explained.onnx
    spark-submit explain.py explained.onnx PHOTOS OUT

OUT gets Parquet files with `path`, `class`, `label`, `score`, and `heat` with its `height` and `width`. Needs Java, and: pip install pyspark
pandas pyarrow onnxruntime pillow
"""

import argparse
import io
import json
import math
import os

import numpy
import pandas
from pyspark import SparkFiles
from pyspark.sql import SparkSession

COLUMNS = "path string, class long, label string, score float, heat array<float>, height int, width int"


def prepared(bytes_, p):
    """A photo as the model takes it, by the preparation that the model carries."""
    from PIL import Image

    filters = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS, "nearest": Image.NEAREST}
    photo = Image.open(io.BytesIO(bytes_)).convert("RGB")
    height, width = p["size"]
    if p["crop"]["kind"] == "squash":
        photo = photo.resize((width, height), filters[p["resize"]])
    elif p["crop"]["kind"] in ("centre_fraction", "resize_to") and height == width:
        side = p["crop"].get("side") or math.floor(height / p["crop"]["fraction"])
        w, h = photo.size
        to = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
        left, top = round((to[0] - width) / 2), round((to[1] - height) / 2)
        photo = photo.resize(to, filters[p["resize"]]).crop((left, top, left + width, top + height))
    else:
        raise ValueError(f"this example doesn't prepare photos by {p['crop']}")
    if (p["color"], p["layout"]) != ("RGB", "NCHW"):
        raise ValueError(f"this example feeds no {p['color']} in {p['layout']}")
    low, high = p["range"]
    values = low + numpy.asarray(photo, numpy.float32) / 255 * (high - low)
    return ((values - numpy.float32(p["mean"])) / numpy.float32(p["std"])).transpose(2, 0, 1)


def explain(name, threads):
    """What Spark calls for each partition: one session, for as many batches as come."""
    def each(batches):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(SparkFiles.get(name), options, providers=["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        preparation, labels = json.loads(about["camscope.preparation"]), json.loads(about.get("camscope.labels", "[]"))
        heatmap = json.loads(about["camscope.heatmaps"])[0]["output"]
        image = next(given.name for given in session.get_inputs() if given.name != about["camscope.class_input"])
        for batch in batches:
            images = numpy.stack([prepared(content, preparation) for content in batch["content"]])
            feeds = {image: images, about["camscope.class_input"]: numpy.full(len(images), -1, numpy.int64)}  # of each the likeliest class
            scores, heat = session.run([session.get_outputs()[0].name, heatmap], feeds)
            best = scores.argmax(axis=1)
            yield pandas.DataFrame({
                "path": batch["path"],
                "class": best,
                "label": [labels[at] if at < len(labels) else "" for at in best],
                "score": scores[numpy.arange(len(best)), best],
                "heat": list(heat.reshape(len(heat), -1)),
                "height": numpy.full(len(heat), heat.shape[1], numpy.int32),
                "width": numpy.full(len(heat), heat.shape[2], numpy.int32),
            })

    return each


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos")
    parser.add_argument("out")
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of each session")
    args = parser.parse_args()
    spark = SparkSession.builder.appName("camscope").config("spark.sql.execution.arrow.maxRecordsPerBatch", args.batch).getOrCreate()
    spark.sparkContext.addFile(args.model)  # copied to every node
    photos = spark.read.format("binaryFile").load(args.photos).select("path", "content").repartition(args.partitions)
    photos.mapInPandas(explain(os.path.basename(args.model), args.threads), COLUMNS).write.parquet(args.out)
    spark.stop()


if __name__ == "__main__":
    main()
