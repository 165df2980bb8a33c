// Numbers and times in words. Digits are tabular in the style sheet; here they only get their units.

const NONE = "–";
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const isNone = (value) => value === null || value === undefined;

/** `1,234`, or `0.42` below ten; a dash for what nobody measured. */
export function number(value, digits = 1) {
  if (isNone(value)) return NONE;
  const places = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : digits;
  return value.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: places });
}

export const percent = (share, digits = 0) => (isNone(share) ? NONE : `${(100 * share).toFixed(digits)} %`);
export const pct = (value) => (isNone(value) ? NONE : `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)} %`);
export const ms = (value) => (isNone(value) ? NONE : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

/** Bit/s with a prefix. */
export function bps(value) {
  if (isNone(value)) return NONE;
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1000 ** power;
  return `${scaled < 10 && power ? scaled.toFixed(1) : Math.round(scaled)} ${units[power]}`;
}

export const time = (text) => (text ? clock.format(new Date(text)) : NONE);
export const minutes = (date) => minute.format(date);

/** `14:03:20`, with the day when it is not today. */
export function moment(text) {
  if (!text) return NONE;
  const date = new Date(text);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${minute.format(date)}`;
}

/** Seconds as `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 && whole < 600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 60)} min`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export const since = (text, now = Date.now()) => duration((now - Date.parse(text)) / 1000);
export const until = (text, now = Date.now()) => duration((Date.parse(text) - now) / 1000);

/** A dpid without its leading zeros: what stays is what an operator types. */
export const shortDpid = (dpid) => dpid.replace(/^0+(?=.)/, "");

/** Every dpid in a text, shortened. */
export const shortDpids = (text) => String(text ?? "").replace(/\b[0-9a-f]{16}\b/g, shortDpid);

/** What an incident is about, as `link 3:4 → 12:3`. */
export function subjectName({ type, id }) {
  const kind = { vip: "VIP", policy: "rule" }[type] || type;
  return `${kind} ${type === "link" ? shortDpids(id).replace("-", " → ") : shortDpids(id)}`;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
