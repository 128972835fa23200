// The page: a search box, the hits below it, and what the search cost.

import { Search } from "./search.js";

const HITS = 10;
const PAUSE = 150; // milliseconds without a key before a text is searched
const [form, query, progress, statusLine, list, more, about] = ["form", "query", "progress", "status", "hits", "more",
  "about"].map((id) => document.getElementById(id));
const number = new Intl.NumberFormat("en");

let search = null;
let wanted = HITS;
let running = false; // the graph encodes one text at a time
let again = false;
let timer = 0;

function say(text, isError = false) {
  statusLine.textContent = text;
  statusLine.className = isError ? "error" : "";
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// Documents are written by strangers: their texts become text nodes, and only web addresses become links.
function titleOf({ id, title, url }) {
  const made = element(/^https?:\/\//i.test(url) ? "a" : "span", "title", title || id);
  if (made.tagName === "A") {
    made.href = url;
    made.rel = "noopener noreferrer";
  }
  return made;
}

function item(hit) {
  const made = document.createElement("li");
  made.tabIndex = -1;
  const head = element("div", "head", "");
  const score = element("span", "score", hit.score.toFixed(3));
  score.title = "cosine";
  head.append(titleOf(hit), score);
  made.append(head, element("p", "text", hit.text));
  if (hit.title) made.append(element("div", "id", hit.id));
  return made;
}

async function show() {
  if (!search) return;
  if (running) {
    again = true;
    return;
  }
  running = true;
  do {
    again = false;
    const text = query.value;
    remember(text);
    if (!text.trim()) {
      list.replaceChildren();
      more.hidden = true;
      say(`Ready. Type a question or a few words (${number.format(search.vectors.rows)} documents).`);
    } else {
      try {
        const { hits, encodeMs, searchMs } = await search.search(text, wanted);
        list.replaceChildren(...hits.map(item));
        more.hidden = hits.length < wanted || hits.length >= search.vectors.rows;
        say(`${(encodeMs + searchMs).toFixed(0)} ms: ${encodeMs.toFixed(0)} for the query's vector, ` +
          `${searchMs.toFixed(1)} for ${number.format(search.vectors.rows)} documents. ${warning()}`);
      } catch (error) {
        say(`This query failed: ${error.message}`, true);
      }
    }
  } while (again);
  running = false;
}

function warning() {
  return search.agrees ? "" : "This browser computes other vectors than leafkit did (cosine " +
    `${search.agreement.toFixed(4)} instead of 1), so hits may differ.`;
}

// Keep the query in the address, so that it can be sent to somebody. Browsers never send what follows the # to a server.
function remember(text) {
  const address = new URL(location.href);
  address.hash = text.trim() ? new URLSearchParams({ q: text }) : "";
  if (address.href === location.href) return;
  try {
    history.replaceState(null, "", address);
  } catch {
    // Safari allows 100 changes in 30 seconds. The address then keeps an earlier query.
  }
}

function soon() {
  clearTimeout(timer);
  wanted = HITS;
  timer = setTimeout(show, PAUSE);
}

function move(event) {
  const place = [...list.children].indexOf(document.activeElement?.closest("li"));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "/" && document.activeElement !== query) query.select();
  else if (event.key === "Escape" && document.activeElement !== query) query.focus();
  else if (step && (place >= 0 || (step > 0 && document.activeElement === query))) (list.children[place + step] ?? query).focus();
  else if (event.key === "Enter" && place >= 0 && document.activeElement === list.children[place]) {
    list.children[place].querySelector("a")?.click();
  } else return;
  event.preventDefault();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  wanted = HITS;
  show();
});
query.addEventListener("input", soon);
more.addEventListener("click", async () => {
  const first = list.children.length;
  wanted += HITS;
  await show();
  list.children[first]?.focus();
});
document.addEventListener("keydown", move);

query.value ||= new URLSearchParams(location.hash.slice(1)).get("q") ?? "";
progress.hidden = false;
say("Loading…");
try {
  search = await Search.open(new URL("../", import.meta.url), (share) => { progress.value = share; });
  const { documents, student, space } = search.facts;
  about.textContent = `${number.format(documents)} documents, embedded by ${space.teacher}. Queries are embedded by ` +
    `${student.name} in this browser and are sent nowhere. Made with leafkit.`;
  await show();
} catch (error) {
  say(`The search cannot start: ${error.message}`, true);
}
progress.hidden = true;
