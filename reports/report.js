"use strict";
// Sorting and filtering; without it the page is as complete.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const cell = (row, column) => row.cells[column];
  const value = (row, column) => cell(row, column).dataset.v ?? cell(row, column).textContent.trim();
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.dataset.fixed !== undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = rows.toSorted((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        return x === "" || y === "" || !down ? compare(x, y) : compare(y, x);
      });
      body.append(...sorted);
    });
  });
}
const form = document.querySelector("form.filter");
if (form) {
  const rows = [...document.querySelectorAll("#cells tbody tr")];
  const update = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const exact = ["family", "model", "verdict"].filter((name) => form.elements[name]?.value);
    let shown = 0;
    for (const row of rows) {
      const { family, model, verdict } = row.dataset;
      const text = [row.querySelector("th").textContent, family, model, verdict].join(" ").toLowerCase();
      const fits = words.every((word) => text.includes(word)) && exact.every((name) => row.dataset[name] === form.elements[name].value);
      row.hidden = !fits;
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}
