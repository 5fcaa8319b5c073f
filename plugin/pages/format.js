// Numbers, sizes and times as people read them, in the viewer's language and zone.

export function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return value.toLocaleString(undefined, { maximumFractionDigits: digits });
}

export function size(value) {
  if (value === null || value === undefined) return "–";
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${number(value, unit === 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${number(seconds * 1000, 0)} ms`;
  if (seconds < 90) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
  if (seconds < 5400) return `${number(seconds / 60, 0)} min`;
  if (seconds < 48 * 3600) return `${number(seconds / 3600, 1)} h`;
  return `${number(seconds / 86400, 0)} days`;
}

export function milliseconds(value) {
  return value === null || value === undefined ? "–" : `${number(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
}

export function percent(share, digits = 1) {
  return share === null || share === undefined || Number.isNaN(share) ? "–" : `${number(share * 100, digits)} %`;
}

// Seconds since 1970.
export function time(seconds) {
  if (!seconds) return "–";
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}

export function words(name) {
  return name.replaceAll("_", " ");
}
