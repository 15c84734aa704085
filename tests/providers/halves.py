"""Float16 files of networks of `tests/fixtures`, by ONNX Runtime's own converter; `run.py` calls this in its environment.

    python halves.py FOLDER FILE…        # writes FOLDER/FILE for each tests/fixtures/FILE

FOLDER/rounded/FILE is the float32 network with its weights rounded to float16: what the float16 network means.
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"


def rounded(model):
    held = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in [*model.graph.initializer, *held]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            numbers = numpy_helper.to_array(tensor)
            # The ends that the converter has.
            numbers = np.sign(numbers) * np.where(numbers == 0, 0, np.clip(np.abs(numbers), 5.96e-8, 1e4))
            tensor.CopyFrom(numpy_helper.from_array(numbers.astype(np.float16).astype(np.float32), tensor.name))
    return model


def main():
    folder, *files = sys.argv[1:]
    for file in files:
        target = pathlib.Path(folder, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        model = convert_float_to_float16(onnx.load(FIXTURES / file), keep_io_types=False)
        # A converted value may keep the float32 that the exporter stated for it.
        del model.graph.value_info[:]
        onnx.save(model, target)
        target = pathlib.Path(folder, "rounded", file)
        target.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(rounded(onnx.load(FIXTURES / file)), target)


if __name__ == "__main__":
    main()
