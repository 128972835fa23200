// Document vectors as whole numbers, and the documents nearest to a query.

export class Vectors {
  // codes: an Int8Array or Int16Array of rows x dim. Each row has a scale of its own, which no cosine depends on.
  constructor(codes, dim) {
    this.codes = codes;
    this.dim = dim;
    this.rows = codes.length / dim;
    this.lengths = new Float64Array(this.rows);
    for (let row = 0; row < this.rows; row++) {
      let sum = 0;
      for (let at = row * dim; at < (row + 1) * dim; at++) sum += codes[at] * codes[at];
      this.lengths[row] = Math.sqrt(sum);
    }
  }

  // Returns the k rows with the largest cosine to `query`, best first; equal cosines are ranked by row.
  nearest(query, k) {
    const { codes, dim, lengths } = this;
    const rows = [], scores = [];
    for (let row = 0, at = 0; row < this.rows; row++) {
      let sum = 0;
      for (let component = 0; component < dim; component++) sum += codes[at++] * query[component];
      const score = sum / lengths[row];
      if (scores.length === k && !(score > scores[k - 1])) continue;
      let place = Math.min(scores.length, k - 1);
      for (; place > 0 && scores[place - 1] < score; place--) {
        scores[place] = scores[place - 1];
        rows[place] = rows[place - 1];
      }
      scores[place] = score;
      rows[place] = row;
    }
    return { rows, scores };
  }
}

// Returns the first `dim` components of `vector`, scaled to length 1.
export function unitPrefix(vector, dim) {
  const prefix = Float64Array.from(vector.subarray(0, dim));
  const length = Math.hypot(...prefix);
  return prefix.map((component) => component / length);
}

// Returns the cosine of two vectors of the same width.
export function cosine(a, b) {
  let product = 0, first = 0, second = 0;
  for (let at = 0; at < a.length; at++) {
    product += a[at] * b[at];
    first += a[at] * a[at];
    second += b[at] * b[at];
  }
  return product / Math.sqrt(first * second);
}
