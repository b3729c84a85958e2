"use strict";
const cards = [...document.querySelectorAll(".finding")];
const rest = JSON.parse(document.querySelector("script[type='application/json']").textContent);
const count = document.querySelector("#count");
let at = 0;

function dropped() {
  const names = new Set(rest);
  for (const card of cards) if (card.dataset.drop === "1") names.add(card.dataset.name);
  return [...names];
}

function show() {
  cards.forEach((card, i) => {
    card.classList.toggle("current", i === at);
    const drop = card.dataset.drop === "1";
    const button = card.querySelector("button");
    button.textContent = drop ? "drop" : "keep";
    button.setAttribute("aria-pressed", drop);
  });
  count.textContent = `${dropped().length} samples to drop`;
}

function decide(drop) {
  cards[at].dataset.drop = drop ? "1" : "0";
  show();
}

function go(to) {
  at = Math.min(Math.max(to, 0), cards.length - 1);
  show();
  cards[at].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (!cards.length || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    ArrowDown: () => go(at + 1),
    ArrowUp: () => go(at - 1),
    d: () => { decide(true); go(at + 1); },
    k: () => { decide(false); go(at + 1); },
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});

cards.forEach((card, i) => {
  card.addEventListener("click", () => { at = i; show(); });
  card.querySelector("button").addEventListener("click", () => {
    at = i;
    decide(card.dataset.drop !== "1");
  });
});

document.querySelector("#download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([dropped().join("\n") + "\n"], { type: "text/plain" }));
  link.download = "drop.txt";
  link.click();
  URL.revokeObjectURL(link.href);
});

show();
