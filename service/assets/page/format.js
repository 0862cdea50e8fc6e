// Figures and times in words, and the round numbers that axes are marked with.

const SECOND = 1_000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const TIME_STEPS = [
  5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 182 * DAY, 365 * DAY, 730 * DAY,
  1825 * DAY, 3650 * DAY, 18_250 * DAY, 36_500 * DAY,
];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exactClock =
  new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });

export const time = (ms) => exactClock.format(ms);
export const dateAndTime = (ms) => moment.format(ms);

/** A time as exact as a range of this length needs it. */
export function timeWithin(ms, length) {
  if (length <= HOUR) return exactClock.format(ms);
  const isToday = length <= DAY && new Date(ms).toDateString() === new Date().toDateString();
  if (isToday) return clock.format(ms);
  const isThisYear = new Date(ms).getFullYear() === new Date().getFullYear();
  return `${(isThisYear ? day : dayOfYear).format(ms)}, ${clock.format(ms)}`;
}

/** What a clock shows where the reader is, in milliseconds since it showed the beginning of 1970, and when it does. */
const shownAt = (ms) => ms - new Date(ms).getTimezoneOffset() * MINUTE;
const whenShown = (shown) => new Date(1970, 0, 1, 0, 0, 0, shown).getTime();

/** A time as a field for one has it, and what such a field says, where the reader is. */
export const toField = (ms) => new Date(shownAt(ms)).toISOString().slice(0, 16);
export const fromField = (text) => new Date(text).getTime();

/** Which times those are at this moment, by name and distance. */
export function zoneAt(ms) {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const minutes = -new Date(ms).getTimezoneOffset();
  const part = (it) => String(Math.floor(it)).padStart(2, "0");
  const distance = `UTC${minutes < 0 ? "−" : "+"}${part(Math.abs(minutes) / 60)}:${part(Math.abs(minutes) % 60)}`;
  return minutes === 0 ? "UTC" : `${name}, ${distance}`;
}

/** From here on, and below the least, only powers of ten can be read. */
const HUGE = 1e15, TINY = 1e-6;

/** Three digits or so, of small figures those that say something. */
function digits(value) {
  const size = Math.abs(value);
  if (size >= HUGE || (size > 0 && size < TINY)) {
    return value.toLocaleString(undefined, { notation: "scientific", maximumSignificantDigits: 3 });
  }
  // There is no zero below zero.
  if (size < 1) return (value + 0).toLocaleString(undefined, { maximumSignificantDigits: 3 });
  return value.toLocaleString(undefined, { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 });
}

function bytes(value) {
  const size = Math.abs(value);
  const power = size < 1 ? 0 : Math.min(BINARY.length - 1, Math.floor(Math.log2(size) / 10));
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

/** Marks of a scale that has room for 0, `highest` and `lowest`: four or so, the outer ones at or beyond these. */
export function marks(highest, unit, lowest = 0) {
  const isBytes = unit === "bytes" || unit === "rate";
  const [low, high] = [Math.min(0, lowest), Math.max(0, highest)];
  // Of bytes there are no parts. A quarter of each: the distance may be no number any more.
  const quarter = Math.max(high / 4 - low / 4, isBytes ? 1 : high > low ? 1e-300 : 0.25);
  const base = isBytes ? 1024 ** Math.floor(Math.log2(quarter * 4) / 10) : 1;
  const power = 10 ** Math.floor(Math.log10(quarter / base));
  const step = [1, 2, 2.5, 5, 10].map((it) => it * power).find((it) => it >= quarter / base * 0.999) * base;
  const first = Math.floor(low / step + 1e-9);
  const last = low < 0 ? Math.ceil(high / step - 1e-9) : Math.max(1, Math.ceil(quarter * 4 / step - 1e-9));
  const mark = (index) => Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, (first + index) * step));
  return Array.from({ length: last - first + 1 }, (_, index) => mark(index));
}

/** Round times between two, as many as have room on so many pixels, each with its words. */
export function timeMarks(from, to, width) {
  const hasRoom = (step) => width * step / (to - from) >= (step < MINUTE ? 80 : step > 14 * DAY ? 90 : 60);
  const step = TIME_STEPS.find(hasRoom) ?? TIME_STEPS.at(-1);
  const format = step > 14 * DAY ? dayOfYear : step >= DAY ? day : step < MINUTE ? exactClock : clock;
  // Round where the reader is: midnight is theirs, and a day may have 23 hours or 25.
  const found = [];
  let last = from - 1;
  for (let shown = Math.ceil(shownAt(from) / step) * step; ; shown += step) {
    const at = whenShown(shown);
    if (at > to) return found;
    // Clocks that are set forward or back show some times never, and some twice.
    if (at <= last) continue;
    found.push({ at, words: format.format(at) });
    last = at;
  }
}
