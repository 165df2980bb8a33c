// Pools: who gets which share of new connections, and how its connections fare.

import { setAdminState } from "../actions.js";
import { isNone, ms, number, pct, until } from "../format.js";
import { html, live, nothing, repeat, svg } from "../lit.js";
import { bar, card, empty, kinds, status, totalRate } from "../parts.js";
import { address, state } from "../state.js";

const { d3 } = globalThis;
const STATES = ["active", "draining", "disabled"];
const SPARK = { width: 84, height: 22 };

export function pools() {
  const found = state.data.pools;
  return html`<h1 class="sr">Pools</h1>
    ${found.length ? repeat(found, (pool) => pool.name, poolCard)
      : card("Pools", empty("The policy has no pool yet.", html`<code>resetlb policy apply FILE</code> brings one into force; the overview shows an example.`), { id: "pools" })}`;
}

/** Longest weight of a pool: what its bars are measured against. */
const whole = (pool) => Math.max(1, ...pool.members.map((member) => Math.max(member.weight, member.effective_weight)));

const vipsOf = (pool) => (state.data.vips || []).filter((vip) => vip.pool === pool.name);
const vipText = (pool) => vipsOf(pool).map((vip) => `${vip.name} ${vip.address}:${vip.port}`).join(", ");

/** In the overview: weights only. */
export const poolSummary = (pool) => card(html`Pool <a href=${address("pools")}>${pool.name}</a>`, pool.members.length
  ? html`<ul class="weights">${repeat(pool.members, (member) => member.name, (member) => html`
      <li>${status(member.name, tone(member))}${weightBar(member, pool)}<span class="num">${member.effective_weight}</span>
        <span class="num quiet">${number(totalRate(member.resets_per_s))} resets/s</span></li>`)}</ul>`
  : empty("No member yet."), { aside: html`<span class="quiet">${vipText(pool) || "no VIP"}</span>`, id: `pool-${pool.name}` });

/** A member's mark: what it is to new connections. */
function tone(member) {
  if (member.health === "down" || member.ejected_until) return "bad";
  if (member.admin_state !== "active" || member.health === "degraded" || member.effective_weight < member.weight) return "warn";
  return member.health === "up" ? "good" : "none";
}

const weightBar = (member, pool) => bar(member.effective_weight, whole(pool), {
  label: `weight ${member.effective_weight} of ${member.weight}`, tone: tone(member) === "none" ? "accent" : tone(member), ghost: member.weight,
});

function poolCard(pool) {
  return card(pool.name, pool.members.length ? html`
    <div class="scroll"><table class="rows members">
      <thead><tr><th scope="col">Member</th><th scope="col">Health</th><th scope="col" class="weight">Weight</th><th scope="col"><span title="Effective weight over the last minutes">History</span></th>
        <th scope="col" class="num">New/s</th><th scope="col" class="num">Active</th><th scope="col" class="num">Resets/s</th><th scope="col" class="num">Handshake</th><th scope="col" class="num">Load</th><th scope="col">State</th></tr></thead>
      <tbody>${repeat(pool.members, (member) => member.name, (member) => row(member, pool))}</tbody>
    </table></div>` : empty("No member yet.", "A pool without members answers no connection."),
  { aside: html`<span class="quiet">${vipText(pool) || "no VIP"}</span><span class="quiet wide">at most ${pool.max_ejection_percent} % out${pool.redispatch ? " · redispatch" : ""}${pool.health_check ? ` · ${pool.health_check.type} check` : " · no check"}</span>`, id: `pool-${pool.name}` });
}

function row(member, pool) {
  const id = `${pool.name}/${member.name}`;
  return html`<tr data-member=${id} class=${state.data.open.some((incident) => incident.subject.type === "member" && incident.subject.id === id) ? "guilty" : ""}>
    <th scope="row">${member.name}<small>${member.address}:${member.port}</small></th>
    <td data-label="Health">${status(member.health)}${member.ejected_until ? html`<small>out for ${until(member.ejected_until)}</small>` : nothing}</td>
    <td data-label="Weight" class="weight"><div class="with-bar">${weightBar(member, pool)}<span class="num">${member.effective_weight}<small> of ${member.weight}</small></span></div></td>
    <td data-label="History" class="spark-cell">${spark(state.history.get(id) || [], whole(pool))}</td>
    <td data-label="New/s" class="num">${number(member.connections_per_s)}</td>
    <td data-label="Active" class="num">${number(member.connections_active)}</td>
    <td data-label="Resets/s" class="num">${number(totalRate(member.resets_per_s))}${totalRate(member.resets_per_s) ? html`<small>${kinds(member.resets_per_s)}</small>` : nothing}</td>
    <td data-label="Handshake" class="num">${ms(member.handshake_ms)}</td>
    <td data-label="Load" class="num">${isNone(member.load) ? "–" : pct(100 * member.load)}</td>
    <td data-label="State"><select aria-label="State of ${id}" .value=${live(member.admin_state)} ?disabled=${state.busy.has(`member ${id}`)}
      @change=${(event) => setAdminState(pool.name, member.name, event.target.value)}>
      ${STATES.map((name) => html`<option value=${name} ?selected=${name === member.admin_state}>${name}</option>`)}</select></td>
  </tr>`;
}

/** Effective weight over the last answers, as steps: it moves in steps. */
function spark(points, most) {
  if (points.length < 2) return nothing;
  const x = d3.scaleLinear([points[0].at, points.at(-1).at], [1, SPARK.width - 1]);
  const y = d3.scaleLinear([0, most], [SPARK.height - 2, 2]);
  const line = d3.line((point) => x(point.at), (point) => y(point.weight)).curve(d3.curveStepAfter);
  return html`<svg class="spark" width=${SPARK.width} height=${SPARK.height} aria-hidden="true">${svg`<path d=${line(points)}></path>`}</svg>`;
}
