"use strict";
(() => {
const scheme = matchMedia("(prefers-color-scheme: dark)"), again = [];
let printing = false;
const dark = {get matches() { return scheme.matches && !printing; }};
const hues = n => Array.from({length: n}, (_, i) => {
  const light = dark.matches ? [66, 76, 58][i % 3] : [46, 36, 56][i % 3];
  return `hsl(${(i * 360 / n) % 360} ${i % 2 ? 60 : 75}% ${light}%)`;
});
const ramp = t => `hsl(${260 - 215 * t} 75% ${(dark.matches ? 45 : 32) + 24 * t}%)`;
const el = (name, text, parent) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
};
const short = v => Number.isInteger(v) ? String(v) : v.toPrecision(3);

function draw(box) {
  const data = JSON.parse(box.querySelector("script").textContent);
  const canvas = box.querySelector("canvas"), context = canvas.getContext("2d");
  const [planes, columns] = box.querySelectorAll("select");
  const legend = box.querySelector(".legend"), tip = box.querySelector(".tip");
  const sheet = document.getElementById(data.sprite), count = data.names.length;
  let only = null, at = -1, places = [];
  for (const name of Object.keys(data.maps)) el("option", name, planes);
  for (const name of Object.keys(data.columns)) el("option", name, columns);

  const colorsOf = column => {
    if (column.names) {
      const found = hues(column.names.length);
      return column.values.map(v => v < 0 ? "#8886" : found[v]);
    }
    const span = column.high - column.low || 1;
    return column.values.map(v => v === null ? "#8886" : ramp((v - column.low) / span));
  };
  const paint = () => {
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = Math.max(printing ? 2 : 1, devicePixelRatio || 1);
    canvas.width = width * scale; canvas.height = height * scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const points = data.maps[planes.value], column = data.columns[columns.value];
    const colors = colorsOf(column), radius = Math.max(1.6, Math.min(4, 90 / Math.sqrt(count)));
    places = [];
    for (let i = 0; i < count; i++)
      places.push([12 + points[2 * i] / 1e4 * (width - 24), 12 + points[2 * i + 1] / 1e4 * (height - 24)]);
    for (const front of [false, true]) for (let i = 0; i < count; i++) {
      const chosen = only === null || column.values[i] === only;
      if (chosen !== front) continue;
      context.globalAlpha = front ? 0.85 : 0.12;
      context.fillStyle = colors[i];
      context.beginPath(); context.arc(...places[i], radius, 0, 7); context.fill();
    }
    context.globalAlpha = 1;
    if (at >= 0) {
      context.strokeStyle = dark.matches ? "#fff" : "#000"; context.lineWidth = 2;
      context.beginPath(); context.arc(...places[at], radius + 3, 0, 7); context.stroke();
    }
  };
  const key = () => {
    legend.replaceChildren();
    const column = data.columns[columns.value];
    if (!column.names) {
      el("span", "■ ", legend).style.color = ramp(0);
      el("span", `${short(column.low)} to ${short(column.high)}`, legend);
      el("span", " ■", legend).style.color = ramp(1);
      return;
    }
    const colors = hues(column.names.length);
    column.names.slice(0, 40).forEach((name, i) => {
      const button = el("button", "", legend);
      button.setAttribute("aria-pressed", only === i);
      el("span", "■ ", button).style.color = colors[i];
      button.append(name);
      button.onclick = () => { only = only === i ? null : i; key(); paint(); };
    });
    if (column.names.length > 40) el("span", `and ${column.names.length - 40} more`, legend);
  };
  const show = i => {
    at = i; paint();
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.replaceChildren();
    if (sheet && data.shown[i]) {
      const small = el("canvas", undefined, tip), [w, h] = data.cell;
      small.width = w; small.height = h;
      small.style.width = Math.min(160, w * Math.max(1, Math.round(96 / Math.max(w, h)))) + "px";
      small.getContext("2d").drawImage(sheet, i % data.across * w, Math.floor(i / data.across) * h, w, h, 0, 0, w, h);
    }
    el("div", data.names[i], tip);
    for (const [name, column] of Object.entries(data.columns)) {
      const value = column.values[i];
      if (column.names ? value >= 0 : value !== null)
        el("div", `${name}: ${column.names ? column.names[value] : short(value)}`, tip);
    }
    const [x, y] = places[i], room = canvas.clientWidth;
    tip.style.left = Math.max(4, Math.min(x + canvas.offsetLeft + 14, room - tip.offsetWidth)) + "px";
    const below = y + canvas.offsetTop + 14, above = y + canvas.offsetTop - tip.offsetHeight - 14;
    tip.style.top = (y > canvas.clientHeight / 2 && above > 0 ? above : below) + "px";
  };
  const near = event => {
    const area = canvas.getBoundingClientRect();
    const x = event.clientX - area.left, y = event.clientY - area.top;
    let best = -1, least = event.pointerType === "touch" ? 900 : 200;
    places.forEach(([a, b], i) => {
      const far = (a - x) ** 2 + (b - y) ** 2;
      if (far < least) { least = far; best = i; }
    });
    if (best !== at) show(best);
  };
  canvas.onpointermove = canvas.onpointerdown = near;
  canvas.onpointerleave = event => { if (event.pointerType !== "touch") show(-1); };
  canvas.onkeydown = event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (step) { event.preventDefault(); show((at + step + count) % count); }
    if (event.key === "Escape") show(-1);
  };
  planes.onchange = () => show(-1);
  columns.onchange = () => { only = null; key(); show(-1); };
  again.push(() => { key(); paint(); });
  new ResizeObserver(() => paint()).observe(canvas);
  key(); paint();
}
document.querySelectorAll(".map").forEach(draw);
const all = () => again.forEach(one => one());
scheme.addEventListener("change", all);
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach(part => { part.open = true; });
  printing = true;
  all();
});
addEventListener("afterprint", () => { printing = false; all(); });
})();
