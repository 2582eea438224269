"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace(/,(?=\d{3})/g, "").replace("−", "-"));
    return { text, number };
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, ...value(row, column) }));
      const isMissing = (entry) => entry.text === "–" || entry.text === "";
      rows.sort((a, b) => {
        if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
        const numbers = !isNaN(a.number) && !isNaN(b.number);
        const order = numbers ? a.number - b.number : a.text.localeCompare(b.text);
        return ascending ? order : -order;
      });
      body.append(...rows.map((entry) => entry.row));
    });
  });
}
