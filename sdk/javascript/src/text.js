// UTF-8, which the engine leaves to its host.

/** Gives the bytes of a text. */
export function encode(text) {
  const bytes = unescape(encodeURIComponent(String(text).toWellFormed()));
  return Uint8Array.from(bytes, (letter) => letter.charCodeAt(0));
}

/** How many bytes follow the first one of a letter, and the bits of that byte which count. */
function shape(byte) {
  if (byte >= 0xc2 && byte < 0xe0) return [1, byte & 0x1f, 0x80];
  if (byte >= 0xe0 && byte < 0xf0) return [2, byte & 0x0f, 0x800];
  if (byte >= 0xf0 && byte < 0xf5) return [3, byte & 0x07, 0x10000];
  return undefined;
}

/** Gives the text of bytes; what is no UTF-8 becomes U+FFFD. */
export function decode(bytes) {
  const parts = [];
  let text = "";
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte < 0x80) text += String.fromCharCode(byte);
    else {
      const [more, first, least] = shape(byte) ?? [0, 0xfffd, 0];
      let [code, took] = [first, 0];
      while (took < more && (bytes[at + took + 1] & 0xc0) === 0x80) code = (code << 6) | (bytes[at + ++took] & 0x3f);
      const good = took === more && code >= least && code < 0x110000 && (code < 0xd800 || code > 0xdfff);
      text += String.fromCodePoint(good ? code : 0xfffd);
      at += took;
    }
    if (text.length > 4096) [text] = ["", parts.push(text)];
  }
  return parts.join("") + text;
}

globalThis.TextEncoder ??= class {
  encode(text = "") {
    return encode(text);
  }
};
globalThis.TextDecoder ??= class {
  decode(bytes = new Uint8Array()) {
    return decode(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes));
  }
};
