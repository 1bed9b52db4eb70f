// The body of a request or an answer, whose pieces come one after the other.
import { decode } from "./text.js";

/** What has a body: a class that extends this one gives its pieces, as an async iterator. */
export class Body {
  async bytes() {
    const parts = [];
    for await (const part of this) parts.push(part);
    const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    return all;
  }

  async text() {
    return decode(await this.bytes());
  }

  async json() {
    return JSON.parse(await this.text());
  }
}
