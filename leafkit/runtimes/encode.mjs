// Encodes texts with transformers.js as a user of a student does, for `leafkit check`.
// Reads {modules, folder, dtype, texts} from stdin and writes {version, vectors}.
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

let input = "";
for await (const part of process.stdin) input += part;
const { modules, folder, dtype, texts } = JSON.parse(input);

const require = createRequire(path.join(modules, "..", "leafkit.js"));
const { AutoModel, AutoTokenizer, env } = await import(pathToFileURL(require.resolve("@huggingface/transformers")));
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder) + path.sep;

const name = path.basename(folder);
const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModel.from_pretrained(name, { dtype });
const vectors = [];
for (const text of texts) {
  const output = await model(tokenizer([text], { truncation: true, padding: true }));
  vectors.push(Array.from(output.sentence_embedding.data));
}
process.stdout.write(JSON.stringify({ version: env.version, vectors }));
