// The overview: what is guilty, where, since when and what was done about it, in one look.

import { number, plural, shortDpids, since, subjectName, time } from "../format.js";
import { html, nothing, repeat } from "../lit.js";
import { map } from "../map/view.js";
import { card, cause, empty, eventText, mark, totalRate } from "../parts.js";
import { address, state } from "../state.js";
import { timeline } from "../timeline.js";
import { poolSummary } from "./pools.js";

const LATEST = 8;

export function overview() {
  const { data } = state;
  return html`
    <h1 class="sr">Overview</h1>
    ${figures(data)}
    <div class="columns">
      <div class="wide-column">${data.health.switches ? nothing : noSwitch(data.topology.switches.length)}${data.topology.switches.length ? map() : nothing}${timeline()}</div>
      <div class="side-column">${openIncidents(data.open)}${data.pools.length ? data.pools.map(poolSummary) : noPool()}${latest()}</div>
    </div>`;
}

function figures({ health, pools, open, quarantine }) {
  const members = pools.flatMap((pool) => pool.members);
  const taking = members.filter((member) => member.effective_weight > 0).length;
  const resets = members.reduce((sum, member) => sum + totalRate(member.resets_per_s), 0);
  const connections = members.reduce((sum, member) => sum + member.connections_per_s, 0);
  return html`<dl class="figures">
    ${figure("Switches", number(health.switches), health.switches ? "good" : "bad", health.switches ? "connected" : "none connected")}
    ${figure("Members", html`${taking}<small> of ${members.length}</small>`, members.length === 0 ? "none" : taking === members.length ? "good" : taking ? "warn" : "bad", "take connections")}
    ${figure("Open incidents", number(open.length), open.length ? "bad" : "good", open.length ? `longest for ${since(open.map((incident) => incident.opened).sort()[0])}` : "nothing unusual")}
    ${figure("Resets", html`${number(resets)}<small>/s</small>`, "", "of VIPs' connections")}
    ${figure("New connections", html`${number(connections)}<small>/s</small>`, "", plural(quarantine.length, "client in quarantine", "clients in quarantine"))}
  </dl>`;
}

const figure = (name, value, kind, text) => html`
  <div><dt>${name}</dt><dd class="value">${value}</dd><dd class="about">${kind ? mark(kind) : nothing}${text}</dd></div>`;

const openIncidents = (open) => card("Open incidents", open.length
  ? html`<ul class="stack">${open.slice(0, 6).map((incident) => html`<li>${brief(incident)}</li>`)}</ul>
      ${open.length > 6 ? html`<p class="hint"><a href=${address("incidents")}>and ${open.length - 6} more</a></p>` : nothing}`
  : empty("Nothing is wrong.", "Resets are within what is normal for each member, client and link."), { id: "open", kind: "urgent" });

function brief(incident) {
  const done = incident.actions.at(-1);
  return html`<a class="brief" href=${address("incidents", incident.id)}>
    <span class="line">${cause(incident.cause)}<span class="quiet">${Math.round(100 * incident.confidence)} %</span><span class="quiet end">${since(incident.opened)}</span></span>
    <b>${subjectName(incident.subject)}</b>
    <span class="quiet">${plural(incident.resets, "reset")}${done ? ` · ${done.action}: ${shortDpids(done.result)}` : " · nothing done yet"}</span></a>`;
}

const latest = () => (state.events.length ? card("Latest events", html`<ol class="brief-log">${repeat(state.events.slice(0, LATEST), (event) => event.id, (event) => html`
  <li><time>${event.document.time ? time(event.document.time) : ""}</time><span>${eventText(event)}</span></li>`)}</ol>`,
{ aside: html`<a href=${address("activity")}>all</a>`, id: "latest" }) : nothing);

const command = (text) => html`<pre tabindex="0"><code>${text}</code></pre>`;

/** `known`: how many are remembered of before. */
function noSwitch(known) {
  const host = location.hostname === "localhost" ? "127.0.0.1" : location.hostname;
  const before = known ? "The map is as it was last known: switches that cannot reach the controller go on forwarding. " : "";
  return card("Switches", empty(known ? "No switch is connected." : "No switch is connected yet.", html`${before}The controller waits for OpenFlow 1.3 on port 6653, by default on its loopback only. On a machine with Open vSwitch 3.1 or later:`,
    html`${command(`ovs-vsctl set bridge br0 protocols=OpenFlow13 fail_mode=secure
ovs-vsctl set-controller br0 tcp:${host}:6653`)}
    <p>The bridge's flow entries are replaced by ResetLB's. Is something in the way, <code>resetlb status</code> and the controller's log say what.</p>`), { id: "switches", kind: "urgent" });
}

const noPool = () => card("Pools", empty("The policy has no pool yet.", "A pool has the servers, a VIP the address clients use:", html`${command(`version: 1
pools:
  web:
    members:
      - {name: web-1, address: 10.0.0.11, port: 8080}
vips:
  web: {address: 10.0.0.100, port: 80, pool: web}`)}<p><code>resetlb policy apply FILE</code> brings it into force.</p>`), { id: "pools" });
