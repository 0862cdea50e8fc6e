// A chart of lines over time, drawn as SVG, with its figures in a table beside it.

import { make } from "{{dom.js}}";
import { figure, marks, timeMarks, timeWithin } from "{{format.js}}";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { top: 8, right: 6, bottom: 22 };
const CHARACTER = 6.3;
// Wide enough for most figures, so that most charts begin at the same place.
const GUTTER = 48;

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class Chart {
  #about;
  #data = null;
  #at = null;
  #watch;

  /** `about` has `title`, `unit`, `lines` (each with `label` and `path`), and `top`, the end of the scale. */
  constructor(about) {
    this.#about = about;
    this.now = make("p", { class: "now" });
    this.plot = make("div", { class: "plot" });
    this.legend = make("ul", { class: "legend" });
    this.rows = make("div", { class: "rows", role: "region", tabindex: "0", "aria-label": `${about.title}: values` });
    this.details = make("details", {}, make("summary", {}, "Values", make("span", { class: "unseen" }, ` of ${about.title}`)), this.rows);
    this.element = make("article", { class: "card chart" },
      make("header", {}, make("h3", {}, about.title), this.now), this.plot, this.legend, this.details);
    this.details.addEventListener("toggle", () => this.#fillTable());
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    this.plot.addEventListener("pointerleave", () => this.#show(null));
    this.#watch = new ResizeObserver(() => this.#draw());
    this.#watch.observe(this.plot);
  }

  get title() { return this.#about.title; }

  /**
   * `data` has `from`, `to`, `step`, `words` for this range, whether it is `over`, and `lines`, the points of
   * each, in the order of time: `{ time, avg, max }`.
   */
  update(data) {
    this.#data = data;
    this.#draw();
    this.#fillTable();
  }

  remove() {
    this.#watch.disconnect();
    this.element.remove();
  }

  get #isEmpty() { return this.#data.lines.every((points) => points.length === 0); }

  #draw() {
    if (!this.#data || this.plot.clientWidth === 0) return;
    const { from, to } = this.#data;
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    const points = this.#data.lines.flat();
    const highest = Math.max(0, ...points.map((it) => it.max ?? it.avg));
    const lowest = Math.min(0, ...points.map((it) => it.avg));
    const levels = marks(this.#about.top ?? highest, this.#about.unit, lowest);
    const names = levels.map((it) => figure(it, this.#about.unit));
    const left = Math.max(GUTTER, Math.ceil(Math.max(...names.map((it) => it.length)) * CHARACTER) + 8);
    const right = width - EDGE.right;
    const bottom = height - EDGE.bottom;
    const x = (time) => left + (time - from) / (to - from) * (right - left);
    // In steps: of the greatest numbers the difference is none.
    const distance = levels[1] - levels[0];
    const [low, high] = [levels[0] / distance, levels.at(-1) / distance];
    const part = (value) => Math.min(1, Math.max(0, (value / distance - low) / (high - low)));
    const y = (value) => bottom - part(value) * (bottom - EDGE.top);
    this.scale = { x, y, bottom };
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.#summary() });
    levels.forEach((level, index) => {
      const at = Math.round(y(level)) + 0.5;
      svg.append(
        draw("line", { class: level === 0 ? "grid base" : "grid", x1: left, x2: right, y1: at, y2: at }),
        draw("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, names[index]),
      );
    });
    for (const { at, words } of timeMarks(from, to, right - left)) {
      const half = words.length * CHARACTER / 2;
      if (x(at) - half < left - 8 || x(at) + half > width) continue;
      svg.append(draw("text", { x: x(at), y: height - 5, "text-anchor": "middle" }, words));
    }
    this.#data.lines.forEach((points, index) => this.#trace(svg, points, index));
    this.pointer = draw("g");
    svg.append(this.pointer);
    const empty = this.#isEmpty ? [make("p", { class: "empty" }, "No values in this range")] : [];
    this.plot.replaceChildren(svg, ...empty);
    this.#show(this.#at);
  }

  /** A line of the averages and, where it is alone, a shade up to the highest. */
  #trace(svg, points, index) {
    const { x, y } = this.scale;
    const place = (time, value) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    for (const run of this.#runs(points)) {
      const line = run.map((it) => place(it.time, it.avg)).join("L");
      if (this.#data.lines.length === 1 && run.length > 1) {
        const top = run.toReversed().map((it) => place(it.time, it.max)).join("L");
        svg.append(draw("path", { class: `band s${index + 1}`, d: `M${line}L${top}Z` }));
      }
      svg.append(run.length > 1
        ? draw("path", { class: `s${index + 1} trace`, d: `M${line}` })
        : draw("circle", { class: `s${index + 1} single`, cx: x(run[0].time), cy: y(run[0].avg), r: 2 }));
    }
  }

  /** The points up to each gap: where nothing came for thrice as long as usual. */
  #runs(points) {
    const gaps = points.slice(1).map((it, index) => it.time - points[index].time).sort((a, b) => a - b);
    const usual = Math.max(this.#data.step, gaps[gaps.length >> 1] ?? 0);
    const runs = [];
    points.forEach((point, index) => {
      if (index === 0 || point.time - points[index - 1].time > 3 * usual) runs.push([]);
      runs.at(-1).push(point);
    });
    return runs;
  }

  /** What somebody hears who does not see the lines. */
  #summary() {
    const { title, unit, lines } = this.#about;
    if (this.#isEmpty) return `${title}: no values in the ${this.#data.words}`;
    const said = this.#data.lines.map((points, index) => {
      if (points.length === 0) return `${lines[index].label}: none`;
      const highest = Math.max(...points.map((it) => it.max));
      const mean = points.reduce((sum, it) => sum + it.avg / points.length, 0);
      const last = points.at(-1).avg;
      return `${lines[index].label}: ${figure(last, unit)} ${this.#data.over ? "at the end" : "now"}, ${figure(mean, unit)} on average, ${figure(highest, unit)} at most`;
    });
    return `${title} in the ${this.#data.words}. ${said.join("; ")}`;
  }

  #point(event) {
    if (!this.#data || this.#isEmpty) return;
    const place = event.clientX - this.plot.getBoundingClientRect().left;
    const times = new Set(this.#data.lines.flat().map((it) => it.time));
    let nearest = null;
    for (const time of times) {
      if (nearest === null || Math.abs(this.scale.x(time) - place) < Math.abs(this.scale.x(nearest) - place)) nearest = time;
    }
    this.#show(nearest);
  }

  /** The figures of one time; of the last one, when nobody points. */
  #show(time) {
    const { unit, lines } = this.#about;
    const { from, to } = this.#data;
    this.#at = time !== null && time >= from ? time : null;
    const found = this.#data.lines.map((points) =>
      this.#at === null ? points.at(-1) : points.find((it) => it.time === this.#at));
    this.pointer.replaceChildren();
    if (this.#at !== null) {
      const at = this.scale.x(this.#at);
      this.pointer.append(draw("line", { class: "at", x1: at, x2: at, y1: EDGE.top, y2: this.scale.bottom }));
      found.forEach((point, index) => point && this.pointer.append(
        draw("circle", { class: `s${index + 1} dot`, cx: at, cy: this.scale.y(point.avg), r: 4 })));
    }
    const when = this.#at === null ? [] : [make("span", { class: "when" }, timeWithin(this.#at, to - from))];
    this.now.replaceChildren(...when, lines.length === 1 ? figure(found[0]?.avg, unit) : "");
    this.legend.replaceChildren(...lines.map((line, index) => make("li", {},
      draw("svg", { viewBox: "0 0 16 8", "aria-hidden": "true" }, draw("line", { class: `s${index + 1}`, x1: 0, x2: 16, y1: 4, y2: 4 })),
      lines.length === 1 ? `${line.label}, shaded up to the highest` : line.label,
      ...(lines.length === 1 ? [] : [make("b", {}, figure(found[index]?.avg, unit))]))));
  }

  /** The same figures in rows, newest first, when they are asked for. */
  #fillTable() {
    if (!this.#data || !this.details.open) return;
    const { unit, title, lines } = this.#about;
    const { from, to } = this.#data;
    const isAlone = lines.length === 1;
    const byTime = new Map();
    this.#data.lines.forEach((points, index) => points.forEach((point) => {
      if (!byTime.has(point.time)) byTime.set(point.time, []);
      byTime.get(point.time)[index] = point;
    }));
    const cell = (value) => make("td", { class: "number" }, figure(value, unit));
    const rows = [...byTime].sort(([a], [b]) => b - a).map(([time, points]) => make("tr", {},
      make("th", { scope: "row" }, timeWithin(time, to - from)),
      ...(isAlone ? [cell(points[0].avg), cell(points[0].max)] : lines.map((_, index) => cell(points[index]?.avg)))));
    const names = isAlone ? ["Average", "Highest"] : lines.map((it) => it.label);
    const heads = names.map((it) => make("th", { scope: "col", class: "number" }, it));
    const table = make("table", {},
      make("caption", { class: "unseen" }, `${title} in the ${this.#data.words}, newest first`),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Time"), ...heads)),
      make("tbody", {}, ...rows));
    const scrolled = this.rows.scrollTop;
    this.rows.replaceChildren(table);
    this.rows.scrollTop = scrolled;
  }
}
