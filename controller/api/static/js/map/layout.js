// Where everything is on the map. Fabrics with edges and a core are drawn in layers (dagre); where every switch has
// stations of its own (a ring, a mesh, one switch) there is no up and down: a circle.

import { Graph, layout as dagre } from "../../vendor/dagre/dist/dagre.esm.js";

const SWITCH = { width: 76, height: 34 };
const stationSize = (aspect) => ({ width: aspect > 1 ? 78 : 74, height: 74 });
const MARGIN = 22;
const MOST_STRETCH = 1.7;

let kept = { shape: "", places: null };

/** {places: Map of id → {x, y}, box}; the same as before while nothing came or went. `aspect` is that of the place it is drawn in. */
export function layout(fabric, aspect) {
  const ids = (list) => list.map((found) => found.id).join();
  const shape = [ids(fabric.switches), ids(fabric.cables), fabric.stations.map((found) => `${found.id}@${found.dpid}`).join(), aspect].join("|");
  if (kept.shape !== shape) kept = { shape, ...place(fabric, aspect) };
  return kept;
}

function place(fabric, aspect) {
  const depth = depths(fabric);
  const station = stationSize(aspect);
  const layered = [...depth.values()].some((distance) => distance > 0) || fabric.switches.length === 1;
  const places = layered ? layers(fabric, depth, station) : circle(fabric);
  if (!layered) return { places, box: around(places, fabric, station) };
  inOrder(places, fabric);
  const { width, height } = around(places, fabric, station);
  const stretch = Math.min(MOST_STRETCH, Math.max(1, (aspect * height) / width));
  for (const at of places.values()) at.x *= stretch;
  return { places, box: around(places, fabric, station) };
}

/** Names ascend from left to right among twins: what has the same neighbours changes places without crossing a line more. */
function inOrder(places, fabric) {
  const own = (found) => fabric.stations.filter((station) => station.dpid === found.id);
  const twins = new Map();
  const note = (key, found) => twins.set(key, [...(twins.get(key) || []), found]);
  for (const station of fabric.stations) note(station.dpid, station);
  // As many stations each, so that none comes to stand on another's.
  for (const found of fabric.switches) note([places.get(found.id).y, own(found).length, ...peers(found, fabric)].join(), found);
  for (const group of twins.values()) {
    const columns = spread(group, places, fabric) || group.map((found) => places.get(found.id).x).sort((a, b) => a - b);
    group.forEach((found, at) => {
      const shift = columns[at] - places.get(found.id).x;
      for (const { id } of [found, ...(found.kind === "switch" ? own(found) : [])]) places.get(id).x += shift;
    });
  }
}

/** A layer of nothing but twins (the spines of a leaf-spine) takes the whole width; null for other groups. */
function spread(group, places, fabric) {
  const height = places.get(group[0].id).y;
  const layer = fabric.switches.filter((found) => places.get(found.id).y === height);
  const bare = !fabric.stations.some((station) => station.dpid === group[0].id);
  if (group.length < 2 || group[0].kind !== "switch" || !bare || layer.length !== group.length) return null;
  const all = fabric.switches.map((found) => places.get(found.id).x);
  const [left, right] = [Math.min(...all), Math.max(...all)];
  return group.map((_, at) => left + ((at + 0.5) * (right - left)) / group.length);
}

/** The switches that a switch has cables to. */
function peers(found, fabric) {
  return fabric.cables.filter(({ a, b }) => a === found.id || b === found.id).map(({ a, b }) => (a === found.id ? b : a)).sort();
}

/** How many hops each switch is from the nearest station. */
function depths(fabric) {
  const neighbours = new Map(fabric.switches.map((found) => [found.id, []]));
  for (const { a, b } of fabric.cables) {
    neighbours.get(a).push(b);
    neighbours.get(b).push(a);
  }
  const depth = new Map(fabric.stations.map((station) => [station.dpid, 0]));
  const queue = [...depth.keys()];
  while (queue.length) {
    const at = queue.shift();
    for (const next of neighbours.get(at)) {
      if (depth.has(next)) continue;
      depth.set(next, depth.get(at) + 1);
      queue.push(next);
    }
  }
  return depth;
}

function layers(fabric, depth, size) {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 14, ranksep: 58, edgesep: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const found of fabric.switches) graph.setNode(found.id, { ...SWITCH });
  for (const station of fabric.stations) {
    graph.setNode(station.id, { ...size });
    graph.setEdge(station.dpid, station.id, {});
  }
  for (const { a, b, id } of fabric.cables) {
    const [da, db] = [depth.get(a) ?? 0, depth.get(b) ?? 0];
    // Peers stay side by side: an edge between them would put one above the other.
    if (da !== db) graph.setEdge(...(da > db ? [a, b] : [b, a]), { minlen: 1 }, id);
  }
  dagre(graph);
  return new Map(graph.nodes().map((id) => [id, { x: graph.node(id).x, y: graph.node(id).y }]));
}

function circle(fabric) {
  const places = new Map();
  const radius = Math.max(70, (fabric.switches.length * 92) / (2 * Math.PI));
  fabric.switches.forEach((found, place) => {
    const angle = (2 * Math.PI * place) / fabric.switches.length - Math.PI / 2;
    places.set(found.id, polar(radius, angle));
    const own = fabric.stations.filter((station) => station.dpid === found.id);
    own.forEach((station, turn) => {
      const fan = Math.min(0.55, 1.9 / Math.max(own.length, 1) / 2);
      places.set(station.id, polar(radius + 105, angle + (turn - (own.length - 1) / 2) * fan));
    });
  });
  return places;
}

const polar = (radius, angle) => ({ x: radius * Math.cos(angle), y: radius * Math.sin(angle) });

function around(places, fabric, size) {
  const stations = new Set(fabric.stations.map((station) => station.id));
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [id, { x, y }] of places) {
    const { width, height } = stations.has(id) ? size : SWITCH;
    [left, right] = [Math.min(left, x - width / 2), Math.max(right, x + width / 2)];
    [top, bottom] = [Math.min(top, y - height / 2), Math.max(bottom, y + height / 2)];
  }
  return { x: left - MARGIN, y: top - MARGIN, width: right - left + 2 * MARGIN, height: bottom - top + 2 * MARGIN };
}
