
"use strict";
(() => {
  const body = document.querySelector("tbody");
  const heads = [...document.querySelectorAll("th")];
  const value = (row, column, numbers) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent;
    return numbers ? Number(text || -1) : text;
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const numbers = head.classList.contains("number");
    const order = new Intl.Collator(undefined, { numeric: true });
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (one, other) => {
      const a = value(one, column, numbers), b = value(other, column, numbers);
      return (numbers ? a - b : order.compare(a, b)) * (down ? -1 : 1);
    };
    body.append(...[...body.rows].sort(compare));
  }));
})();
