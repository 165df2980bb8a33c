// The fabric as the map shows it: switches, cables (both directions of a link), stations and what is known of them.

import { shortDpid } from "../format.js";

/** Stations of a switch that are no members, beyond these, are drawn as one. */
const CLIENTS_SHOWN = 6;
const HEALTHS = ["down", "degraded", "unknown", "up"];

/** {switches, cables, stations, absent}: `absent` are members whose host nobody has seen. */
export function fabric({ topology, pools, quarantine, open }) {
  const accused = accusations(open);
  const switches = topology.switches.map((found) => ({
    kind: "switch", id: found.dpid, label: shortDpid(found.dpid), up: found.connected !== false, found,
  })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const known = new Set(switches.map((found) => found.id));
  const members = membersByAddress(pools);
  const attached = topology.hosts.filter((host) => known.has(host.dpid));
  const stations = bundled([...together(attached)].map(([id, hosts]) => station(id, hosts, members, quarantine, accused)));
  const cables = paired(topology.links.filter((link) => known.has(link.src.dpid) && known.has(link.dst.dpid)), accused);
  const seen = new Set(topology.hosts.map((host) => host.address));
  const absent = [...members].filter(([address]) => !seen.has(address)).flatMap(([, list]) => list);
  return { switches, cables, stations, absent };
}

const portName = ({ dpid, port_no }) => `${dpid}:${port_no}`;

/** Incidents by what they are about: `member pool/name`, `client address`, `port dpid:port`. */
function accusations(open) {
  const found = new Map();
  for (const incident of open) {
    const { type, id } = incident.subject;
    found.set(`${type} ${id}`, incident);
    // A link's name is `port-port`; a station that has no address goes by its port.
    if (type === "link") found.set(`port ${id.split("-")[0]}`, incident);
    if (type === "client" && id.includes(":")) found.set(`port ${id}`, incident);
  }
  return found;
}

function membersByAddress(pools) {
  const found = new Map();
  for (const pool of pools) {
    for (const member of pool.members) {
      found.set(member.address, [...(found.get(member.address) || []), { ...member, pool: pool.name }]);
    }
  }
  return found;
}

/** The API lists addresses; a station is what has one MAC address at one port, IPv4 first. */
function together(hosts) {
  const found = new Map();
  for (const host of [...hosts].sort((a, b) => a.address.includes(":") - b.address.includes(":"))) {
    const id = `${host.mac} ${portName(host)}`;
    found.set(id, [...(found.get(id) || []), host]);
  }
  return found;
}

function station(id, hosts, members, quarantine, accused) {
  const [host] = hosts;
  const addresses = hosts.map(({ address }) => address);
  const serving = addresses.flatMap((address) => members.get(address) || []);
  const about = [...serving.map((member) => `member ${member.pool}/${member.name}`), ...addresses.map((address) => `client ${address}`), `port ${portName(host)}`];
  const away = new Set(quarantine.map((entry) => entry.client.replace(/\/(32|128)$/, "")));
  return {
    kind: "station", id, host, addresses, dpid: host.dpid, serving,
    incident: about.map((subject) => accused.get(subject)).find(Boolean) || null,
    label: serving.length ? serving[0].name + (serving.length > 1 ? ` +${serving.length - 1}` : "") : host.address,
    health: HEALTHS.find((health) => serving.some((member) => member.health === health)) || "none",
    quarantined: addresses.some((address) => away.has(address)),
  };
}

/** Clients beyond a few become one symbol; who serves, is accused or in quarantine is always on its own. */
function bundled(stations) {
  const plain = new Map();
  const shown = stations.filter((found) => {
    if (found.serving.length || found.incident || found.quarantined) return true;
    plain.set(found.dpid, [...(plain.get(found.dpid) || []), found]);
    return false;
  });
  for (const [dpid, clients] of plain) {
    if (clients.length <= CLIENTS_SHOWN) shown.push(...clients);
    else shown.push({ kind: "crowd", id: `crowd ${dpid}`, dpid, clients, label: `${clients.length} hosts`, serving: [], incident: null });
  }
  return shown.sort((a, b) => (a.label < b.label ? -1 : 1));
}

/** Both directions of a link as one cable; `ways` has what each end sends. */
function paired(links, accused) {
  const cables = new Map();
  for (const link of links) {
    const [near, far] = [portName(link.src), portName(link.dst)];
    const id = [near, far].sort().join("-");
    const cable = cables.get(id) || { kind: "cable", id, ways: [] };
    cable.ways.push({ ...link, incident: accused.get(`port ${near}`) || null });
    cables.set(id, cable);
  }
  for (const cable of cables.values()) {
    cable.ways.sort((a, b) => (portName(a.src) < portName(b.src) ? -1 : 1));
    const [a, b] = cable.id.split("-").map((port) => port.split(":")[0]);
    Object.assign(cable, { a, b, incident: cable.ways.map((way) => way.incident).find(Boolean) || null });
  }
  return [...cables.values()];
}

/** What a direction's colour says. */
export function stress(way) {
  if (way.utilisation_pct === null || way.utilisation_pct === undefined) return "unknown";
  const steps = [["hot", 90], ["high", 70], ["mid", 40], ["low", 5]];
  return (steps.find(([, from]) => way.utilisation_pct >= from) || ["idle"])[0];
}

export const isLossy = (way) => way.loss_pct >= 0.5;
