
// Sorting by a click on a column's head, and filtering by status and text.
"use strict";
document.querySelectorAll("table.sortable").forEach(function (table) {
  var body = table.tBodies[0];
  var heads = table.tHead.rows[0].cells;
  function key(row, at) {
    var cell = row.cells[at];
    var text = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
    var n = Number(text);
    return text !== "" && !isNaN(n) ? n : text;
  }
  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b));
  }
  Array.prototype.forEach.call(heads, function (head, at) {
    var button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "ascending";
      Array.prototype.forEach.call(heads, function (h) { h.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      var rows = Array.prototype.map.call(body.rows, function (row) { return [key(row, at), row]; });
      rows.sort(function (x, y) {
        if (x[0] === "" || y[0] === "") return compare(x[0], y[0]);
        return down ? compare(y[0], x[0]) : compare(x[0], y[0]);
      });
      rows.forEach(function (r) { body.appendChild(r[1]); });
    });
  });
  var search = document.getElementById("search"), status = document.getElementById("status"), shown = document.getElementById("shown");
  function filter() {
    var words = search.value.toLowerCase(), n = 0;
    Array.prototype.forEach.call(body.rows, function (row) {
      var show = (status.value === "" || row.dataset.status === status.value) && row.textContent.toLowerCase().indexOf(words) >= 0;
      row.hidden = !show;
      if (show) n++;
    });
    shown.textContent = n + " of " + body.rows.length + " shown";
  }
  if (search && status) {
    search.addEventListener("input", filter);
    status.addEventListener("change", filter);
  }
});
