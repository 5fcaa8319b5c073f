// Makes the page's elements. Text is set as text, never as markup: AE titles and errors come from outside.

export function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

// Replaces the content. What had the keyboard's focus gets it back, found by its data-key.
export function show(id, ...nodes) {
  const place = byId(id);
  if (place.contains(document.activeElement) && document.activeElement !== document.body) {
    const key = document.activeElement.dataset.key;
    place.replaceChildren(...nodes);
    const again = key && [...place.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key);
    if (again) again.focus();
    return;
  }
  place.replaceChildren(...nodes);
}

export function empty(text) {
  return element("p", text, "empty");
}

// Cells are text, or nodes; `textColumns` are set to the left.
export function table(headings, rows, textColumns = []) {
  const made = element("table");
  const head = made.createTHead().insertRow();
  headings.forEach((heading, column) => {
    const cell = element("th", heading, textColumns.includes(column) ? "text" : undefined);
    cell.scope = "col";
    head.append(cell);
  });
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((value, column) => {
      const cell = line.insertCell();
      if (textColumns.includes(column)) cell.className = "text";
      if (value instanceof Node) cell.append(value);
      else cell.textContent = value;
    });
  }
  const frame = element("div", undefined, "scroll");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", `Table of ${headings.filter(Boolean).slice(0, 3).join(", ")}`);
  frame.append(made);
  return frame;
}

export function tile(value, label, className) {
  const made = element("div", undefined, "tile");
  made.append(element("b", value, className), element("span", label));
  return made;
}

export function button(text, key, act, className) {
  const made = element("button", text, className);
  made.type = "button";
  made.dataset.key = key;
  made.addEventListener("click", act);
  return made;
}
