"use strict";
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];

  // Sorting: a click on a column's name; numbers by their value, unknown last.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b, column, isNumber, way) => {
    if (isNumber) {
      const [x, y] = [keyOf(a, column), keyOf(b, column)];
      if (x === null || y === null) return (x === null) - (y === null);
      return way * (x - y);
    }
    const options = { numeric: true };
    return way * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", options);
  };
  for (const table of all("table")) {
    const heads = all("thead th", table);
    if (table.tBodies[0].rows.length < 2) continue;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const isNumber = head.classList.contains("number");
        const before = head.getAttribute("aria-sort");
        const first = isNumber ? "descending" : "ascending";
        const second = isNumber ? "ascending" : "descending";
        const now = before === first ? second : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", now);
        const way = now === "ascending" ? 1 : -1;
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => compare(a, b, column, isNumber, way));
        table.tBodies[0].append(...rows);
      });
    });
  }

  // Filtering: rows whose text holds every word.
  for (const table of all("table[data-filter]")) {
    if (table.tBodies[0].rows.length < 4) continue;
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.className = "filter";
    input.type = "search";
    label.append(`Filter ${table.dataset.filter.toLowerCase()}:`, input);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }

  // Commands: a button to copy them, where the browser lets a page do so.
  if (navigator.clipboard) {
    for (const commands of all("pre")) {
      const text = commands.textContent.trimEnd();
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", () => navigator.clipboard.writeText(text).then(
        () => { button.textContent = "Copied"; }, () => { button.textContent = "Not copied"; }));
      commands.prepend(button);
    }
  }

  // The navigation says which section is being read.
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const sections = all("main > section");
  const mark = () => {
    const read = sections.filter((s) => s.getBoundingClientRect().top < 120).pop() || sections[0];
    for (const [key, link] of links) {
      if (key === read.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  if (links.size && sections.length) {
    mark();
    document.addEventListener("scroll", mark, { passive: true });
  }

  // Numbers of a mark: beside the pointer, or where a finger touched.
  const tip = document.getElementById("tip");
  for (const mark of all("svg .mark")) {
    const title = mark.querySelector("title");
    mark.dataset.tip = title.textContent;
    title.remove();
  }
  const show = (event) => {
    const mark = event.target.closest ? event.target.closest(".mark") : null;
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const { offsetWidth: width, offsetHeight: height } = tip;
    const room = document.documentElement;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, room.clientWidth - width - 8))}px`;
    const below = event.clientY + 18;
    tip.style.top = `${below + height > room.clientHeight ? event.clientY - height - 10 : below}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // Paper has no clicks: what is folded is printed open, but for the numbers of a picture.
  const folded = () => all("details:not([open]):not(.numbers)");
  let opened = [];
  addEventListener("beforeprint", () => { opened = folded(); opened.forEach((d) => { d.open = true; }); });
  addEventListener("afterprint", () => { opened.forEach((d) => { d.open = false; }); });
})();
