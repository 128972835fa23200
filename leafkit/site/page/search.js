// Open the files of this site and search them. Nothing here touches the page.

import { cosine, unitPrefix, Vectors } from "./ranking.js";
import { Student } from "./student.js";

const VERSION = 1;
// A smaller cosine to the vector that leafkit computed for the golden text means that this browser computes otherwise.
const AGREEMENT = 0.999;

export class Search {
  // base: the address of the site. onProgress is called with the share of the bytes that are here, from 0 to 1.
  static async open(base, onProgress = () => {}) {
    const opened = new Search();
    const facts = await json(new URL("leafkit-site.json", base));
    if (facts.format !== "leafkit-site" || facts.version !== VERSION) {
      throw new Error(`leafkit-site.json has version ${facts.version}, expected ${VERSION}. Reload the page.`);
    }
    const load = loader(base, facts.files, onProgress);
    const [student, vectors, documents] = await Promise.all([
      Student.open(facts.student, load),
      load("data/vectors.bin"),
      load("data/documents.json"),
    ]);
    opened.facts = facts;
    opened.student = student;
    opened.vectors = new Vectors(new (facts.precision === "int8" ? Int8Array : Int16Array)(vectors), facts.dim);
    opened.documents = JSON.parse(new TextDecoder().decode(documents));
    opened.agreement = cosine(await opened.vector(facts.golden.text), facts.golden.vector);
    return opened;
  }

  // Whether this browser computes the vectors that the documents were prepared for.
  get agrees() {
    return this.agreement >= AGREEMENT;
  }

  // Returns the unit vector of a query, of the width that the documents have.
  async vector(text) {
    return unitPrefix(await this.student.encode(text), this.facts.dim);
  }

  // Returns the k documents nearest to `text`, best first, and the milliseconds that encoding and searching took.
  async search(text, k) {
    const begun = performance.now();
    const vector = await this.vector(text);
    const encoded = performance.now();
    const { rows, scores } = this.vectors.nearest(vector, k);
    const hits = rows.map((row, rank) => {
      const [id, title, snippet, url] = this.documents[row];
      return { id, title, text: snippet, url, score: scores[rank] };
    });
    return { hits, encodeMs: encoded - begun, searchMs: performance.now() - encoded };
  }
}

async function get(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) throw new Error(`${address} answers with status ${answer.status}.`);
  return answer;
}

async function json(address) {
  return (await get(address, { cache: "no-cache" })).json();
}

// Returns a function that loads a file of the site. Its address changes with its content, so no old file is mixed in.
function loader(base, files, onProgress) {
  const total = Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  return async (name) => {
    const { bytes, sha256 } = files[name];
    const address = new URL(`${name}?${sha256.slice(0, 12)}`, base);
    const content = new Uint8Array(bytes);
    const reader = (await get(address)).body.getReader();
    let position = 0;
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      if (position + value.length > bytes) throw new Error(`${name} has more than ${bytes} bytes. Upload the site again.`);
      content.set(value, position);
      position += value.length;
      loaded += value.length;
      onProgress(loaded / total);
    }
    if (position !== bytes) throw new Error(`${name} has ${position} bytes instead of ${bytes}. Upload the site again.`);
    return content.buffer;
  };
}
