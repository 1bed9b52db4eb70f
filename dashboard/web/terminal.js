// A terminal in a container: exec over a WebSocket, and as much of a VT100 as shells and small tools use.

import { may, path, socket } from "./api.js";
import { h } from "./dom.js";
import { redraw } from "./state.js";

/** The protocol of KEP-4006: the first byte of a message is its channel. */
const PROTOCOL = "v5.channel.k8s.io";
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 };
const LINES_MAX = 2000;

/** A screen that understands a stream of characters. Pure but for what it shows in. */
export class Screen {
  constructor(columns = 80, rows = 24) {
    this.columns = columns;
    this.rows = rows;
    this.lines = [[]];
    this.x = 0;
    this.y = 0;
    this.style = "";
    this.rest = "";
  }

  /** The index of the topmost line on the screen; those above have scrolled out. */
  get top() {
    return Math.max(0, this.lines.length - this.rows);
  }

  /** Takes what a program wrote. */
  write(text) {
    let input = this.rest + text;
    this.rest = "";
    for (let at = 0; at < input.length;) {
      const letter = input[at];
      if (letter === "\x1b") {
        const found = /^\x1b(?:\[([?>=]?)([0-9;]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78MDEc])/.exec(input.slice(at, at + 256));
        if (!found) {
          if (input.length - at < 256) {
            this.rest = input.slice(at);
            return;
          }
          at++;
          continue;
        }
        if (found[3] && !found[1]) this.control(found[3], found[2].split(";").map((each) => parseInt(each, 10) || 0));
        at += found[0].length;
        continue;
      }
      const code = letter.codePointAt(0);
      if (letter === "\n") this.newline();
      else if (letter === "\r") this.x = 0;
      else if (letter === "\b") this.x = Math.max(0, this.x - 1);
      else if (letter === "\t") this.x = Math.min(this.columns - 1, (Math.floor(this.x / 8) + 1) * 8);
      else if (code >= 32 && code !== 127) {
        const whole = String.fromCodePoint(input.codePointAt(at));
        this.put(whole);
        at += whole.length - 1;
      }
      at++;
    }
  }

  put(letter) {
    if (this.x >= this.columns) {
      this.x = 0;
      this.newline();
    }
    const line = this.lines[this.y];
    while (line.length < this.x) line.push([" ", ""]);
    line[this.x++] = [letter, this.style];
  }

  newline() {
    this.y++;
    if (this.y >= this.lines.length) this.lines.push([]);
    while (this.lines.length > LINES_MAX) {
      this.lines.shift();
      this.y--;
    }
  }

  control(name, numbers) {
    const [first = 0] = numbers;
    const by = Math.max(1, first);
    const line = this.lines[this.y];
    const moveTo = (y) => {
      this.y = Math.max(this.top, Math.min(this.top + this.rows - 1, y));
      while (this.lines.length <= this.y) this.lines.push([]);
    };
    if (name === "A") moveTo(this.y - by);
    else if (name === "B") moveTo(this.y + by);
    else if (name === "C") this.x = Math.min(this.columns - 1, this.x + by);
    else if (name === "D") this.x = Math.max(0, this.x - by);
    else if (name === "G") this.x = by - 1;
    else if (name === "d") moveTo(this.top + by - 1);
    else if (name === "H" || name === "f") {
      const top = this.top;
      moveTo(top + by - 1);
      this.x = Math.max(1, numbers[1] ?? 1) - 1;
    } else if (name === "J") {
      if (first === 0) {
        line.length = Math.min(line.length, this.x);
        this.lines.length = this.y + 1;
      } else {
        const top = this.top;
        for (let at = top; at < this.lines.length; at++) this.lines[at] = [];
        if (first === 3) this.lines.splice(0, top);
        this.y = Math.min(this.y, this.lines.length - 1);
      }
    } else if (name === "K") {
      if (first === 0) line.length = Math.min(line.length, this.x);
      else for (let at = 0; at < (first === 1 ? this.x + 1 : line.length); at++) line[at] = [" ", ""];
    } else if (name === "P") line.splice(this.x, by);
    else if (name === "@") line.splice(this.x, 0, ...Array.from({ length: by }, () => [" ", ""]));
    else if (name === "m") this.paint(numbers);
  }

  paint(numbers) {
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at];
      if (number === 0) this.style = "";
      else if (number === 1) this.style = `${this.style.replace(/ ?bold/, "")} bold`.trim();
      else if (number === 39) this.style = this.style.replace(/ ?f\d+/, "").trim();
      else if ((number >= 30 && number <= 37) || (number >= 90 && number <= 97)) this.style = `${this.style.replace(/ ?f\d+/, "")} f${number % 10}`.trim();
      else if (number === 38 || number === 48) at += numbers[at + 1] === 5 ? 2 : 4;
    }
  }

  /** The text, for tests and for copying. */
  text() {
    return this.lines.map((line) => line.map(([letter]) => letter).join("").trimEnd()).join("\n");
  }
}

const KEYS = { Enter: "\r", Backspace: "\x7f", Escape: "\x1b", ArrowUp: "\x1b[A", ArrowDown: "\x1b[B", ArrowRight: "\x1b[C", ArrowLeft: "\x1b[D", Home: "\x1b[H", End: "\x1b[F", Delete: "\x1b[3~", PageUp: "\x1b[5~", PageDown: "\x1b[6~" };

/** A terminal in a pod. `view(containers)` describes it. */
export function terminal({ namespace, name, containers }) {
  const ui = { container: containers[0] ?? "", command: "sh", state: "closed", why: "" };
  const element = document.createElement("div");
  element.className = "terminal";
  element.tabIndex = 0;
  element.setAttribute("role", "application");
  element.setAttribute("aria-label", "Terminal. Control and Shift and Escape together leave it.");
  const pre = document.createElement("pre");
  const heard = document.createElement("div");
  heard.className = "hidden";
  heard.setAttribute("role", "log");
  element.append(pre, heard);
  let screen = new Screen();
  let open = null;
  let waiting = false;
  let decoder = new TextDecoder();

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const lines = screen.lines.map((line, y) => {
        const node = document.createElement("div");
        let span = null;
        const cells = y === screen.y && open ? withCursor(line, screen.x) : line;
        for (const [letter, style, cursor] of cells) {
          const kind = cursor ? `${style} cursor`.trim() : style;
          if (!span || span.className !== kind) {
            span = document.createElement("span");
            span.className = kind;
            node.append(span);
          }
          span.textContent += letter;
        }
        if (!node.firstChild) node.textContent = "\u200b";
        return node;
      });
      pre.replaceChildren(...lines);
      element.scrollTop = element.scrollHeight;
    });
  }

  function say(channel, payload) {
    if (open?.readyState !== WebSocket.OPEN) return;
    const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
    const message = new Uint8Array(bytes.length + 1);
    message[0] = channel;
    message.set(bytes, 1);
    open.send(message);
  }

  function measure() {
    const probe = document.createElement("span");
    probe.textContent = "0".repeat(50);
    pre.append(probe);
    const letter = probe.getBoundingClientRect().width / 50 || 8;
    probe.remove();
    screen.columns = Math.max(20, Math.floor((element.clientWidth - 24) / letter));
    screen.rows = Math.max(5, Math.floor((element.clientHeight - 20) / 20));
    say(CHANNEL.resize, JSON.stringify({ Width: screen.columns, Height: screen.rows }));
  }
  new ResizeObserver(() => open && measure()).observe(element);

  function connect() {
    close();
    screen = new Screen();
    decoder = new TextDecoder();
    Object.assign(ui, { state: "opening", why: "" });
    const query = new URLSearchParams({ container: ui.container, stdin: "true", stdout: "true", stderr: "false", tty: "true" });
    for (const word of ui.command.split(/\s+/).filter(Boolean)) query.append("command", word);
    const mine = socket(`${path("v1", "pods", namespace, name, "exec")}?${query}`, PROTOCOL);
    open = mine;
    mine.onopen = () => {
      ui.state = "open";
      measure();
      element.focus();
      draw();
      redraw();
    };
    mine.onmessage = ({ data }) => {
      const bytes = new Uint8Array(data);
      if (bytes[0] === CHANNEL.error) {
        const status = JSON.parse(new TextDecoder().decode(bytes.slice(1)) || "{}");
        ui.why = status.status === "Success" ? "The command ended." : status.message ?? "The command failed.";
      } else if (bytes[0] === CHANNEL.stdout || bytes[0] === CHANNEL.stderr) {
        const text = decoder.decode(bytes.slice(1), { stream: true });
        screen.write(text);
        heard.textContent = text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
        draw();
      }
    };
    mine.onclose = () => {
      if (open !== mine) return;
      ui.why ||= ui.state === "opening" ? "The connection was refused: is the container running, and may you create pods/exec?" : "The connection was closed.";
      ui.state = "closed";
      open = null;
      draw();
      redraw();
    };
    redraw();
  }

  function close() {
    const mine = open;
    open = null;
    mine?.close();
  }

  element.addEventListener("keydown", (event) => {
    if (!open) return;
    if (event.key === "Escape" && event.ctrlKey && event.shiftKey) {
      document.getElementById("title")?.focus();
      event.preventDefault();
      return;
    }
    let text = KEYS[event.key] ?? "";
    if (event.key === "Tab" && !event.shiftKey) text = "\t";
    if (event.ctrlKey && !event.shiftKey && /^[a-z[\]\\]$/i.test(event.key)) text = String.fromCharCode(event.key.toUpperCase().charCodeAt(0) - 64);
    else if (!event.ctrlKey && !event.metaKey && [...event.key].length === 1) text = event.key;
    if (event.ctrlKey && event.key === "c" && String(getSelection())) return;
    if (!text) return;
    event.preventDefault();
    say(CHANNEL.stdin, text);
  });
  element.addEventListener("paste", (event) => {
    event.preventDefault();
    say(CHANNEL.stdin, event.clipboardData.getData("text").replaceAll("\r\n", "\r").replaceAll("\n", "\r"));
  });

  function view(now) {
    if (!now.includes(ui.container)) ui.container = now[0] ?? ui.container;
    const allowed = may("create", "", "pods", namespace, redraw, "exec");
    const set = (name) => (event) => {
      ui[name] = event.target.value;
      redraw();
    };
    return [
      h("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); connect(); } },
        h("label", null, "Container ", h("select", { value: ui.container, onchange: set("container") }, now.map((each) => h("option", { key: each, value: each }, each)))),
        h("label", null, "Command ", h("input", { type: "text", class: "mono", value: ui.command, oninput: set("command") })),
        h("button", { type: "submit", class: "primary", disabled: allowed !== true || now.length === 0, title: allowed === false ? "Your roles do not allow this" : undefined }, ui.state === "closed" ? "Connect" : "Connect anew"),
        ui.state === "open" && h("button", { type: "button", onclick: () => { close(); ui.state = "closed"; ui.why = "Disconnected."; draw(); redraw(); } }, "Disconnect"),
        h("span", { class: "count", role: "status" }, ui.state === "open" ? "connected" : ui.why || (now.length === 0 ? "no container is running" : ""))),
      allowed === false && h("p", { class: "denied", role: "note" }, `You may not run commands in pods of namespace ${namespace}: create pods/exec is not among your rights.`),
      element,
    ];
  }

  return { view, close };
}

function withCursor(line, x) {
  const cells = line.map(([letter, style]) => [letter, style, false]);
  while (cells.length <= x) cells.push([" ", "", false]);
  cells[x] = [cells[x][0], cells[x][1], true];
  return cells;
}
