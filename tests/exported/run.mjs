// Runs a model once in ONNX Runtime for Node or for WebAssembly, and prints its outputs.
//
//     node run.mjs MODULE < REQUEST
//
// MODULE is the path of the runtime's module. A request is {"model": PATH, "feeds": {NAME: [TYPE, SHAPE, NUMBERS]}}; what is printed is
// {NAME: [TYPE, SHAPE, NUMBERS]}.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const module = await import(pathToFileURL(process.argv[2]).href);
const ort = module.InferenceSession ? module : module.default;
const inWebAssembly = process.argv[2].includes("wasm");
if (inWebAssembly) ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const { model, feeds } = JSON.parse(readFileSync(0, "utf8"));
const arrays = {
  float32: (numbers) => Float32Array.from(numbers),
  int64: (numbers) => BigInt64Array.from(numbers.map(BigInt)),
};
const values = {};
for (const [name, [type, shape, numbers]] of Object.entries(feeds)) values[name] = new ort.Tensor(type, arrays[type](numbers), shape);

const given = inWebAssembly ? readFileSync(model) : model;
const session = await ort.InferenceSession.create(given, { executionProviders: [inWebAssembly ? "wasm" : "cpu"] });
const found = await session.run(values);
const told = {};
for (const [name, { type, dims, data }] of Object.entries(found)) told[name] = [type, dims, Array.from(data, Number)];
process.stdout.write(JSON.stringify(told));
