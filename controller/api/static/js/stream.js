// Server-sent events by fetch: EventSource cannot send a token.

import { authorization, refusal } from "./api.js";

/** The server says something at least every 15 s; a stream that is silent for longer is dead, whatever TCP believes. */
const SILENT_MS = 40_000;

/**
 * Reads /v1/events until it ends. `heard` is called for each event ({id, kind, document}), `opened` when headers came.
 * Throws Refused when it is refused; returns when it was closed, by either side.
 */
export async function follow(lastEventId, signal, { opened, heard }) {
  const silence = new AbortController();
  const headers = { Accept: "text/event-stream", ...authorization() };
  if (lastEventId !== null) headers["Last-Event-ID"] = lastEventId;
  let timer = setTimeout(() => silence.abort(), SILENT_MS);
  try {
    const answer = await fetch("/v1/events", { headers, signal: AbortSignal.any([signal, silence.signal]) });
    if (!answer.ok) throw await refusal(answer);
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_MS);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.map(parse).filter((event) => event !== null).forEach(heard);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** One block of text/event-stream (HTML Living Standard §9.2.6) as this server writes it; null for comments. */
export function parse(block) {
  const event = { id: null, kind: "message", document: null };
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    const [field, value] = [line.slice(0, at), line.slice(at + 2)];
    if (field === "id") event.id = value;
    if (field === "event") event.kind = value;
    if (field === "data") event.document = JSON.parse(value);
  }
  return event.document === null ? null : event;
}
