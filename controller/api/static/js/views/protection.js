// Quarantine and firewall: who is kept away, by whom, and what the rules met.

import { quarantine, release } from "../actions.js";
import { number, until } from "../format.js";
import { html, nothing, repeat } from "../lit.js";
import { card, empty, status } from "../parts.js";
import { address, state } from "../state.js";

const ACTIONS = { drop: "drop", limit: "limit", isolate: "isolate" };
const TONES = { allow: "good", drop: "bad", reject: "bad", limit: "warn" };
/** Hits of each rule at the last answer but one, so that it shows which rules are being met now. */
const before = new Map();

export function protection() {
  const { quarantine: entries, rules, firewall } = state.data;
  return html`<h1 class="sr">Protection</h1><div class="columns even">
    <div>${card("Quarantine", html`${entries.length ? entriesTable(entries) : empty("Nobody is in quarantine.", "Automation puts hostile clients here, and they leave by themselves.")}${form()}`, { id: "quarantine" })}</div>
    <div>${card("Firewall", rules.length ? rulesTable(rules, firewall) : empty("The firewall has no rule.", html`What no rule matches: <b>${firewall?.default}</b>.`), {
      aside: rules.length ? html`<span class="quiet">otherwise ${status(firewall?.default ?? "", TONES[firewall?.default])}</span>` : nothing, id: "firewall" })}</div>
  </div>`;
}

// --- quarantine ---

const entriesTable = (entries) => html`
  <div class="scroll"><table class="rows" id="entries">
    <thead><tr><th scope="col">Client</th><th scope="col">Towards</th><th scope="col">Action</th><th scope="col">Ends in</th><th scope="col">Why</th><th scope="col"><span class="sr">Remove</span></th></tr></thead>
    <tbody>${repeat(entries, (entry) => entry.id, (entry) => html`<tr data-client=${entry.client}>
      <th scope="row">${entry.client}</th>
      <td data-label="Towards">${towards(entry)}</td>
      <td data-label="Action">${entry.action}</td>
      <td data-label="Ends in" class="nowrap">${entry.until ? until(entry.until) : `${number(entry.ttl_s)} s`}</td>
      <td data-label="Why">${entry.reason || "–"}${entry.incident ? html` <a href=${address("incidents", entry.incident)}>${entry.incident}</a>` : nothing}</td>
      <td class="end"><button type="button" class="small" ?disabled=${state.busy.has(`release ${entry.id}`)} @click=${() => release(entry)} aria-label="Remove ${entry.client} from quarantine">Remove</button></td>
    </tr>`)}</tbody></table></div>`;

const towards = ({ vip, dst, protocol, dst_port }) => vip ?? ([dst, protocol, dst_port].filter(Boolean).join(" ") || "everything");

const form = () => html`
  <form class="fields" id="add" @submit=${add}>
    <h3>Put a client away</h3>
    <label>Client <input name="client" required placeholder="10.0.1.7 or 10.0.1.0/24" autocomplete="off" spellcheck="false"></label>
    <label>Towards <select name="vip"><option value="">everything</option>${(state.data.vips || []).map((vip) => html`<option value=${vip.name}>VIP ${vip.name}</option>`)}</select></label>
    <label>Action <select name="action">${Object.entries(ACTIONS).map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select></label>
    <label>For <span class="unit"><input name="ttl_s" type="number" min="1" max="2592000" value="300" required> s</span></label>
    <label class="long">Why <input name="reason" maxlength="200" autocomplete="off"></label>
    <button class="primary" ?disabled=${state.busy.has("quarantine")}>Quarantine</button>
  </form>`;

async function add(event) {
  event.preventDefault();
  const sent = event.target;
  const { client, vip, action, ttl_s, reason } = Object.fromEntries(new FormData(sent));
  const entry = { client: client.trim(), action, ttl_s: Number(ttl_s), reason, ...(vip ? { vip } : {}) };
  if (await quarantine(entry)) sent.reset();
}

// --- firewall ---

const rulesTable = (rules) => html`
  <div class="scroll"><table class="rows" id="rules">
    <thead><tr><th scope="col" class="num">Priority</th><th scope="col">Rule</th><th scope="col">From, to</th><th scope="col">Action</th><th scope="col" class="num">Hits</th></tr></thead>
    <tbody>${repeat(rules, (rule) => rule.id, (rule) => html`<tr data-rule=${rule.id} class=${meets(rule) ? "met" : ""}>
      <td data-label="Priority" class="num">${rule.priority}</td>
      <th scope="row">${rule.id}${rule.comment ? html`<small>${rule.comment}</small>` : nothing}</th>
      <td data-label="From, to">${rule.src ?? "any"} → ${rule.dst ?? "any"}<small>${service(rule)}</small></td>
      <td data-label="Action">${status(rule.action, TONES[rule.action])}${rule.rate_pps ? html`<small>${number(rule.rate_pps)} packets/s</small>` : nothing}</td>
      <td data-label="Hits" class="num">${number(rule.hits)}</td>
    </tr>`)}</tbody></table></div>
  <p class="hint">In the order they are tried. Rules are part of the policy: <code>resetlb firewall</code>, <code>resetlb policy apply</code>.</p>`;

function service(rule) {
  const ports = rule.dst_ports.length ? ` ${rule.dst_ports.join(", ")}` : "";
  const when = rule.schedule ? ` · ${rule.schedule.days.join(" ") || "daily"} ${rule.schedule.start}–${rule.schedule.end} ${rule.schedule.timezone}` : "";
  return `${rule.protocol ?? "any protocol"}${ports}${when}`;
}

/** Whether a rule was met since the answer before this one. */
function meets(rule) {
  const known = before.get(rule.id) || { at: 0, hits: rule.hits, met: false };
  if (known.at !== state.at) before.set(rule.id, { at: state.at, hits: rule.hits, met: rule.hits > known.hits });
  return before.get(rule.id).met;
}
