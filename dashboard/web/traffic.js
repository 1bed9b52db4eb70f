// Requests to http containers, as the nodes count them: how many a second, and how many of them failed.

import { call, path, send } from "./api.js";
import { poll } from "./live.js";

const EVERY_MS = 5000;
/** Nodes that are asked at once. */
const NODES_MAX = 64;
const METRIC = "coracle_http_requests_total";

const LABEL = Object.fromEntries(["namespace", "pod", "code"].map((name) => [name, new RegExp(`[{,]${name}="([^"]*)"`)]));

/** The counts of a page by `namespace/pod`: { all, failed }. Pure. */
export function countsOf(page) {
  const counts = new Map();
  for (const line of page.split("\n")) {
    if (!line.startsWith(`${METRIC}{`)) continue;
    const label = (name) => LABEL[name].exec(line)?.[1] ?? "";
    const value = Number(line.slice(line.lastIndexOf("}") + 1).trim().split(" ")[0]);
    const key = `${label("namespace")}/${label("pod")}`;
    const count = counts.get(key) ?? { all: 0, failed: 0 };
    count.all += value;
    if (["5xx", "none"].includes(label("code"))) count.failed += value;
    counts.set(key, count);
  }
  return counts;
}

/** What two moments of counts mean a second; a pod that began anew counts from zero. Pure. */
export function ratesOf(before, after, seconds) {
  const rates = new Map();
  for (const [key, now] of after) {
    const then = before.get(key);
    const from = then && then.all <= now.all ? then : { all: 0, failed: 0 };
    if (!then) continue;
    rates.set(key, { all: (now.all - from.all) / seconds, failed: (now.failed - from.failed) / seconds });
  }
  return rates;
}

/** Follows the traffic: `of(pods)` sums up the rates of these `namespace/pod`; null until there are two moments. */
export function traffic(tell) {
  let before = null;
  const poller = poll(EVERY_MS, async () => {
    const list = await call(path("v1", "nodes"), { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" });
    const names = list.items.slice(0, NODES_MAX).map((node) => node.metadata.name);
    const pages = await Promise.all(names.map(async (name) => {
      try {
        return await (await send(path("v1", "nodes", "", name, `proxy/metrics/cadvisor?${new URLSearchParams({ "name[]": METRIC })}`), { accept: "*/*" })).text();
      } catch (error) {
        if (error.forbidden) throw error;
        return "";
      }
    }));
    const now = { at: performance.now(), counts: countsOf(pages.join("\n")) };
    const rates = before ? ratesOf(before.counts, now.counts, (now.at - before.at) / 1000) : null;
    before = now;
    return rates;
  }, tell);
  return {
    get error() { return poller.error; },
    of(pods) {
      if (!poller.value) return null;
      const sum = { all: 0, failed: 0 };
      for (const pod of pods) {
        const rate = poller.value.get(pod);
        sum.all += rate?.all ?? 0;
        sum.failed += rate?.failed ?? 0;
      }
      return sum;
    },
    close: () => poller.close(),
  };
}

/** A rate in words. */
export function perSecond(rate) {
  if (rate === 0) return "0/s";
  return rate < 10 ? `${rate.toFixed(1)}/s` : `${Math.round(rate).toLocaleString("en")}/s`;
}
