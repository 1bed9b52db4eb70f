// Requests to others: fetch, which also becomes a global.
export { fetch } from "./src/fetch.js";
