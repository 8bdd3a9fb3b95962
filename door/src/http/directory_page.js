
"use strict";
const body = document.querySelector("tbody");
const heads = [...document.querySelectorAll("th")].slice(0, 3);
const rows = [...body.rows].filter((row) => !row.classList.contains("up"));
const compare = new Intl.Collator(undefined, { numeric: true }).compare;
const key = [
  (row) => row.cells[0].textContent,
  (row) => Number(row.cells[1].dataset.key || -1),
  (row) => row.cells[2].firstElementChild.dateTime,
];
const order = (column, a, b) => (column === 1 ? key[1](a) - key[1](b) : compare(key[column](a), key[column](b)));
heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((a, b) => (down ? -1 : 1) * order(column, a, b) || order(0, a, b));
    body.append(...rows);
  });
  head.replaceChildren(button);
});
