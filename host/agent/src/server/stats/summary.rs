//! `/stats/summary`. Pure.
//!
//! *Source:* `k8s.io/kubelet/pkg/apis/stats/v1alpha1`; fields that are not measured are left out, and most of them where
//! `only_cpu_and_memory` asks for that.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rates::Rated;
use super::sample::{InterfaceSample, PodSample};
use super::space::DiskSample;
use crate::node::object::seconds;

/// Writes the summary; without `disk` only CPU time and memory.
pub(crate) fn summary(rated: &Rated, disk: Option<&DiskSample>) -> Value {
    let time = seconds(rated.sample.at);
    let pods = rated.sample.pods.iter().map(|one| {
        let mut shown = pod(rated, one, &time);
        if let Some(disk) = disk {
            shown["network"] = network(&time, one);
            disk.add_pod(&one.uid, &mut shown);
        }
        shown
    });
    json!({
        "node": node(rated, disk, &time),
        "pods": pods.collect::<Vec<Value>>(),
        // Ours: over which time the rates were measured.
        "windowSeconds": rated.window_seconds,
    })
}

fn node(rated: &Rated, disk: Option<&DiskSample>, time: &str) -> Value {
    let node = &rated.sample.node;
    let available = node.memory_bytes_max.saturating_sub(node.memory_bytes);
    let mut shown = json!({
        "nodeName": rated.sample.node_name,
        "startTime": started(node.booted),
        "cpu": cpu(time, rated.node, node.cpu_nanos),
        "memory": {
            "time": time, "availableBytes": available, "usageBytes": node.memory_bytes,
            "workingSetBytes": node.memory_bytes,
        },
    });
    let Some(disk) = disk else { return shown };
    if let Some(pids) = node.pids {
        let used = pids.capacity.saturating_sub(pids.available);
        shown["rlimit"] = json!({"time": time, "maxpid": pids.capacity, "curproc": used});
    }
    if let Some(first) = node.network.first() {
        let mut network = interface(first);
        network["time"] = json!(time);
        network["interfaces"] = node.network.iter().map(interface).collect();
        shown["network"] = network;
    }
    disk.add_node(&mut shown);
    shown
}

fn interface(one: &InterfaceSample) -> Value {
    json!({
        "name": one.name, "rxBytes": one.received_bytes, "rxErrors": one.receive_errors,
        "txBytes": one.sent_bytes, "txErrors": one.send_errors,
    })
}

fn pod(rated: &Rated, pod: &PodSample, time: &str) -> Value {
    let mut rate = 0;
    let containers: Vec<Value> = pod
        .containers
        .iter()
        .map(|container| {
            let own = rated.container(&pod.uid, &container.name);
            rate += own;
            json!({
                "name": container.name,
                "startTime": started(container.started),
                "cpu": cpu(time, own, container.cpu_nanos),
                "memory": memory(time, container.memory_bytes),
            })
        })
        .collect();
    json!({
        "podRef": { "name": pod.name, "namespace": pod.namespace, "uid": pod.uid },
        "startTime": started(pod.started),
        "containers": containers,
        "cpu": cpu(time, rate, pod.cpu_nanos()),
        "memory": memory(time, pod.memory_bytes()),
    })
}

/// What the pod has sent and received over its only interface.
fn network(time: &str, pod: &PodSample) -> Value {
    let Some(counts) = pod.traffic else { return Value::Null };
    let (received, sent) = (counts.received_bytes, counts.sent_bytes);
    let interface = json!({ "name": "eth0", "rxBytes": received, "txBytes": sent });
    json!({
        "time": time, "name": "eth0", "rxBytes": received, "txBytes": sent,
        "interfaces": [interface],
    })
}

fn cpu(time: &str, nanocores: u64, nanoseconds: u64) -> Value {
    json!({ "time": time, "usageNanoCores": nanocores, "usageCoreNanoSeconds": nanoseconds })
}

fn memory(time: &str, bytes: u64) -> Value {
    json!({ "time": time, "usageBytes": bytes, "workingSetBytes": bytes, "rssBytes": bytes })
}

fn started(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| Value::from(seconds(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::stats::{sample, space};
    use expect_test::{Expect, expect};

    fn check(disk: Option<&DiskSample>, want: Expect) {
        let rated = Rated {
            sample: sample::example(),
            window_seconds: 15,
            node: 250,
            containers: [(("u".to_owned(), "web".to_owned()), 100)].into(),
        };
        // Each object of figures on one line.
        let shown = summary(&rated, disk);
        let mut lines = String::new();
        for (of, values) in [("node", &shown["node"]), ("pod", &shown["pods"][0])] {
            for (name, value) in values.as_object().unwrap() {
                let text = value.to_string().replace("\"1970-01-01T00:01:40Z\"", "NOW");
                lines.push_str(&format!("{of} {name} {text}\n"));
            }
        }
        want.assert_eq(&lines);
    }

    #[test]
    fn what_autoscalers_ask_for_is_cpu_and_memory() {
        check(
            None,
            expect![[r#"
            node cpu {"time":NOW,"usageCoreNanoSeconds":2000000001,"usageNanoCores":250}
            node memory {"availableBytes":1808,"time":NOW,"usageBytes":8192,"workingSetBytes":8192}
            node nodeName "h1"
            node startTime "1970-01-01T00:00:10Z"
            pod containers [{"cpu":{"time":NOW,"usageCoreNanoSeconds":1500000000,"usageNanoCores":100},"memory":{"rssBytes":4096,"time":NOW,"usageBytes":4096,"workingSetBytes":4096},"name":"web","startTime":"1970-01-01T00:00:50Z"}]
            pod cpu {"time":NOW,"usageCoreNanoSeconds":1500000000,"usageNanoCores":100}
            pod memory {"rssBytes":4096,"time":NOW,"usageBytes":4096,"workingSetBytes":4096}
            pod podRef {"name":"web-0","namespace":"default","uid":"u"}
            pod startTime null
        "#]],
        );
    }

    #[test]
    fn the_whole_summary_knows_disks_volumes_networks_and_processes() {
        check(
            Some(&space::example()),
            expect![[r#"
            node cpu {"time":NOW,"usageCoreNanoSeconds":2000000001,"usageNanoCores":250}
            node fs {"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":20,"time":NOW,"usedBytes":500}
            node memory {"availableBytes":1808,"time":NOW,"usageBytes":8192,"workingSetBytes":8192}
            node network {"interfaces":[{"name":"eth0","rxBytes":7,"rxErrors":2,"txBytes":8,"txErrors":3}],"name":"eth0","rxBytes":7,"rxErrors":2,"time":NOW,"txBytes":8,"txErrors":3}
            node nodeName "h1"
            node rlimit {"curproc":40,"maxpid":100,"time":NOW}
            node runtime {"containerFs":{"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":3,"time":NOW,"usedBytes":30},"imageFs":{"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":6,"time":NOW,"usedBytes":77}}
            node startTime "1970-01-01T00:00:10Z"
            pod containers [{"cpu":{"time":NOW,"usageCoreNanoSeconds":1500000000,"usageNanoCores":100},"logs":{"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":1,"time":NOW,"usedBytes":4},"memory":{"rssBytes":4096,"time":NOW,"usageBytes":4096,"workingSetBytes":4096},"name":"web","rootfs":{"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":3,"time":NOW,"usedBytes":30},"startTime":"1970-01-01T00:00:50Z"}]
            pod cpu {"time":NOW,"usageCoreNanoSeconds":1500000000,"usageNanoCores":100}
            pod ephemeral-storage {"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":6,"time":NOW,"usedBytes":44}
            pod memory {"rssBytes":4096,"time":NOW,"usageBytes":4096,"workingSetBytes":4096}
            pod network {"interfaces":[{"name":"eth0","rxBytes":10,"txBytes":20}],"name":"eth0","rxBytes":10,"time":NOW,"txBytes":20}
            pod podRef {"name":"web-0","namespace":"default","uid":"u"}
            pod startTime null
            pod volume [{"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":2,"name":"cache","time":NOW,"usedBytes":10},{"availableBytes":400,"capacityBytes":1000,"inodes":90,"inodesFree":70,"inodesUsed":1,"name":"token","time":NOW,"usedBytes":7},{"availableBytes":50,"capacityBytes":200,"inodes":90,"inodesFree":70,"inodesUsed":5,"name":"data","pvcRef":{"name":"data-web-0","namespace":"default"},"time":NOW,"usedBytes":150}]
        "#]],
        );
    }
}
