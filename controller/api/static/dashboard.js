"use strict";

const REFRESH_MS = 2000;
const SHOWN_RESETS = 20;
const MARKS = {
  up: "good", ok: "good", active: "good", degraded: "warn", draining: "warn", unknown: "warn", down: "bad", disabled: "bad",
};
const NO_SWITCH =
  "No switch is connected. With Open vSwitch:\novs-vsctl set bridge br0 protocols=OpenFlow13\n" +
  "ovs-vsctl set-controller br0 tcp:127.0.0.1:6653";

const byId = (id) => document.getElementById(id);
const unknown = (value) => (value === null || value === undefined ? "–" : value);

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, method = "GET", body = undefined) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const content = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, content.detail);
  return content;
}

// Values come from the network: they are set as text, never as markup.
function fill(id, rows, columns, none) {
  const table = byId(id);
  table.replaceChildren();
  if (!rows.length) {
    const caption = table.createCaption();
    caption.textContent = none;
    caption.className = "none";
    return;
  }
  const head = table.createTHead().insertRow();
  for (const [name] of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const content = table.createTBody();
  for (const row of rows) {
    const line = content.insertRow();
    for (const [, value] of columns) {
      const cell = line.insertCell();
      const text = String(unknown(value(row)));
      cell.textContent = text;
      if (Object.hasOwn(MARKS, text)) cell.className = MARKS[text];
    }
  }
}

const rates = (perKind) =>
  Object.entries(perKind).filter(([, rate]) => rate > 0).map(([kind, rate]) => `${kind} ${rate.toPrecision(2)}`).join(", ") || "0";

const VIPS = [
  ["VIP", (vip) => vip.name], ["address", (vip) => `${vip.address}:${vip.port}`], ["pool", (vip) => vip.pool],
];
const MEMBERS = [
  ["member", (member) => `${member.pool}/${member.name}`], ["address", (member) => `${member.address}:${member.port}`],
  ["health", (member) => member.health], ["state", (member) => member.admin_state],
  ["weight", (member) => `${member.effective_weight} of ${member.weight}`],
  ["ejected until", (member) => member.ejected_until], ["active", (member) => member.connections_active],
  ["connections/s", (member) => member.connections_per_s], ["resets/s", (member) => rates(member.resets_per_s)],
  ["handshake ms", (member) => member.handshake_ms], ["load", (member) => member.load],
];
const INCIDENTS = [
  ["incident", (incident) => incident.id], ["subject", (incident) => `${incident.subject.type} ${incident.subject.id}`],
  ["cause", (incident) => incident.cause], ["confidence", (incident) => `${Math.round(incident.confidence * 100)} %`],
  ["resets", (incident) => incident.resets], ["opened", (incident) => incident.opened],
  ["actions", (incident) => incident.actions.map((action) => action.action).join(", ")],
];
const RESETS = [
  ["time", (reset) => reset.time], ["VIP", (reset) => reset.vip], ["client", (reset) => reset.client],
  ["member", (reset) => reset.member], ["sender", (reset) => reset.sender], ["stage", (reset) => reset.stage],
  ["kind", (reset) => reset.kind], ["entered at", (reset) => reset.entry_port],
];

async function refresh() {
  const [health, automation, vips, pools, incidents, resets] = await Promise.all([
    ask("/v1/health"), ask("/v1/automation"), ask("/v1/vips?limit=1000"), ask("/v1/pools?limit=1000"),
    ask("/v1/incidents?state=open"), ask(`/v1/resets?limit=${SHOWN_RESETS}`),
  ]);
  byId("health").textContent = `${health.status}: ${health.switches} switches, version ${health.version}`;
  byId("health").className = MARKS[health.status];
  showAutomation(automation);
  const members = pools.items.flatMap((pool) => pool.members.map((member) => ({ pool: pool.name, ...member })));
  fill("vips", vips.items, VIPS, "The policy has no VIP yet.");
  fill("members", members, MEMBERS, "The policy has no member yet.");
  fill("incidents", incidents.items, INCIDENTS, "None.");
  fill("resets", resets.items, RESETS, "None seen.");
  byId("updated").textContent = `updated ${new Date().toLocaleTimeString()}`;
  trouble(health.switches === 0 ? NO_SWITCH : health.reason);
}

let modeBeforeFreeze = "enforce";

function showAutomation(automation) {
  const frozen = automation.mode === "frozen";
  if (!frozen) modeBeforeFreeze = automation.mode;
  byId("automation").textContent = `automation: ${automation.mode}, on ${automation.enforce_percent} % of incidents`;
  const button = byId("freeze");
  button.hidden = false;
  button.textContent = frozen ? `Resume automation (${modeBeforeFreeze})` : "Freeze automation";
  button.dataset.mode = frozen ? modeBeforeFreeze : "frozen";
}

function trouble(text) {
  byId("trouble").textContent = text || "";
  byId("trouble").hidden = !text;
}

function explain(error) {
  if (!(error instanceof Refused)) {
    // What stands on the page is old now, and says so.
    byId("health").textContent = "the controller does not answer";
    byId("health").className = "bad";
    trouble("The controller does not answer; what is shown below is as it was. Flows stay on the switches.");
    return;
  }
  byId("access").hidden = error.status !== 401;
  trouble(error.message);
}

async function refreshForever() {
  try {
    await refresh();
    byId("access").hidden = true;
  } catch (error) {
    explain(error);
  }
  setTimeout(refreshForever, REFRESH_MS);
}

byId("freeze").addEventListener("click", async (event) => {
  try {
    showAutomation(await ask("/v1/automation", "PUT", { mode: event.target.dataset.mode }));
  } catch (error) {
    explain(error);
  }
});
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  byId("token").value = "";
  byId("access").hidden = true;
});
refreshForever();
