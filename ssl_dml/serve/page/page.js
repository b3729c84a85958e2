// The search page. The query is a list of terms, {sign, name, picture} with the id of a row or an
// embedding; whatever changes it asks the server for the nearest rows and draws them.

const $ = (id) => document.getElementById(id);
let terms = [];
let limits = { bytes: Infinity, terms: 32 };
let said = ""; // of the results
let asked = 0; // number of the last search; answers of earlier ones are dropped

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(text, label, act, className = "") {
  const made = element("button", { type: "button", textContent: text, className });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function fail(sentence) {
  $("error").hidden = !sentence;
  $("error").firstElementChild.textContent = sentence;
}

// What the server answers, or its sentence as an error. Where it is busy, wait and try again.
async function ask(path, options = {}, tries = 4) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  if (answer.status === 503 && tries) {
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((wake) => setTimeout(wake, 1000 * seconds));
    return ask(path, options, tries - 1);
  }
  const values = await answer.json().catch(() => ({ error: `The server says ${answer.status}.` }));
  if (!answer.ok) throw new Error(values.error);
  return values;
}

async function addFiles(files, sign = 1) {
  const images = [...files];
  if (!images.length) return;
  fail("");
  const added = [];
  for (const [number, file] of images.entries()) {
    $("status").textContent = `Reading image ${number + 1} of ${images.length}.`;
    try {
      if (file.size > limits.bytes) {
        throw new Error(`has ${megabytes(file.size)}; at most ${megabytes(limits.bytes)} are read.`);
      }
      const found = await ask("api/embed", { method: "POST", body: file });
      added.push({ ...found, sign, name: file.name || "pasted image" });
    } catch (error) {
      fail(`${file.name || "The image"}: ${error.message}`);
    }
  }
  if (added.length) change([...terms, ...added]);
  else $("status").textContent = said;
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;

const termOf = (row, sign) => ({ id: row.id, sign, name: row.name, thumbnail: thumbnail(row.id) });

const thumbnail = (id) => `thumbnail/${id}`;

// Another query: a step that the browser's Back undoes.
function change(next) {
  if (next.length > limits.terms) {
    fail(`A query has at most ${limits.terms} images.`);
    return;
  }
  terms = next;
  history.pushState(terms, "");
  fail("");
  drawTerms();
  search();
  scrollTo(0, 0);
}

function drawTerms() {
  $("terms").replaceChildren(...terms.map((term, place) => {
    const without = () => terms.filter((_, other) => other !== place);
    const turned = { ...term, sign: -term.sign };
    const words = term.sign > 0 ? "like this" : "not like this";
    return element("li", { className: term.sign > 0 ? "" : "not" },
      element("img", { src: term.thumbnail, alt: `${words}: ${term.name}`, title: term.name }),
      button(words, `${term.name}: ${words}; turn around`,
        () => { change(terms.with(place, turned)); $("terms").children[place].querySelector("button").focus(); },
        "sign"),
      button("×", `Remove ${term.name} from the query`,
        () => { change(without()); $("file").focus(); }, "remove"));
  }));
  $("clear").hidden = !terms.length;
}

async function search() {
  const number = ++asked;
  $("results").classList.add("waiting");
  $("results").setAttribute("aria-busy", "true");
  const query = {
    terms: terms.map(({ id, embedding, sign }) => (id === undefined ? { embedding, sign } : { id, sign })),
    k: Number($("k").value),
    label: $("class").value ? Number($("class").value) : null,
    folder: $("folder").value || null,
  };
  const options = { method: "POST", body: JSON.stringify(query) };
  try {
    const found = await ask("api/search", { ...options, headers: { "Content-Type": "application/json" } });
    if (number === asked) draw(found);
  } catch (error) {
    if (number === asked) fail(error.message);
  }
  if (number !== asked) return;
  $("results").classList.remove("waiting");
  $("results").removeAttribute("aria-busy");
}

function line(words, className = "") {
  return element("li", { className: `threshold ${className}` }, element("span", { textContent: words }));
}

function draw({ rows, threshold, refusal }) {
  const cards = rows.map((row, place) => card(row, place));
  if (threshold !== null && rows.length) {
    const above = rows.filter((row) => row.score >= threshold).length;
    const who = ["none is", "the one above is"][above] ?? `the ${above} above are`;
    cards.splice(above, 0, line(`threshold ${threshold.toFixed(3)}: ${who} the same, by the calibrated model`));
  }
  if (refusal) cards.unshift(line(refusal, "refusal"));
  const within = $("results").contains(document.activeElement);
  $("results").replaceChildren(...cards);
  rove(0, within && rows.length > 0);
  $("status").textContent = said = (refusal ? `${refusal}. ` : "") + summary(rows);
}

function summary(rows) {
  if (!rows.length) return "Nothing found.";
  if (!terms.length) return "Add an image, or begin with one of these.";
  const count = rows.length === 1 ? "1 result" : `${rows.length} results`;
  return `${count}; similarity from ${rows[0].score.toFixed(3)} to ${rows.at(-1).score.toFixed(3)}.`;
}

function card(row, place) {
  const score = row.score === null ? "" : row.score.toFixed(3);
  const label = [`${place + 1}. ${row.name}`, row.class && `class ${row.class}`, score && `similarity ${score}`]
    .filter(Boolean).join(", ");
  const cut = row.name.lastIndexOf("/") + 1;
  const told = [
    ["score", score], ["class", row.class], ["name", row.name.slice(cut)], ["where", row.name.slice(0, cut)],
  ];
  const lines = told.filter(([, text]) => text)
    .map(([className, textContent]) => element("span", { className, textContent, title: textContent }));
  const go = button("", `${label}. Search with this image`, () => change([termOf(row, 1)]), "go");
  const image = element("img", { src: thumbnail(row.id), alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.removeAttribute("src"), { once: true });
  go.append(image,
    element("span", { className: "text" }, ...lines));
  const also = button("+ add", `Add ${row.name} to the query`, () => change([...terms, termOf(row, 1)]), "also");
  const not = button("− not like", `Not like ${row.name}`, () => change([...terms, termOf(row, -1)]), "unlike");
  return element("li", { className: "card" }, go, element("div", { className: "actions" }, also, not));
}

// One result at a time is reached by Tab, with its two buttons; arrows move among them.
function rove(place, focus = false) {
  const cards = [...document.querySelectorAll("#results .card")];
  cards.forEach((one, other) => one.querySelectorAll("button")
    .forEach((part) => { part.tabIndex = other === place ? 0 : -1; }));
  if (focus) cards[place].querySelector(".go").focus();
}

function move(event) {
  const cards = [...document.querySelectorAll("#results .card")];
  const own = event.target.closest(".card");
  const place = cards.indexOf(own);
  if (place < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
  const columns = getComputedStyle($("results")).gridTemplateColumns.split(" ").length;
  const steps = {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -place,
    End: cards.length - 1 - place,
  };
  if (event.key in steps) {
    const next = place + steps[event.key];
    if (next >= 0 && next < cards.length) rove(next, true);
  } else if (event.key === "+") {
    own.querySelector(".also").click();
  } else if (event.key === "-") {
    own.querySelector(".unlike").click();
  } else {
    return;
  }
  event.preventDefault();
}

function options(select, names, all) {
  select.append(...names.map(([value, textContent]) => element("option", { value, textContent })));
  if (all > names.length) {
    const words = `(${(all - names.length).toLocaleString()} more are not listed)`;
    select.append(element("option", { disabled: true, textContent: words }));
  }
  select.closest("label").hidden = !names.length;
}

function listen() {
  $("file").addEventListener("change", () => { addFiles($("file").files); $("file").value = ""; });
  $("clear").addEventListener("click", () => { change([]); $("file").focus(); });
  $("filters").addEventListener("change", search);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("error").querySelector("button").addEventListener("click", () => fail(""));
  $("results").addEventListener("keydown", move);
  $("results").addEventListener("focusin", (event) => {
    const cards = [...document.querySelectorAll("#results .card")];
    rove(cards.indexOf(event.target.closest(".card")));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    fail("");
    if (event.target.closest?.("#results")) $("file").focus();
  });
  document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    addFiles(event.dataTransfer.files);
  });
  addEventListener("popstate", (event) => { terms = event.state ?? []; drawTerms(); search(); });
}

async function begin() {
  listen();
  try {
    const about = await ask("api/index");
    $("about").textContent = `${about.name}: ${about.rows.toLocaleString()} images`;
    document.title = `${about.name} · image search`;
    options($("class"), about.classes, about.all_classes);
    options($("folder"), about.folders, about.all_folders);
    limits = about.limits;
    terms = history.state ?? [];
    drawTerms();
    await search();
  } catch (error) {
    fail(error.message);
  }
}

begin();
