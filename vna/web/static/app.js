// Everything works without this file; it adds keys, filters and refreshing.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---- theme

const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const toggle = document.getElementById("theme");
if (toggle) {
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("theme", next); } catch { /* kept for this page alone */ }
  });
}

// ---- thumbnails: what has no picture shows its modality

const blank = (image) => image.closest(".picture")?.classList.add("none");
for (const image of all(".picture img")) {
  if (image.complete && !image.naturalWidth) blank(image);
  image.addEventListener("error", () => blank(image));
}

// ---- parts that are loaded after the page, or again and again

async function fill(target, url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.redirected) return location.reload();  // the session has ended: the whole page asks to sign in
  if (!answer.ok) throw new Error(String(answer.status));
  // Own pages, escaped by the server: same trust as the page itself.
  const part = new DOMParser().parseFromString(await answer.text(), "text/html");
  target.replaceChildren(...part.body.childNodes);
}

for (const target of all("[data-load]")) {
  fill(target, target.dataset.load)
    .catch(() => { target.textContent = "The counts could not be loaded."; })
    .finally(() => target.removeAttribute("aria-busy"));
}

const inUse = (target) => target.contains(document.activeElement) || target.querySelector("details[open]");
for (const target of all("[data-refresh]")) {
  const live = document.getElementById("live");
  if (live) live.hidden = false;
  const again = async () => {
    if (!document.hidden && !inUse(target)) {
      try {
        await fill(target, target.dataset.refresh);
        target.classList.remove("stale");
        if (live) live.textContent = `refreshed ${new Date().toLocaleTimeString()}`;
      } catch {
        target.classList.add("stale");
        if (live) live.textContent = "the archive does not answer; what is shown is old";
      }
    }
    setTimeout(again, Number(target.dataset.seconds) * 1000);
  };
  setTimeout(again, Number(target.dataset.seconds) * 1000);
}

// ---- filter of the attributes

const filter = document.getElementById("filter");
if (filter) {
  filter.hidden = false;
  const table = document.getElementById(filter.dataset.filter);
  const rows = all("tbody tr", table).map((row) => [row, row.textContent.toLowerCase()]);
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const [row, text] of rows) {
      row.hidden = !wanted.every((word) => text.includes(word)) || (wanted.length > 0 && row.classList.contains("item"));
      if (!row.hidden) found += 1;
    }
    document.getElementById("filter-none").hidden = found > 0;
  });
}

// ---- filters fold away on a narrow screen

const filters = document.getElementById("filters");
if (filters && matchMedia("(max-width: 60rem)").matches) filters.open = false;

// ---- rows: a click anywhere opens; arrows, Enter, V

const rows = all("[data-href]");
let at = -1;
const choose = (next) => {
  rows[at]?.classList.remove("chosen");
  at = Math.max(0, Math.min(rows.length - 1, next));
  const row = rows[at];
  row.classList.add("chosen");
  row.querySelector("a")?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
};
for (const [number, row] of rows.entries()) {
  row.addEventListener("click", (event) => {
    if (event.target.closest("a, button, summary, input") || String(getSelection())) return;
    if (event.ctrlKey || event.metaKey) window.open(row.dataset.href, "_blank", "noopener");
    else location.href = row.dataset.href;
  });
  row.addEventListener("focusin", () => { if (at !== number) choose(number); });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "ArrowDown" && event.target.id === "q" && rows.length) {
      event.preventDefault();
      choose(0);
    }
    return;
  }
  const search = document.getElementById("q");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (rows.length && (event.key === "ArrowDown" || event.key === "j")) {
    event.preventDefault();
    choose(at + 1);
  } else if (rows.length && (event.key === "ArrowUp" || event.key === "k")) {
    event.preventDefault();
    choose(at - 1);
  } else if (at >= 0 && event.key === "Enter" && !event.target.closest("a, button, summary")) {
    location.href = rows[at].dataset.href;
  } else if (at >= 0 && event.key.toLowerCase() === "v" && rows[at].dataset.viewer) {
    location.href = rows[at].dataset.viewer;
  } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const link = document.querySelector(event.key === "ArrowRight" ? "a[rel=next]" : "a[rel=prev]");
    if (link) link.click();
  }
});
