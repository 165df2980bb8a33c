// The one place that knows where lit-html is. Its templates set text and attributes, never markup, from what they are given:
// names of hosts and policies are strangers' words.
export { html, nothing, render, svg } from "../vendor/lit-html/lit-html.js";
export { live } from "../vendor/lit-html/directives/live.js";
export { repeat } from "../vendor/lit-html/directives/repeat.js";
