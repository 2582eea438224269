"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const value = (row, place) => {
    const text = row.cells[place].textContent.trim();
    const number = parseFloat(text.replace(/,(?=\d{3})/g, "").replace("−", "-"));
    return { text, number };
  };
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, ...value(row, place) }));
      const unknown = (one) => one.text === "–" || one.text === "";
      rows.sort((a, b) => {
        if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
        const numbers = !isNaN(a.number) && !isNaN(b.number);
        const order = numbers ? a.number - b.number : a.text.localeCompare(b.text);
        return rising ? order : -order;
      });
      body.append(...rows.map((one) => one.row));
    });
  });
}
