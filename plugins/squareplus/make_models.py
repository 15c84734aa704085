"""Makes model.onnx, a small classifier that uses the custom operator Squareplus, and spelled_out.onnx, the same in standard operators.

Needs: pip install onnx numpy
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

B = 0.7
rng = np.random.default_rng(7)


def weight(name, *shape):
    scale = (2 / np.prod(shape[1:])) ** 0.5
    return numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name)


weights = [weight("conv1.weight", 8, 3, 3, 3), weight("conv2.weight", 12, 8, 3, 3), weight("head.weight", 5, 12)]


def activation(custom, x, y, at):
    if custom:
        return [helper.make_node("Squareplus", [x], [y], f"act{at}", domain="camscope.example", b=B)]
    n = f"act{at}"
    constant = lambda name, value: helper.make_node("Constant", [], [f"{n}.{name}"], value_float=value)
    return [
        constant("b", B),
        constant("half", 0.5),
        helper.make_node("Mul", [x, x], [f"{n}.square"]),
        helper.make_node("Add", [f"{n}.square", f"{n}.b"], [f"{n}.sum"]),
        helper.make_node("Sqrt", [f"{n}.sum"], [f"{n}.root"]),
        helper.make_node("Add", [x, f"{n}.root"], [f"{n}.twice"]),
        helper.make_node("Mul", [f"{n}.twice", f"{n}.half"], [y]),
    ]


def model(custom):
    conv = lambda x, w, y: helper.make_node("Conv", [x, w], [y], f"{w}.conv", pads=[1] * 4, strides=[2, 2])
    nodes = [
        conv("image", "conv1.weight", "c1"),
        *activation(custom, "c1", "a1", 1),
        conv("a1", "conv2.weight", "c2"),
        *activation(custom, "c2", "a2", 2),
        helper.make_node("GlobalAveragePool", ["a2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight"], ["logits"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "squareplus", [image], [logits], weights)
    opsets = [helper.make_opsetid("", 18)] + [helper.make_opsetid("camscope.example", 1)] * custom
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


save(model(True), "model.onnx")
save(model(False), "spelled_out.onnx")
