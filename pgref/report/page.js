"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const search = document.getElementById("search");
const buttons = all("#language button");

function show(language) {
  document.documentElement.lang = language;
  search.placeholder = search.getAttribute("data-placeholder-" + language);
  for (const button of buttons) button.setAttribute("aria-pressed", button.value === language);
  document.title = document.querySelector("h1").innerText;
}

function filter() {
  const words = search.value.toLowerCase().split(/[\s()]+/);
  const items = all(".item");
  for (const item of items) {
    item.hidden = !words.every((word) => item.dataset.find.includes(word));
    document.querySelector(`nav a[href="#${item.id}"]`).parentElement.hidden = item.hidden;
  }
  for (const part of all(".part, nav ul")) {
    const hidden = all(".item, li", part).every((inside) => inside.hidden);
    part.hidden = hidden;
    if (part.tagName === "UL") part.previousElementSibling.hidden = hidden;
  }
  const found = items.filter((item) => !item.hidden).length;
  document.getElementById("shown").textContent = search.value ? `${found} / ${items.length}` : "";
  document.getElementById("none").hidden = found > 0;
}

function reach() { // a link to an item that the search hides ends the search
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.closest("[hidden]")) {
    search.value = "";
    filter();
    target.scrollIntoView();
  }
}

for (const button of buttons) button.addEventListener("click", () => show(button.value));
search.addEventListener("input", filter);
addEventListener("hashchange", reach);
addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && typing) {
    search.value = "";
    filter();
  }
});

let closed = []; // what printing opens is closed again
addEventListener("beforeprint", () => {
  closed = all("details:not([open])");
  for (const box of closed) box.open = true;
});
addEventListener("afterprint", () => {
  for (const box of closed) box.open = false;
});

if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
show(document.documentElement.lang);
filter(); // a reloaded page keeps what was typed
reach();
