// A small virtual DOM: `h` describes, `patch` makes it so and keeps what is there already, so that focus,
// selection and scroll positions survive an update. Text is always text; there is no way to put markup in.

const SVG = "http://www.w3.org/2000/svg";

/** Describes an element. Children may be nested lists; null, undefined and false are nothing; DOM nodes stay as they are. */
export function h(tag, props, ...kids) {
  const own = props ?? {};
  return { tag, props: own, kids: flatten(kids, []), key: own.key };
}

function flatten(kids, into) {
  for (const kid of kids) {
    if (Array.isArray(kid)) flatten(kid, into);
    else if (kid === null || kid === undefined || kid === false || kid === true) continue;
    else into.push(typeof kid === "object" ? kid : String(kid));
  }
  return into;
}

/** Makes the children of an element what the descriptions say. */
export function patch(parent, kids) {
  const wanted = flatten([kids], []);
  const keyed = new Map();
  const loose = [];
  for (const node of parent.childNodes) {
    if (node.$key === undefined) loose.push(node);
    else keyed.set(node.$key, node);
  }
  let next = 0;
  const kept = new Set();
  const spare = parent.$recycle ? spareOf(keyed, wanted) : [];
  wanted.forEach((kid, index) => {
    let node = null;
    if (kid instanceof Node) {
      node = kid;
    } else if (typeof kid === "string") {
      while (next < loose.length && kept.has(loose[next])) next++;
      const old = loose[next];
      if (old && old.nodeType === 3) {
        node = old;
        next++;
        if (node.data !== kid) node.data = kid;
      } else {
        node = document.createTextNode(kid);
      }
    } else {
      let old;
      if (kid.key !== undefined) {
        old = keyed.get(kid.key);
        if (!old && spare.length > 0) {
          old = spare.pop();
          old.$key = kid.key;
        }
      } else {
        while (next < loose.length && kept.has(loose[next])) next++;
        old = loose[next];
        if (old) next++;
      }
      node = old && old.$v && old.$v.tag === kid.tag && !kept.has(old) ? old : create(kid, parent);
      update(node, kid);
    }
    kept.add(node);
    const at = parent.childNodes[index];
    if (at !== node) parent.insertBefore(node, at ?? null);
  });
  while (parent.childNodes.length > wanted.length) parent.removeChild(parent.lastChild);
}

/** Nodes that are not wanted any more and may become others: lists that scroll change their nodes instead of making new ones. */
function spareOf(keyed, wanted) {
  const keys = new Set(wanted.map((kid) => kid.key));
  return [...keyed].filter(([key, node]) => !keys.has(key) && !node.contains(document.activeElement)).map(([, node]) => node);
}

function create(kid, parent) {
  const svg = kid.tag === "svg" || (parent.namespaceURI === SVG && parent.tagName !== "foreignObject");
  const node = svg ? document.createElementNS(SVG, kid.tag) : document.createElement(kid.tag);
  node.$key = kid.key;
  node.$v = { tag: kid.tag, props: {}, kids: [] };
  return node;
}

function update(node, kid) {
  const before = node.$v.props;
  const props = kid.props;
  for (const name in before) if (!(name in props)) set(node, name, undefined, before[name]);
  for (const name in props) {
    if (props[name] !== before[name] || name === "value" || name === "checked") set(node, name, props[name], before[name]);
  }
  const first = Object.keys(before).length === 0 && !node.$made;
  node.$v = kid;
  patch(node, kid.kids);
  if (props.value !== undefined && node.tagName === "SELECT" && (node.selectedIndex < 0 || node.value !== props.value)) node.value = props.value;
  if (first) {
    node.$made = true;
    if (props.ref) props.ref(node);
  }
}

function set(node, name, value, old) {
  if (name === "key" || name === "ref") return;
  if (name.startsWith("on")) {
    node[name.toLowerCase()] = value ?? null;
  } else if (name === "style") {
    for (const each in old ?? {}) if (!value || !(each in value)) node.style.removeProperty(each);
    for (const each in value ?? {}) node.style.setProperty(each, value[each]);
  } else if (name === "value" || name === "checked") {
    const next = value ?? (name === "checked" ? false : "");
    if (node[name] !== next) node[name] = next;
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? "" : value);
  }
}

/** Runs a function in the next frame, once however often it was asked for. */
export function oncePerFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}
