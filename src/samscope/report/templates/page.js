// Sorting, copying, and links to what is folded away. All can be read without.
(() => {
  // While it is made, the page looks for news; where there are none for long, it says so.
  const live = document.querySelector("[data-written]");
  if (live && Date.now() - live.dataset.written > 600000) document.getElementById("stale").hidden = false;
  else if (live) setTimeout(() => location.reload(), +live.dataset.every);
  if (document.documentElement.dataset.live !== undefined) return;

  const shown = (element) => element.getClientRects().length > 0;
  const value = (cell) => {
    if (cell.dataset.n) return +cell.dataset.n;
    // Of a number of a table, the one measured that is shown; what is not run is none.
    const entry = cell.querySelector(".entry");
    const found = entry ? [...entry.querySelectorAll(".measured > span")].find(shown) : cell;
    const text = (found?.innerText ?? "").trim(), number = parseFloat(text.replace("−", "-").replace(/^[^\d-]+/, ""));
    if (entry) return Number.isNaN(number) ? null : number;
    return text === "" || text === "–" ? null : /^[−\d]/.test(text) ? number : text;
  };
  const order = (a, b) =>
    typeof a === typeof b && typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  // A click sorts up, the next one down, the third restores the order of the paper.
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const sort = (table, column, direction) => {
    const body = table.tBodies[0], rows = [...body.rows];
    rows.forEach((row, i) => (row.dataset.at ??= i));
    const keyed = rows.map((row) => [row.cells[column] ? value(row.cells[column]) : null, row]);
    keyed.sort(([a, r], [b, s]) => {
      if (direction === "none") return r.dataset.at - s.dataset.at;
      if (a === null || b === null) return (a === null) - (b === null);
      return (direction === "ascending" ? 1 : -1) * order(a, b) || r.dataset.at - s.dataset.at;
    });
    body.append(...keyed.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((th, i) => th.setAttribute("aria-sort", i === column ? direction : "none"));
  };
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((th, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.setAttribute("aria-label", `Sort by ${th.textContent}`);
      button.onclick = () => sort(table, column, NEXT[th.getAttribute("aria-sort") ?? "none"]);
      th.append(button);
    });

  // Where the clipboard is closed to a page, the command is selected for the reader to copy.
  const copyable = (pre) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.onclick = async () => {
      try {
        await navigator.clipboard.writeText(pre.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(pre);
        button.textContent = "selected";
      }
      setTimeout(() => (button.textContent = "copy"), 2000);
    };
    pre.after(button);
  };
  document.querySelectorAll("pre.command").forEach(copyable);

  // What stands behind a number is kept in a file beside the page, and loaded when first asked for.
  const make = (tag, text = "", attributes = {}, ...children) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const curve = ({ told, lines }) => {
    const svg = document.createElementNS(SVG, "svg");
    const about = { viewBox: "-1 -1 122 32", preserveAspectRatio: "none", role: "img", "aria-label": told };
    for (const [name, value] of Object.entries(about)) svg.setAttribute(name, value);
    for (const points of lines) svg.appendChild(document.createElementNS(SVG, "polyline")).setAttribute("points", points);
    return make("div", "", {}, svg, make("small", told));
  };
  const runs = (cell) => {
    const span = cell.metrics.length;
    const column = (text, more = {}) => make("th", text, { scope: "col", ...more });
    const words = cell.selections.map((text) => column(text, { scope: "colgroup", colspan: span }));
    const named = cell.selections.flatMap(() => cell.metrics.map((text) => column(text)));
    const head = make("thead", "", {},
      make("tr", "", {}, column("seed", { rowspan: 2 }), ...words, column("digest", { rowspan: 2 })),
      make("tr", "", {}, ...named));
    const rows = cell.runs.map(([seed, digest, ...numbers]) =>
      make("tr", "", {}, make("th", seed, { scope: "row" }), ...numbers.map((text) => make("td", text)),
        make("td", "", {}, make("code", digest))));
    const caption = make("caption", "Runs by seed", { class: "unseen" });
    const table = make("table", "", { class: "runs" }, caption, head, make("tbody", "", {}, ...rows));
    return make("div", "", { class: "scroll" }, table);
  };
  const folded = (title, content) => make("details", "", {}, make("summary", title), content);
  const dialog = document.getElementById("cell");
  const show = (id) => {
    const cell = globalThis.CELLS[id];
    if (!cell) return;
    const close = make("button", "×", { type: "button", class: "close", "aria-label": "Close" });
    close.onclick = () => dialog.close();
    const said = cell.mentions.map(([table, where, lines]) =>
      make("p", "", {}, make("b", table, { class: "id" }), " " + where,
        ...lines.flatMap(([mark, text]) => [" ", make("span", text, mark ? { class: mark } : {})])));
    const spec = Object.entries(cell.spec).flatMap(([name, value]) => [make("span", name + " ", {}, make("b", value)), " "]);
    const command = make("pre", cell.command, { class: "command" });
    dialog.replaceChildren(close, make("h3", cell.title, { id: "cell-title" }),
      make("p", cell.place + " · ", { class: "setting" }, make("code", id)),
      ...(cell.runs.length
        ? [runs(cell), make("div", "", { class: "curves" }, ...cell.curves.map(curve))]
        : [make("p", `Not run: ${cell.planned}.`, { class: "not" })]),
      ...said, folded("Setting", make("p", "", { class: "spec" }, ...spec)),
      folded("Run it again", make("div", "", {}, command)));
    copyable(command);
    reachable(dialog);
    if (!dialog.open) dialog.showModal();
  };
  const open = (id) => {
    if (globalThis.CELLS?.[id]) return show(id);
    const part = [...id].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % dialog.dataset.files;
    const script = make("script", "", { src: `cells-${part}.js` });
    script.onload = () => show(id);
    document.head.append(script);
  };
  addEventListener("click", ({ target }) => {
    const entry = target.closest("[data-cell]");
    if (entry) open(entry.dataset.cell);
    if (target === dialog) dialog.close();
  });

  // A word of the glossary: its meaning beside it while it is pointed at or has the focus.
  const word = document.getElementById("word");
  let term = null;
  const place = () => {
    if (!term) return;
    const at = term.getBoundingClientRect(), size = word.getBoundingClientRect();
    const below = at.bottom + 6 + size.height < innerHeight;
    word.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    word.style.top = `${below ? at.bottom + 4 : at.top - size.height - 4}px`;
  };
  const explain = (next) => {
    term = next ?? null;
    if (!term) return word.hidePopover();
    word.textContent = document.querySelector(term.hash).querySelector("dd").textContent;
    term.setAttribute("aria-describedby", "word");
    word.showPopover();
    place();
  };
  if (word.showPopover) {
    const over = ({ target }) => explain(target.closest?.("a.term"));
    addEventListener("focusin", over);
    addEventListener("pointerover", (event) => event.target.closest?.("#word") || over(event));
    addEventListener("keydown", ({ key }) => key === "Escape" && explain());
    addEventListener("scroll", place, { passive: true });
    addEventListener("click", (event) => {
      const tapped = event.target.closest("a.term");
      if (!tapped) return;
      event.preventDefault();
      explain(tapped);
    });
  }

  // What scrolls is reached by key as well, where nothing in it is.
  const reachable = (root) => {
    for (const box of root.querySelectorAll(".scroll, pre"))
      if (box.scrollWidth > box.clientWidth && !box.querySelector("a, button")) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");  // a region would be a landmark
        box.setAttribute("aria-label", box.querySelector("caption")?.textContent ?? "wider than the page");
      }
  };
  reachable(document);

  const contents = document.querySelector(".contents details"), wide = matchMedia("(min-width: 72rem)");
  const fit = () => (contents.open = wide.matches);
  wide.addEventListener("change", fit);
  fit();

  const reveal = () => {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (hash.startsWith("cell/") && dialog) return open(hash.slice(5));
    const target = document.getElementById(hash);
    target?.closest("details")?.setAttribute("open", "");
    const details = target?.querySelector("details");
    if (target?.matches("tr") && details) details.open = true;
    if (target?.closest("details")) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
