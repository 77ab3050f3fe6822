// Sorting, copying, and links to what is folded away. All can be read without.
(() => {
  const shown = (element) => element.getClientRects().length > 0;
  const value = (cell) => {
    const marked = [cell, ...cell.querySelectorAll("[data-n]")].find((e) => e.dataset.n && shown(e));
    if (marked) return +marked.dataset.n;
    if (cell.querySelector(".entry")) return null;
    const text = cell.innerText.trim(), number = parseFloat(text.replace("−", "-"));
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
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
      button.append(...th.childNodes);
      button.onclick = () => sort(table, column, NEXT[th.getAttribute("aria-sort") ?? "none"]);
      th.append(button);
    });

  // Where the clipboard is closed to a page, the command is selected for the reader to copy.
  for (const pre of document.querySelectorAll("pre.command")) {
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
  }

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.popover) target.showPopover();
    target?.closest("details")?.setAttribute("open", "");
    const details = target?.querySelector("details");
    if (target?.matches("tr") && details) details.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
