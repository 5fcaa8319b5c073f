// Draws lines over time with uPlot, and stacked bars with plain elements.
import { element } from "./dom.js";
import { milliseconds, percent } from "./format.js";

/* global uPlot */

// Ten minutes at a poll every two seconds.
const KEPT = 300;

// Stages in the order in which they happen; each has one colour on the whole page.
const STAGES = ["wait", "receive", "queue", "transcode", "prepare", "write", "commit", "store", "unknown", "response"];

export function colour(stage) {
  const at = STAGES.indexOf(stage);
  return `s${at < 0 ? 8 : at}`;
}

export class History {
  constructor(id, labels) {
    this.place = document.getElementById(id);
    this.labels = labels;
    this.data = [[], ...labels.map(() => [])];
    this.plot = null;
    new ResizeObserver(() => this.fit()).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.plot?.destroy(); this.plot = null; this.draw(); });
  }

  add(seconds, values) {
    this.data[0].push(seconds);
    values.forEach((value, at) => this.data[at + 1].push(value));
    if (this.data[0].length > KEPT) for (const column of this.data) column.shift();
    this.draw();
  }

  draw() {
    if (this.place.clientWidth === 0) return;
    if (this.plot) { this.plot.setData(this.data); return; }
    const style = getComputedStyle(document.documentElement);
    const dim = style.getPropertyValue("--dim").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const series = this.labels.map((label, at) => {
      const stroke = style.getPropertyValue(`--s${at}`).trim();
      return { label, stroke, width: 2, fill: `${stroke}22`, value: (_, value) => (value === null ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: 1 })) };
    });
    const options = {
      width: this.place.clientWidth,
      height: this.height(),
      series: [{ value: (_, value) => (value === null ? "–" : new Date(value * 1000).toLocaleTimeString()) }, ...series],
      axes: [{ ...axis, values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" })), space: 80 },
        { ...axis, size: 64, values: (_, ticks) => ticks.map((value) => value.toLocaleString()) }],
      scales: { y: { range: (_, __, highest) => [0, Math.max(1, highest * 1.1)] } },
      cursor: { drag: { x: false, y: false } },
    };
    this.plot = new uPlot(options, this.data, this.place);
  }

  height() {
    // The legend stands below the plot.
    return Math.max(120, this.place.clientHeight - 32);
  }

  fit() {
    if (this.plot) this.plot.setSize({ width: this.place.clientWidth, height: this.height() });
    else this.draw();
  }
}

// `parts` maps a stage to its size; widths are shares of `whole`.
export function bar(parts, whole, describe) {
  const made = element("div", undefined, "bar");
  const entries = Object.entries(parts).filter(([, value]) => value > 0);
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", entries.map(([name, value]) => `${name} ${describe(value)}`).join(", "));
  for (const [name, value] of entries) {
    const piece = element("i", undefined, colour(name));
    piece.style.width = `${whole > 0 ? (100 * value) / whole : 0}%`;
    piece.title = `${name}: ${describe(value)}`;
    made.append(piece);
  }
  return made;
}

export function legend(names) {
  const made = element("ul", undefined, "legend");
  for (const name of STAGES.filter((each) => names.has(each))) {
    const item = element("li");
    item.append(element("i", undefined, colour(name)), name);
    made.append(item);
  }
  return made;
}

export function row(label, title, piece, end) {
  const made = element("div", undefined, "row");
  const first = element("span", label);
  first.title = title;
  made.append(first, piece, element("span", end));
  return made;
}

// One bar per line of `lines`: {label, title, parts (share of its own whole)}.
export function shareBars(lines) {
  const names = new Set(lines.flatMap((line) => Object.keys(line.parts)));
  return [...lines.map((line) => row(line.label, line.title, bar(line.parts, 1, (value) => percent(value)), line.end)), legend(names)];
}

// Bars on one scale in time: {label, title, parts (ms), total (ms)}.
export function waterfall(lines) {
  const longest = Math.max(...lines.map((line) => line.total), 0);
  const names = new Set(lines.flatMap((line) => Object.keys(line.parts)));
  return [legend(names), ...lines.map((line) => row(line.label, line.title, bar(line.parts, longest, milliseconds), milliseconds(line.total)))];
}
