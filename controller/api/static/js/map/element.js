// What is known of the element of the map that was chosen.

import { bps, isNone, ms, number, pct, plural, since } from "../format.js";
import { html, nothing } from "../lit.js";
import { cause, kinds, mark, status } from "../parts.js";
import { address, change } from "../state.js";

export function element(chosen, model) {
  const { title, rows } = FACES[chosen.kind](chosen, model);
  return html`
    <div class="inspector" id="inspector" role="region" aria-label=${title}>
      <header><h3>${title}</h3>
        ${chosen.incident ? html`<a class="accused" href=${address("incidents", chosen.incident.id)}>${cause(chosen.incident.cause)} incident ${chosen.incident.id}</a>` : nothing}
        <button type="button" class="icon" aria-label="Close" @click=${() => change((now) => { now.selected = null; })}>×</button></header>
      <dl>${rows.filter(([, value]) => value !== null).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    </div>`;
}

const FACES = {
  switch: ({ label, found }, model) => ({
    title: `Switch ${label}`,
    rows: [
      ["dpid", found.dpid],
      ["state", found.connected === false ? status("disconnected", "bad") : status(found.reconciled === false ? "connected, being brought up to date" : "connected, in order", found.reconciled === false ? "warn" : "good")],
      ["flow entries", number(found.flows)],
      ["ports up", found.ports ? `${found.ports.filter((port) => port.up).length} of ${found.ports.length}` : null],
      ["stations", number(model.stations.filter((station) => station.dpid === found.dpid).length)],
    ],
  }),
  crowd: ({ clients, dpid }) => ({
    title: plural(clients.length, "host"),
    rows: [["switch", dpid], ["addresses", clients.map((client) => client.host.address).join(", ")]],
  }),
  station: ({ host, addresses, serving, quarantined }) => ({
    title: serving.length ? serving.map((member) => `${member.pool}/${member.name}`).join(", ") : `Host ${host.address}`,
    rows: [
      [addresses.length > 1 ? "addresses" : "address", addresses.join(", ")], ["MAC", host.mac], ["attached at", `${host.dpid}:${host.port_no}`],
      ["quarantine", quarantined ? html`<a href=${address("protection")}>in quarantine</a>` : null],
      ...serving.flatMap(memberRows),
    ],
  }),
  cable: ({ ways }) => ({
    title: "Link",
    rows: ways.flatMap(wayRows),
  }),
};

const memberRows = (member) => [
  ["health", status(member.health)],
  ["admin state", member.admin_state],
  ["weight", `${member.effective_weight} of ${member.weight}`],
  ["out until", member.ejected_until],
  ["connections", `${number(member.connections_active)} active, ${number(member.connections_per_s)} new/s`],
  ["resets/s", kinds(member.resets_per_s) || "0"],
  ["handshake", ms(member.handshake_ms)],
  ["load by its agent", isNone(member.load) ? null : pct(100 * member.load)],
];

const wayRows = (way) => [
  ["from", html`<b>${way.src.dpid}:${way.src.port_no}</b> to ${way.dst.dpid}:${way.dst.port_no}`],
  ["in use", `${pct(way.utilisation_pct)} of ${bps(way.capacity_bps)}${isNone(way.throughput_bps) ? "" : ` (${bps(way.throughput_bps)})`}`],
  ["lost", pct(way.loss_pct)],
  ["silent", way.silent ? html`${mark("bad")} nothing crosses it: traffic goes another way` : null],
  ["delay", ms(way.delay_ms)],
  ["queue drops", isNone(way.queue_drops) ? "–" : `${number(way.queue_drops)}${way.queue_drops_per_s ? ` (${number(way.queue_drops_per_s)}/s)` : ""}`],
  ["congested", way.congested ? html`${mark("bad")} for ${since(way.congested_since)}: ${way.congested_by.join(", ")}` : null],
];
