// The seven causes of a reset, in the order they are stacked, and what each means in a few words (docs/causes.md).

export const CAUSES = ["overload", "misconfiguration", "congestion", "policy", "protocol-violation", "hostile", "benign"];
export const NO_INCIDENT = "none";
export const STACK = [NO_INCIDENT, "benign", "policy", "congestion", "overload", "misconfiguration", "protocol-violation", "hostile"];

const WORDS = {
  overload: "more is asked of the member than it can serve",
  misconfiguration: "a closed port or a wrong service",
  congestion: "a link is full or loses packets",
  policy: "a firewall or security policy resets",
  "protocol-violation": "a client breaks the protocol",
  hostile: "scan, injection or flood",
  benign: "nobody's fault: aborted browsers, health checks",
  [NO_INCIDENT]: "resets that belong to no incident",
};

export const meaning = (cause) => WORDS[cause] || "";
export const causeName = (cause) => (cause === NO_INCIDENT ? "no incident" : cause.replace("-", " "));
/** A class of the style sheet; a cause this page does not know is drawn as none. */
export const causeClass = (cause) => `cause-${Object.hasOwn(WORDS, cause) ? cause : NO_INCIDENT}`;
