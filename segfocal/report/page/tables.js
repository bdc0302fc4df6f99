"use strict";
/* Tables: sort by a click on a column's head, filter, copy; and the settings in which two runs differ. */
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    const known = cell.dataset.sort;
    return known === undefined ? cell.textContent : Number(known);
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1; // what is missing comes last
    if (typeof b === "number") return 1;
    return a.localeCompare(b, "en", { numeric: true });
  };

  const sortBy = (table, head) => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const column = head.cellIndex;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(value(a, column), value(b, column)) * (descending ? -1 : 1));
    table.tBodies[0].append(...rows);
  };

  const asText = (table) =>
    [...table.rows]
      .filter((row) => !row.hidden)
      .map((row) => [...row.cells].map((cell) => cell.dataset.sort ?? cell.textContent).join("\t"))
      .join("\n");

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea"); // where a page from disk may not use the clipboard
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  document.addEventListener("click", async (event) => {
    const head = event.target.closest("th[aria-sort]");
    if (head) sortBy(head.closest("table"), head);
    const button = event.target.closest("button[data-copy]");
    if (button) {
      const key = button.dataset.copy;
      await copy(asText(document.getElementById(`table-${key}`)));
      document.getElementById(`copied-${key}`).textContent = "copied";
    }
  });
  document.addEventListener("input", (event) => {
    const key = event.target.dataset?.filter;
    if (!key) return;
    const wanted = event.target.value.toLowerCase();
    for (const row of document.getElementById(`table-${key}`).tBodies[0].rows)
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });

  document.addEventListener("DOMContentLoaded", () => {
    const configs = window.SEGFOCAL?.configs;
    const place = document.getElementById("two-runs");
    if (!configs || !place) return;
    const selects = place.querySelectorAll("select");
    const body = place.querySelector("tbody");
    const show = () => {
      const [first, second] = [...selects].map((select) => configs.values[select.selectedIndex]);
      const rows = configs.keys.map((key, at) => [key, first[at], second[at]]).filter((row) => row[1] !== row[2]);
      body.replaceChildren(
        ...(rows.length ? rows : [["no difference", "", ""]]).map((texts) => {
          const row = document.createElement("tr");
          row.append(...texts.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
          return row;
        }),
      );
    };
    selects.forEach((select, number) => {
      select.append(...configs.runs.map((name) => new Option(name)));
      select.selectedIndex = Math.min(number, configs.runs.length - 1);
      select.addEventListener("change", show);
    });
    show();
  });
})();
