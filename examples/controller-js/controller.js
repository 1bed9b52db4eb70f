// An operator that is a pod itself: each Roster becomes a ConfigMap for each of its names. What belongs to no name any
// more is removed, what somebody else removes comes back, and all of it goes with the Roster.
import { command, env, sleep } from "../../sdk/javascript/command.js";
import { Client, Lease } from "../../sdk/javascript/kube.js";

/** Under which name the fields are ours. */
const MANAGER = "roster-controller";

/** After how many seconds without a sign of the leader another pod takes over. */
const LEASE_SECONDS = 15;

/** The pause after an error, in milliseconds. */
const PAUSE = 500;

export const run = command(async () => {
  const client = Client.inCluster();
  const lease = new Lease(client, MANAGER, env().POD_NAME, LEASE_SECONDS);
  // When the lease is lost, the program ends, and the pod begins again.
  await lease.lead(() => Promise.all([forever(() => followRosters(client)), forever(() => followChildren(client))]));
});

/** Begins again after errors, and when the server ends a watch. */
async function forever(work) {
  for (;;) {
    try {
      await work();
    } catch (error) {
      console.log(`again after: ${error.message}`);
      await sleep(PAUSE);
    }
  }
}

const rosters = (client) => `/apis/example.coracle.dev/v1/namespaces/${client.namespace}/rosters`;
const maps = (client) => `/api/v1/namespaces/${client.namespace}/configmaps`;

async function followRosters(client) {
  console.log(`watching rosters in ${client.namespace}`);
  for await (const { type, object } of client.watch(rosters(client))) {
    // What it owned is collected by the cluster.
    if (type === "APPLIED") await reconcile(client, object);
  }
}

/** A child that is gone is made again, if its Roster still wants it. */
async function followChildren(client) {
  for await (const { type, object } of client.watch(`${maps(client)}?labelSelector=roster`)) {
    if (type === "DELETED") await again(client, object.metadata.labels.roster);
  }
}

async function again(client, name) {
  try {
    await reconcile(client, await client.get(`${rosters(client)}/${name}`));
  } catch (error) {
    if (error.code !== 404) throw error;
  }
}

async function reconcile(client, roster) {
  const { name, generation, deletionTimestamp } = roster.metadata;
  if (deletionTimestamp) return;
  const wanted = roster.spec.names.map((person) => child(roster, person));
  for (const map of wanted) await client.apply(`${maps(client)}/${map.metadata.name}`, MANAGER, map);
  const there = await client.get(`${maps(client)}?labelSelector=${encodeURIComponent(`roster=${name}`)}`);
  const kept = new Set(wanted.map((map) => map.metadata.name));
  for (const { metadata } of there.items.filter((map) => !kept.has(map.metadata.name))) {
    await client.delete(`${maps(client)}/${metadata.name}`);
  }
  if (roster.status?.observedGeneration === generation) return;
  const status = { observedGeneration: generation, greeted: wanted.length };
  await client.merge(`${rosters(client)}/${name}/status`, { status });
  console.log(`${name}: ${wanted.length} greeted in generation ${generation}`);
}

/** What a name of a Roster becomes, which the Roster owns. */
function child(roster, person) {
  const { apiVersion, kind, metadata } = roster;
  const { name, uid } = metadata;
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: `${name}-${person}`,
      labels: { roster: name },
      ownerReferences: [{ apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true }],
    },
    data: { greeting: `${roster.spec.greeting}, ${person}` },
  };
}
