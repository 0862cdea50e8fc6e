// Figures and times in words, and the round numbers that axes are marked with.

const SECOND = 1_000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const TIME_STEPS = [
  5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exactClock =
  new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });

export const time = (ms) => exactClock.format(ms);
export const dateAndTime = (ms) => moment.format(ms);

/** A time as exact as a range of this length needs it. */
export function timeWithin(ms, length) {
  if (length <= HOUR) return exactClock.format(ms);
  return length <= DAY ? clock.format(ms) : `${day.format(ms)}, ${clock.format(ms)}`;
}

const digits = (value) => {
  const size = Math.abs(value);
  const most = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return value.toLocaleString(undefined, { maximumFractionDigits: most });
};

function bytes(value) {
  const power = value < 1 ? 0 : Math.min(BINARY.length - 1, Math.floor(Math.log2(value) / 10));
  return `${digits(value / 1024 ** power)} ${BINARY[power]}`;
}

/** A figure with its unit: `percent`, `bytes`, `rate` (bytes per second), or none. */
export function figure(value, unit) {
  if (value === null || value === undefined) return "–";
  switch (unit) {
    case "percent": return `${digits(value)} %`;
    case "bytes": return bytes(value);
    case "rate": return `${bytes(value)}/s`;
    default: return digits(value);
  }
}

/** Marks of a scale from 0 that has room for `highest`: four or so, the last at or above it. */
export function marks(highest, unit) {
  const isBytes = unit === "bytes" || unit === "rate";
  // Of bytes there are no parts.
  const most = Math.max(highest, isBytes ? 4 : highest > 0 ? 0 : 1);
  const base = isBytes ? 1024 ** Math.floor(Math.log2(most) / 10) : 1;
  const rough = most / base / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((it) => it * power).find((it) => it >= rough * 0.999) * base;
  const count = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, index) => index * step);
}

/** Round times between two, as many as have room on so many pixels, each with its words. */
export function timeMarks(from, to, width) {
  const hasRoom = (step) => width * step / (to - from) >= (step < MINUTE ? 80 : 60);
  const step = TIME_STEPS.find(hasRoom) ?? TIME_STEPS.at(-1);
  const format = step >= DAY ? day : step < MINUTE ? exactClock : clock;
  // Round where the reader is: midnight is theirs.
  const zone = new Date(to).getTimezoneOffset() * MINUTE;
  const first = Math.ceil((from - zone) / step) * step + zone;
  const found = [];
  for (let at = first; at <= to; at += step) found.push({ at, words: format.format(at) });
  return found;
}
