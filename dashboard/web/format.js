// Words for numbers and times. Pure.

/** How long ago, in the two largest units at most: `5s`, `3m20s`, `4h`, `12d`. */
export function age(since, now = Date.now()) {
  const seconds = Math.max(0, Math.floor((now - new Date(since).getTime()) / 1000));
  if (!since || Number.isNaN(seconds)) return "–";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m${seconds % 60 ? `${seconds % 60}s` : ""}`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return `${hours}h${minutes % 60 ? `${minutes % 60}m` : ""}`;
  if (hours < 48) return `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

/** A moment in the reader's own time zone. */
export function moment(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? "–" : time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

const SUFFIXES = { n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 };

/** The number of a Kubernetes quantity; NaN for what is none. */
export function quantity(text) {
  const found = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkKMGTPE]?i?)$/.exec(String(text ?? ""));
  return found && found[2] in SUFFIXES ? Number(found[1]) * SUFFIXES[found[2]] : NaN;
}

/** Bytes, with three digits: `1.5 MiB`. */
export function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** CPU in cores: `250m`, `1.5`; microseconds per second below a thousandth. */
export function cores(count) {
  if (!Number.isFinite(count)) return "–";
  if (count === 0) return "0";
  if (count < 0.001) return `${Math.max(1, Math.round(count * 1e6))}µ`;
  if (count < 1) return `${Math.round(count * 1000)}m`;
  return count.toFixed(count < 10 ? 2 : 0);
}

/** `1 pod`, `2 pods`. */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A percentage without decimals. */
export function percent(part, whole) {
  return whole > 0 ? `${Math.round((100 * part) / whole)}%` : "–";
}
