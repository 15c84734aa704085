// Runs models in onnxruntime-web's WebAssembly under Node: a request a line, an answer a line.
//
//     node written.mjs MODULE       # the path of onnxruntime-web's module
//
// A request is {"model": PATH, "feeds": {NAME: [TYPE, SHAPE, BASE64]}, "output": NAME, "rounds": N}; the answer has the output's type and
// bytes, and the median time of a run in seconds; or {"error": TEXT}.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const ort = await import(pathToFileURL(process.argv[2]).href);
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const arrays = { float32: Float32Array, float16: globalThis.Float16Array ?? Uint16Array, int64: BigInt64Array };

async function answer({ model, feeds, output, rounds }) {
  const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
  try {
    const values = {};
    for (const [name, [type, shape, base64]] of Object.entries(feeds)) {
      const bytes = new Uint8Array(Buffer.from(base64, "base64"));
      values[name] = new ort.Tensor(type, new arrays[type](bytes.buffer), shape);
    }
    const times = [];
    let found;
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      found = (await session.run(values, [output]))[output];
      times.push((performance.now() - start) / 1e3);
    }
    // The first runs set things up.
    times.splice(0, Math.floor(rounds / 3));
    times.sort((a, b) => a - b);
    const { buffer, byteOffset, byteLength } = found.data;
    const base64 = Buffer.from(buffer, byteOffset, byteLength).toString("base64");
    return { type: found.type, shape: found.dims, base64, seconds: times[times.length >> 1] };
  } finally {
    await session.release();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = await answer(JSON.parse(line));
  } catch (error) {
    said = { error: String(error?.message ?? error) };
  }
  process.stdout.write(JSON.stringify(said) + "\n");
}
