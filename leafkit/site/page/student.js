// The student: from the text of a query to its vector.

// Returns the token ids of a text. At most `limit` of them are kept (null: all), special tokens always.
export function tokenIds(tokenizer, text, { limit, side }) {
  const { ids, token_type_ids: types } = tokenizer.encode(text, { return_token_type_ids: true });
  if (limit === null || ids.length <= limit) return { ids, types: types ?? ids.map(() => 0) };
  const plain = tokenizer.encode(text, { add_special_tokens: false }).ids;
  const special = ids.length - plain.length;
  const before = firstPlace(ids, plain, special);
  const kept = Math.max(limit - special, 0);
  const middle = side === "left" ? plain.slice(plain.length - kept) : plain.slice(0, kept);
  const cut = [...ids.slice(0, before), ...middle, ...ids.slice(before + plain.length)];
  return { ids: cut, types: cut.map(() => 0) };
}

function firstPlace(ids, plain, most) {
  for (let place = 0; place < most; place++) {
    if (plain.every((id, at) => id === ids[place + at])) return place;
  }
  return most;
}

// A table of token vectors: the mean over the tokens of a text, through a linear head.
export class TokenTable {
  // facts: rows, width and dim. buffer: a step for each row, weight (dim x width) and bias (dim) of the head, all
  // float32, then the table as int8 (rows x width).
  constructor({ rows, width, dim }, buffer) {
    this.width = width;
    this.steps = new Float32Array(buffer, 0, rows);
    this.weight = new Float32Array(buffer, 4 * rows, dim * width);
    this.bias = new Float32Array(buffer, 4 * (rows + dim * width), dim);
    this.table = new Int8Array(buffer, 4 * (rows + dim * width + dim), rows * width);
  }

  vector(ids) {
    const { width } = this;
    const mean = new Float64Array(width);
    for (const id of ids) {
      const share = this.steps[id] / ids.length;
      for (let column = 0; column < width; column++) mean[column] += share * this.table[id * width + column];
    }
    return Float64Array.from(this.bias, (bias, row) => {
      let sum = bias;
      for (let column = 0; column < width; column++) sum += mean[column] * this.weight[row * width + column];
      return sum;
    });
  }
}

// An ONNX graph, run by onnxruntime-web on one thread.
class Graph {
  static async open(graph, runtime) {
    const ort = await import("../vendor/onnxruntime.js");
    ort.env.wasm.numThreads = 1; // more of them need headers that a plain web server does not send
    ort.env.wasm.wasmBinary = runtime;
    ort.env.logLevel = "error";
    const opened = new Graph();
    opened.ort = ort;
    opened.session = await ort.InferenceSession.create(new Uint8Array(graph), { executionProviders: ["wasm"] });
    return opened;
  }

  async vector(ids, types) {
    // A tokenizer without special tokens returns no token for some texts, but the graph needs at least one.
    const columns = {
      input_ids: ids.length ? ids : [0],
      attention_mask: ids.length ? ids.map(() => 1) : [0],
      token_type_ids: ids.length ? types : [0],
    };
    const feeds = {};
    for (const name of this.session.inputNames) {
      const values = BigInt64Array.from(columns[name], BigInt);
      feeds[name] = new this.ort.Tensor("int64", values, [1, values.length]);
    }
    return (await this.session.run(feeds, ["sentence_embedding"])).sentence_embedding.data;
  }
}

export class Student {
  // facts: what leafkit-site.json says of the student. load: returns the content of a file of the site.
  static async open(facts, load) {
    const opened = new Student();
    const { Tokenizer } = await import("../vendor/tokenizers.js");
    const [tokenizer, model, runtime] = await Promise.all(
      ["student/tokenizer.json", facts.model, ...(facts.kind === "onnx" ? ["vendor/onnxruntime.wasm"] : [])].map(load),
    );
    opened.facts = facts;
    opened.tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(tokenizer)), {});
    opened.model = facts.kind === "onnx" ? await Graph.open(model, runtime) : new TokenTable(facts, model);
    return opened;
  }

  async encode(text) {
    const { ids, types } = tokenIds(this.tokenizer, this.facts.prompt + text, this.facts);
    return this.model.vector(ids, types);
  }
}
