// The fabric map: drawn in SVG, so that it takes its colours from the style sheet and every element can have the focus.

import "../../vendor/d3/dist/d3.min.js";
import { percent, pct, plural } from "../format.js";
import { html, nothing, repeat, svg } from "../lit.js";
import { card } from "../parts.js";
import { change, state } from "../state.js";
import { element } from "./element.js";
import { layout } from "./layout.js";
import { fabric, isLossy, stress } from "./model.js";

const { d3 } = globalThis;
const RADIUS = 15;
const PHONE = 760;
/** How wide the map's place is against its height, on anything but a phone. */
const ASPECT = 2;
const LABELLED_PCT = 70;
const arc = d3.arc().innerRadius(RADIUS + 3).outerRadius(RADIUS + 6).startAngle(0);

export function map() {
  const model = fabric(state.data);
  const { places, box } = layout(model, innerWidth > PHONE ? ASPECT : 1);
  const order = [...model.switches, ...model.stations, ...model.cables];
  const selected = order.find((found) => found.id === state.selected) || null;
  const entry = selected?.id ?? order[0]?.id;
  const common = { places, entry, order };
  return card("Fabric", html`
    <div class="map" id="map">
      <svg viewBox="${box.x} ${box.y} ${box.width} ${box.height}" role="group" preserveAspectRatio="xMidYMid meet"
        aria-label="Fabric map: ${plural(model.switches.length, "switch", "switches")}, ${plural(model.cables.length, "link")}, ${plural(model.stations.length, "station")}. Arrow keys walk over it.">
        <g class="canvas">
          ${model.stations.map((station) => wire(station, places))}
          ${repeat(model.cables, (cable) => cable.id, (cable) => cableView(cable, common, parallel(cable, model.cables)))}
          ${repeat(model.switches, (found) => found.id, (found) => switchView(found, common))}
          ${repeat(model.stations, (station) => station.id, (station) => stationView(station, common))}
        </g>
      </svg>
    </div>
    ${model.absent.length ? html`<p class="hint">Not seen in the fabric yet: ${model.absent.map((member) => `${member.pool}/${member.name}`).join(", ")}</p>` : nothing}
    ${selected ? element(selected, model) : nothing}`, { aside: html`${legend()}${buttons()}`, id: "fabric", kind: "fabric" });
}

const legend = () => html`
  <span class="scale" title="Share of a link's capacity in use, in the direction away from the nearer switch">
    use <i class="idle"></i><i class="low"></i><i class="mid"></i><i class="high"></i><i class="hot"></i><span class="sr">from idle to full</span></span>`;

const buttons = () => html`
  <span class="zoom" role="group" aria-label="Zoom">
    <button type="button" class="icon" aria-label="Zoom out" @click=${() => zoomBy(1 / 1.4)}>−</button>
    <button type="button" class="icon" aria-label="Show all" title="Show all" @click=${() => zoomBy(null)}>⤢</button>
    <button type="button" class="icon" aria-label="Zoom in" @click=${() => zoomBy(1.4)}>+</button>
  </span>`;

/** What every element has: it is a button, and one of them all is reached by Tab. */
function attributes(found, { entry, order }) {
  return {
    classes: `${state.selected === found.id ? "selected" : ""} ${found.incident ? "guilty" : ""}`,
    tab: found.id === entry ? 0 : -1,
    pick: () => change((now) => { now.selected = now.selected === found.id ? null : found.id; }),
    walk: (event) => walk(event, found, order),
  };
}

function walk(event, found, order) {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    change((now) => { now.selected = now.selected === found.id ? null : found.id; });
  }
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  const next = order[(order.indexOf(found) + by + order.length) % order.length];
  document.querySelector(`#map [data-id="${CSS.escape(next.id)}"]`)?.focus();
}

function switchView(found, common) {
  const { x, y } = common.places.get(found.id);
  const { classes, tab, pick, walk: onkey } = attributes(found, common);
  const words = `Switch ${found.label}, ${found.up ? "connected" : "not connected"}`;
  return svg`<g class="element switch ${found.up ? "" : "away"} ${classes}" transform="translate(${x} ${y})" role="button" tabindex=${tab}
    data-id=${found.id} aria-label=${words} @click=${pick} @keydown=${onkey}>
    <rect class="body" x="-38" y="-17" width="76" height="34" rx="9"></rect>
    <path class="glyph" d="M-27-4h9m-3-3 3 3-3 3M-18 5h-9m3-3-3 3 3 3"></path>
    <text x="-8" dy="0.35em">${found.label}</text></g>`;
}

function stationView(station, common) {
  const { x, y } = common.places.get(station.id);
  const { classes, tab, pick, walk: onkey } = attributes(station, common);
  const serves = station.serving.length > 0;
  const [member] = station.serving;
  const share = serves && member.weight ? Math.min(1, member.effective_weight / member.weight) : 0;
  const under = serves ? `${member.effective_weight} of ${member.weight}` : station.quarantined ? "quarantined" : "";
  return svg`<g class="element station ${serves ? "member" : "client"} health-${station.health} ${station.quarantined ? "quarantined" : ""} ${classes}"
    transform="translate(${x} ${y - 12})" role="button" tabindex=${tab} data-id=${station.id} aria-label=${stationWords(station)} @click=${pick} @keydown=${onkey}>
    ${station.incident ? svg`<circle class="halo" r=${RADIUS + 11}></circle>` : nothing}
    <rect class="hit" x="-34" y="-24" width="68" height="72"></rect>
    ${serves ? svg`<circle class="ring" r=${RADIUS + 4.5}></circle><path class="weight" d=${arc({ endAngle: 2 * Math.PI * share })}></path>` : nothing}
    <circle class="body" r=${serves ? RADIUS : RADIUS - 4}></circle>
    ${serves ? svg`<path class="glyph" d="M-6-5.5h12v4.5h-12zM-6 1h12v4.5h-12zM-3.5-3.2h.1M-3.5 3.2h.1"></path>`
      : station.quarantined ? svg`<path class="glyph" d="M-6 6 6-6"></path>` : nothing}
    <text y=${RADIUS + 18} class="name">${station.label}</text>
    ${under ? svg`<text y=${RADIUS + 31} class="under">${under}</text>` : nothing}</g>`;
}

function stationWords(station) {
  if (station.kind === "crowd") return `${station.clients.length} hosts`;
  const accused = station.incident ? `, ${station.incident.cause}, incident ${station.incident.id}` : "";
  if (!station.serving.length) return `Host ${station.host.address}${station.quarantined ? ", in quarantine" : ""}${accused}`;
  const each = station.serving.map((member) => `Member ${member.pool}/${member.name}, ${member.health}, weight ${member.effective_weight} of ${member.weight}`);
  return each.join("; ") + accused;
}

function wire(station, places) {
  const [from, to] = [places.get(station.dpid), places.get(station.id)];
  return svg`<line class="wire" x1=${from.x} y1=${from.y} x2=${to.x} y2=${to.y - 12}></line>`;
}

/** How far aside a cable is drawn that has others between the same switches. */
function parallel(cable, cables) {
  const same = cables.filter((other) => [other.a, other.b].sort().join() === [cable.a, cable.b].sort().join());
  return (same.indexOf(cable) - (same.length - 1) / 2) * 14;
}

/** Each half of a cable is one direction, in the colour of what the nearer switch sends: as network weather maps have it. */
function cableView(cable, common, aside) {
  const [a, b] = [common.places.get(cable.a), common.places.get(cable.b)];
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  const [nx, ny] = [(-(b.y - a.y) / length) * aside, ((b.x - a.x) / length) * aside];
  const from = { x: a.x + nx, y: a.y + ny };
  const to = { x: b.x + nx, y: b.y + ny };
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
  const { classes, tab, pick, walk: onkey } = attributes(cable, common);
  return svg`<g class="element cable ${classes}" role="button" tabindex=${tab} data-id=${cable.id} aria-label=${cableWords(cable)} @click=${pick} @keydown=${onkey}>
    ${cable.incident ? svg`<line class="halo" x1=${from.x} y1=${from.y} x2=${to.x} y2=${to.y}></line>` : nothing}
    <line class="hit" x1=${from.x} y1=${from.y} x2=${to.x} y2=${to.y}></line>
    ${cable.ways.map((way) => half(way, way.src.dpid === cable.a ? from : to, middle))}</g>`;
}

function half(way, end, middle) {
  const use = Math.min(100, way.utilisation_pct || 0);
  const text = isLossy(way) ? `${pct(way.loss_pct)} lost` : use >= LABELLED_PCT ? pct(use) : "";
  const at = { x: end.x * 0.4 + middle.x * 0.6, y: end.y * 0.4 + middle.y * 0.6 };
  return svg`<line class="half ${stress(way)} ${isLossy(way) ? "lossy" : ""} ${way.congested ? "congested" : ""}" x1=${end.x} y1=${end.y} x2=${middle.x} y2=${middle.y}
    stroke-width=${2.2 + use / 28}></line>${text ? svg`<text class="figure" x=${at.x} y=${at.y} dx="9" dy="0.35em">${text}</text>` : nothing}`;
}

function cableWords(cable) {
  const ways = cable.ways.map((way) => `${pct(way.utilisation_pct)} used, ${percent((way.loss_pct || 0) / 100, 1)} lost`);
  return `Link ${cable.id.replace("-", " to ")}: ${ways.join("; ")}${cable.incident ? `, ${cable.incident.cause}, incident ${cable.incident.id}` : ""}`;
}

// --- pan and zoom ---

// The wheel scrolls the page and one finger too: zooming takes Ctrl or a second finger, or the buttons.
const zoom = d3.zoom().scaleExtent([0.5, 6])
  .filter((event) => (event.type === "wheel" ? event.ctrlKey : event.touches ? event.touches.length > 1 : !event.button))
  .on("zoom", ({ transform }) => document.querySelector("#map .canvas")?.setAttribute("transform", transform));

/** The drawing is there only after lit has drawn it. */
export function settleMap() {
  const drawing = document.querySelector("#map svg");
  if (drawing && !drawing.zooming) {
    drawing.zooming = true;
    d3.select(drawing).call(zoom).on("dblclick.zoom", null);
  }
}

function zoomBy(factor) {
  const drawing = d3.select("#map svg");
  if (factor === null) drawing.call(zoom.transform, d3.zoomIdentity);
  else drawing.call(zoom.scaleBy, factor);
}
