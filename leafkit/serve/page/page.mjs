// The page of `leafkit serve`: one query through two searches, and many queries sorted by how much the answers differ.
// Everything that a server or a document says is put into the page as text, never as HTML.

const LARGEST = 20_000; // queries in one run
const byId = (id) => document.getElementById(id);
const [form, query, where, count, key, status, lines] = ["form", "query", "where", "k", "key", "status", "lines"].map(byId);
const sides = ["left", "right"].map((id) => ({id, root: byId(id), hits: []}));
let info = {indexes: {}, limits: {}};
let running = new AbortController();
let runs = 0; // of many queries

// Requests

class ServerError extends Error {}

async function ask(path, body, signal) {
  const headers = {"Content-Type": "application/json"};
  if (key.value) headers.Authorization = `Bearer ${key.value}`;
  const options = body === undefined ? {headers, signal} : {method: "POST", headers, signal, body: JSON.stringify(body)};
  const begun = performance.now();
  let answer, text;
  try {
    answer = await fetch(path, options);
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?");
  }
  const milliseconds = performance.now() - begun;
  if (answer.status === 401) byId("key-label").hidden = false;
  if (answer.status === 429) {
    await new Promise((done) => setTimeout(done, 1000 * (Number(answer.headers.get("Retry-After")) || 1)));
    signal?.throwIfAborted();
    return ask(path, body, signal);
  }
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new ServerError(`The server answered with status ${answer.status} and no JSON.`);
  }
  if (!answer.ok) throw new ServerError(content?.error?.message ?? `The server answered with status ${answer.status}.`);
  return {content, milliseconds, bytes: text.length};
}

function request(side, asked) {
  const chosen = {index: side.index.value, k: Number(count.value), ...asked};
  if (side.effort.value) chosen.effort = side.effort.value;
  if (side.hybrid.value) chosen.hybrid = side.hybrid.value === "rrf" ? "rrf" : Number(side.hybrid.value);
  if (where.value.trim()) chosen.where = where.value.trim();
  return chosen;
}

// One query

async function search(event) {
  event?.preventDefault();
  if (!query.value.trim()) return;
  running.abort();
  running = new AbortController();
  const {signal} = running;
  remember();
  say(status, "Searching ...");
  try {
    // One after the other, so that neither slows the other down.
    for (const side of sides) {
      const answer = await ask("search", request(side, {query: query.value}), signal);
      side.hits = answer.content.hits;
      side.answer = answer;
    }
  } catch (error) {
    if (error.name !== "AbortError") fail(status, error);
    return;
  }
  show();
}

function show() {
  const ranks = sides.map((side) => new Map(side.hits.map((hit, rank) => [hit.id, rank])));
  sides.forEach((side, number) => {
    const other = ranks[1 - number];
    side.list.replaceChildren(...side.hits.map((hit, rank) => item(hit, rank, other.get(hit.id), sides[1 - number].id)));
    const {milliseconds, bytes} = side.answer;
    side.facts.textContent = `${milliseconds.toFixed(1)} ms including the connection, ${bytes.toLocaleString("en")} bytes of hits`;
  });
  const shared = [...ranks[0].keys()].filter((id) => ranks[1].has(id)).length;
  const most = Math.max(sides[0].hits.length, sides[1].hits.length);
  const first = sides[0].hits[0]?.id === sides[1].hits[0]?.id;
  say(status, most ? `overlap@${most}: ${shared} of ${most}. ${first ? "The first hit is the same." : "The first hits differ."}` : "No hits.");
  draw();
}

function item(hit, rank, other, otherSide) {
  const row = node("li", other === undefined ? "" : "same");
  row.dataset.id = hit.id;
  const score = hit.fused === undefined || hit.fused === null ? hit.score : hit.fused;
  const number = node("span", "score", score === null ? "" : score.toFixed(3));
  number.title = hit.fused === undefined ? "cosine" : `fused score; cosine ${hit.score === null ? "unknown" : hit.score.toFixed(3)}`;
  row.append(node("span", "rank", `${rank + 1}`), node("span", "id", title(hit)), number);
  const text = body(hit);
  if (text) row.append(node("span", "text", text));
  const move = other === undefined ? `not in the ${otherSide} column` : other === rank ? "" : `${otherSide} column: ${other + 1}`;
  if (move) row.append(node("span", "other", move));
  for (const [event, marked] of [["mouseenter", true], ["mouseleave", false]]) row.addEventListener(event, () => mark(hit.id, marked));
  return row;
}

const title = (hit) => (typeof hit.payload.title === "string" && hit.payload.title ? hit.payload.title : hit.id);

function body(hit) {
  if (typeof hit.payload.text === "string") return hit.payload.text.slice(0, 400);
  const others = Object.entries(hit.payload).filter(([name]) => name !== "title");
  return others.length ? JSON.stringify(Object.fromEntries(others)).slice(0, 400) : "";
}

function draw() {
  lines.replaceChildren();
  const box = lines.getBoundingClientRect();
  if (!box.width) return;
  const heights = sides.map((side) => new Map([...side.list.children].map((row) => {
    const place = row.getBoundingClientRect();
    return [row.dataset.id, place.top + Math.min(place.height / 2, 16) - box.top];
  })));
  for (const [id, from] of heights[0]) {
    const to = heights[1].get(id);
    if (to === undefined) continue;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const [width, middle] = [box.width, box.width / 2];
    path.setAttribute("d", `M0 ${from} C${middle} ${from} ${middle} ${to} ${width} ${to}`);
    path.dataset.id = id;
    lines.append(path);
  }
}

function mark(id, marked) {
  for (const one of document.querySelectorAll(".hits li, #lines path")) if (one.dataset.id === id) one.classList.toggle("marked", marked);
}

// Many queries

async function runAll(event) {
  event.preventDefault();
  const [progress, table] = [byId("progress"), byId("table")];
  running.abort();
  running = new AbortController();
  const {signal} = running;
  const run = ++runs;
  try {
    const asked = readQueries(byId("queries").value);
    const depth = count.value;
    const found = await both(asked, signal, (done) => say(progress, `${done} of ${asked.length} queries`));
    const rows = asked.map((one, row) => compare(one, found[0][row], found[1][row]));
    const judged = (row) => Number(row.before !== undefined);
    rows.sort((a, b) => judged(b) - judged(a) || b.damage - a.damage || a.overlap - b.overlap);
    table.tBodies[0].replaceChildren(...rows.slice(0, 1000).map(tableRow));
    table.hidden = false;
    say(progress, summary(rows, depth));
  } catch (error) {
    if (error.name !== "AbortError") fail(progress, error);
    else if (run === runs) say(progress, "Stopped, because another search began.");
  }
}

function readQueries(text) {
  const asked = [];
  text.split(/\r?\n/).forEach((line, number) => {
    if (!line.trim()) return;
    if (!line.startsWith("{")) {
      asked.push({text: line});
      return;
    }
    let value;
    try {
      value = JSON.parse(line);
    } catch (error) {
      throw new ServerError(`Line ${number + 1} is not JSON: ${error.message}`);
    }
    const relevant = value.relevant ?? null;
    if (typeof value.text !== "string" || !value.text.trim()) throw new ServerError(`Line ${number + 1} has no "text".`);
    if (relevant !== null && !(Array.isArray(relevant) && relevant.every((id) => typeof id === "string")))
      throw new ServerError(`Line ${number + 1}: "relevant" is not a list of ids.`);
    asked.push({text: value.text, relevant: relevant?.length ? new Set(relevant) : null});
  });
  if (!asked.length) throw new ServerError("There are no queries. Enter at least one, or choose a file.");
  if (asked.length > LARGEST) throw new ServerError(`There are ${asked.length} queries; this page runs at most ${LARGEST}. Use leafkit shadow.`);
  return asked;
}

async function both(asked, signal, report) {
  const size = Math.max(1, Math.min(32, info.limits.max_texts ?? 1));
  const found = [[], []];
  // What is chosen now holds for all queries, also if it is changed while they run.
  const chosen = sides.map((side) => request(side, {}));
  for (let start = 0; start < asked.length; start += size) {
    report(start);
    const texts = asked.slice(start, start + size).map((one) => one.text);
    for (const [number, options] of chosen.entries()) {
      const {content} = await ask("search", {...options, query: texts}, signal);
      found[number].push(...content.results.map((one) => one.hits.map((hit) => hit.id)));
    }
  }
  return found;
}

function compare(asked, left, right) {
  const most = Math.max(left.length, right.length);
  const overlap = most ? left.filter((id) => right.includes(id)).length / most : 1;
  if (!asked.relevant) return {text: asked.text, overlap, damage: 1 - overlap};
  const [before, after] = [left, right].map((ids) => ndcg(ids, asked.relevant));
  return {text: asked.text, overlap, before, after, damage: before - after};
}

/** Return nDCG@10 of ranked ids where every relevant document counts 1 (Järvelin and Kekäläinen 2002). */
function ndcg(ids, relevant) {
  const gain = (rank) => 1 / Math.log2(rank + 2);
  const total = (ranks) => ranks.reduce((sum, rank) => sum + gain(rank), 0);
  const found = ids.slice(0, 10).flatMap((id, rank) => (relevant.has(id) ? [rank] : []));
  return total(found) / total([...Array(Math.min(10, relevant.size)).keys()]);
}

function tableRow(one) {
  const row = node("tr");
  const button = node("button", "", one.text);
  button.type = "button";
  button.addEventListener("click", () => {
    query.value = one.text;
    window.scrollTo({top: 0});
    query.focus();
    search();
  });
  const cell = node("td");
  cell.append(button);
  const figures = [one.overlap, one.before, one.after].map((value) => node("td", "number", value === undefined ? "" : value.toFixed(3)));
  row.append(cell, ...figures);
  return row;
}

function summary(rows, depth) {
  const mean = (name, of) => (of.reduce((sum, row) => sum + row[name], 0) / of.length).toFixed(4);
  const judged = rows.filter((row) => row.before !== undefined);
  const quality = judged.length ? `; nDCG@10 left ${mean("before", judged)}, right ${mean("after", judged)} (${judged.length} judged)` : "";
  const shown = rows.length > 1000 ? " The table shows the first 1,000." : "";
  return `${rows.length} queries: mean overlap@${depth} ${mean("overlap", rows)}${quality}.${shown}`;
}

// The form

function node(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

function say(place, text) {
  place.className = "";
  place.textContent = text;
}

function fail(place, error) {
  if (!(error instanceof ServerError)) console.error(error);
  place.className = "wrong";
  place.textContent = error.message;
}

function choices(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  if (pairs.some(([value]) => value === before)) select.value = before;
  select.parentElement.hidden = pairs.length < 2;
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function describeIndex([name, facts]) {
  return [name, `${name} (${facts.documents.toLocaleString("en")} documents, ${facts.dim} dim, ${facts.precision}, ${megabytes(facts.bytes)})`];
}

function fillSide(side) {
  const facts = info.indexes[side.index.value] ?? {};
  choices(side.effort, Object.entries(facts.efforts ?? {}).map(([name, one]) => [name, one.bytes ? `${name} (${megabytes(one.bytes)})` : name]));
  side.hybrid.parentElement.hidden = !facts.hybrid;
  if (!facts.hybrid) side.hybrid.value = "";
}

function buildSides() {
  for (const side of sides) {
    side.root.replaceChildren(byId("side").content.cloneNode(true));
    for (const name of ["index", "effort", "hybrid"]) side[name] = side.root.querySelector(`.${name}`);
    [side.facts, side.list] = [side.root.querySelector(".facts"), side.root.querySelector(".hits")];
    side.root.querySelector("legend").textContent = `${side.id} column`;
    side.index.addEventListener("change", () => fillSide(side));
    side.root.addEventListener("change", () => search());
  }
}

function remember() {
  const state = new URLSearchParams({q: query.value, k: count.value});
  if (where.value) state.set("where", where.value);
  for (const side of sides) for (const name of ["index", "effort", "hybrid"]) if (side[name].value) state.set(`${side.id}-${name}`, side[name].value);
  history.replaceState(null, "", `#${state}`);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  query.value = state.get("q") ?? "";
  count.value = state.get("k") ?? "10";
  where.value = state.get("where") ?? "";
  for (const side of sides) {
    side.index.value = state.get(`${side.id}-index`) ?? side.index.value;
    if (side.index.selectedIndex < 0) side.index.selectedIndex = 0;
    fillSide(side);
    for (const name of ["effort", "hybrid"]) if (state.has(`${side.id}-${name}`)) side[name].value = state.get(`${side.id}-${name}`);
    if (side.hybrid.selectedIndex < 0) side.hybrid.selectedIndex = 0;
  }
}

/** Without a choice in the address, let the columns differ: in the encoder, the best first, or the index, or the words. */
function chooseDifferent() {
  if (/-(effort|hybrid|index)=/.test(location.hash)) return;
  const [left, right] = sides;
  const best = left.effort.options.length - 1;
  if (best > 0) [left.effort.selectedIndex, right.effort.selectedIndex] = [best, best - 1];
  else if (left.index.options.length > 1) right.index.selectedIndex = 1;
  else if (!right.hybrid.parentElement.hidden) right.hybrid.value = "0.6";
  sides.forEach(fillSide);
}

async function start() {
  try {
    info = (await ask("info")).content;
  } catch (error) {
    fail(status, error);
    return;
  }
  count.max = String(Math.min(100, info.limits.max_k));
  query.maxLength = info.limits.max_characters;
  for (const side of sides) choices(side.index, Object.entries(info.indexes).map(describeIndex));
  recall();
  chooseDifferent();
  const names = new Set(Object.values(info.indexes).flatMap((facts) => Object.entries(facts.columns).map(([name, type]) => `${name} (${type})`)));
  byId("columns").textContent = names.size ? `Columns to filter by: ${[...names].join(", ")}` : "";
  where.parentElement.hidden = !names.size;
  say(status, "");
  await search();
}

buildSides();
form.addEventListener("submit", (event) => (Object.keys(info.indexes).length ? search(event) : (event.preventDefault(), start())));
byId("many").addEventListener("submit", runAll);
byId("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) byId("queries").value = await file.text();
});
key.addEventListener("change", start);
window.addEventListener("resize", draw);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    query.select();
  }
});
start();
