// Connections reset over time, stacked by cause: d3 does the arithmetic, lit draws.

import "../vendor/d3/dist/d3.min.js";
import { causeClass, causeName, meaning, STACK } from "./causes.js";
import { minutes, number, time } from "./format.js";
import { html, nothing, svg } from "./lit.js";
import { RANGES, refresh } from "./live.js";
import { card, choice, empty } from "./parts.js";
import { change, prefer, state } from "./state.js";

const { d3 } = globalThis;
const HEIGHT = 190;
const MARGIN = { top: 8, right: 4, bottom: 22, left: 34 };

export function timeline() {
  const now = state.data.timeline;
  const ranges = Object.entries(RANGES).map(([name, { label }]) => [name, label]);
  const aside = choice("Range", ranges, state.preferences.range, (range) => {
    prefer("range", range);
    change((was) => { was.span = null; });
    refresh();
  });
  return card("Connections reset, by cause", html`
    <div class="timeline" id="timeline">
      ${now && state.width.timeline ? chart(now.spans, now.bin_s, state.width.timeline) : nothing}
    </div>`, { aside, id: "resets" });
}

/** The chart is as wide as its place: known only once that is on the page. */
export function measureTimeline() {
  const width = document.getElementById("timeline")?.clientWidth ?? 0;
  if (width && width !== state.width.timeline) change((now) => { now.width.timeline = width; });
}

function chart(spans, bin_s, width) {
  const present = STACK.filter((cause) => spans.some((span) => span.counts[cause]));
  const layers = d3.stack().keys(present).value((span, cause) => span.counts[cause] || 0)(spans);
  const most = d3.max(layers.at(-1) ?? [], (bar) => bar[1]) || 0;
  const y = d3.scaleLinear([0, Math.max(4, most)], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(4);
  const x = d3.scaleBand(d3.range(spans.length), [MARGIN.left, width - MARGIN.right]).paddingInner(0.18);
  const total = d3.sum(layers.at(-1) ?? [], (bar) => bar[1]);
  const chosen = state.span !== null && state.span < spans.length ? state.span : null;
  return html`
    ${legend(present, spans, bin_s, chosen)}
    <svg class="chart" width=${width} height=${HEIGHT} role="group" tabindex="0" @pointermove=${(event) => point(event, x)} @pointerleave=${leave}
      @keydown=${(event) => walk(event, spans.length)} @blur=${leave}
      aria-label="${number(total)} connections reset in this range${most ? `, at most ${number(most)} in ${bin_s} s` : ""}. Arrow keys read single spans.">
      ${y.ticks(4).filter(Number.isInteger).map((tick) => svg`
        <line class="grid" x1=${MARGIN.left} x2=${width - MARGIN.right} y1=${y(tick)} y2=${y(tick)}></line>
        <text class="tick" x=${MARGIN.left - 8} y=${y(tick)} dy="0.32em" text-anchor="end">${d3.format("~s")(tick)}</text>`)}
      ${hours(spans, width).map((place) => svg`
        <text class="tick" x=${x(place) + x.bandwidth() / 2} y=${HEIGHT - 5} text-anchor="middle">${minutes(new Date(spans[place].time))}</text>`)}
      ${chosen === null ? nothing : svg`<rect class="cursor" x=${x(chosen) - 1} y=${MARGIN.top} width=${x.bandwidth() + 2} height=${HEIGHT - MARGIN.top - MARGIN.bottom}></rect>`}
      ${layers.map((layer) => svg`<g class=${causeClass(layer.key)}>${layer.map((bar, place) => (bar[1] > bar[0]
        ? svg`<rect x=${x(place)} y=${y(bar[1])} width=${x.bandwidth()} height=${Math.max(0.5, y(bar[0]) - y(bar[1]))}></rect>` : nothing))}</g>`)}
    </svg>
    ${total ? nothing : html`<div class="over">${empty("No connection was reset in this range.")}</div>`}`;
}

function legend(present, spans, bin_s, chosen) {
  const count = (cause) => (chosen === null ? d3.sum(spans, (span) => span.counts[cause] || 0) : spans[chosen].counts[cause] || 0);
  return html`
    <p class="legend" aria-live=${chosen === null ? "off" : "polite"}>
      <span class="when">${chosen === null ? (present.length ? "in all" : "") : `${time(spans[chosen].time)}, ${bin_s} s`}</span>
      ${[...present].reverse().map((cause) => html`<span class="cause ${causeClass(cause)}" title=${meaning(cause)}><i aria-hidden="true"></i>${causeName(cause)} <b>${number(count(cause))}</b></span>`)}
    </p>`;
}

/** Which spans get a time under them: as many as there is room for. */
function hours(spans, width) {
  const every = Math.max(1, Math.ceil(spans.length / Math.max(2, Math.floor(width / 90))));
  return d3.range(Math.floor(every / 2), spans.length, every);
}

function point(event, x) {
  const place = Math.floor((event.offsetX - MARGIN.left) / x.step());
  change((now) => { now.span = place >= 0 && place < x.domain().length ? place : null; });
}

const leave = () => change((now) => { now.span = null; });

function walk(event, length) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  change((now) => { now.span = Math.min(length - 1, Math.max(0, (now.span ?? length) + by)); });
}
