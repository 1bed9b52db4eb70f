//! The level `baseline`: nothing that is known to give a pod rights over its node.
//!
//! Rules in the order of upstream's ids. *Source:* Kubernetes, "Pod Security Standards".

use super::Violation;
use super::subject::{containers, name, named, names_where};
use serde_json::Value;

/// Capabilities that may be added.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// SELinux types that may be set.
const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Kernel parameters that may be set.
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];

/// What of the level a pod breaks. `within_restricted` leaves out the rules that `restricted` has stricter ones for.
pub(super) fn check(pod: &Value, within_restricted: bool) -> Vec<Violation> {
    let mut rules: Vec<fn(&Value) -> Option<Violation>> = vec![app_armor];
    if !within_restricted {
        rules.push(capabilities);
    }
    rules.push(host_namespaces);
    if !within_restricted {
        rules.push(host_path);
    }
    rules.extend([host_ports as fn(&Value) -> _, host_probes, privileged, proc_mount, selinux]);
    if !within_restricted {
        rules.push(seccomp);
    }
    rules.extend([sysctls as fn(&Value) -> _, host_process]);
    rules.iter().filter_map(|rule| rule(pod)).collect()
}

fn violation(reason: &'static str, parts: Vec<String>) -> Option<Violation> {
    (!parts.is_empty()).then(|| Violation { reason, detail: parts.join("; ") })
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_true(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool) == Some(true)
}

/// A rule on a text that pod and containers may have: which of them say something that is not allowed, and what.
fn said(pod: &Value, pointer: &str, allowed: &[&str], what: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let own = text(pod, &format!("/spec{pointer}"));
    if !allowed.contains(&own) {
        parts.push(format!("pod must not set {what} to {own:?}"));
    }
    let bad = |container: &&Value| !allowed.contains(&text(container, pointer));
    let found: Vec<&Value> = containers(pod).filter(bad).collect();
    if let Some(first) = found.first() {
        let names: Vec<&str> = found.iter().map(|container| name(container)).collect();
        let value = text(first, pointer);
        parts.push(format!("{} must not set {what} to {value:?}", named("container", &names)));
    }
    parts
}

fn app_armor(pod: &Value) -> Option<Violation> {
    let allowed = ["", "RuntimeDefault", "Localhost"];
    let what = "AppArmor profile type";
    let mut parts = said(pod, "/securityContext/appArmorProfile/type", &allowed, what);
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let fine = matches!(value, "" | "runtime/default") || value.starts_with("localhost/");
        if key.starts_with("container.apparmor.security.beta.kubernetes.io/") && !fine {
            parts.push(format!("annotation {key:?}={value:?}"));
        }
    }
    violation("forbidden AppArmor profile", parts)
}

fn capabilities(pod: &Value) -> Option<Violation> {
    let forbidden = |container: &Value| {
        let added =
            container.pointer("/securityContext/capabilities/add").and_then(Value::as_array);
        let added = added.into_iter().flatten().filter_map(Value::as_str);
        added.filter(|name| !CAPABILITIES.contains(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let names = names_where(pod, |container| !forbidden(container).is_empty());
    let mut all: Vec<String> = containers(pod).flat_map(forbidden).collect();
    all.sort();
    all.dedup();
    let quoted: Vec<String> = all.iter().map(|name| format!("{name:?}")).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        named("container", &names),
        quoted.join(", ")
    );
    violation("non-default capabilities", vec![detail])
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    let set = fields.iter().filter(|field| is_true(pod, &format!("/spec/{field}")));
    let set: Vec<String> = set.map(|field| format!("{field}=true")).collect();
    let detail = set.join(", ");
    (!detail.is_empty()).then_some(Violation { reason: "host namespaces", detail })
}

fn host_path(pod: &Value) -> Option<Violation> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let volumes = volumes.into_iter().flatten().filter(|volume| !volume["hostPath"].is_null());
    let names: Vec<&str> = volumes.map(name).collect();
    let detail = if names.is_empty() { return None } else { named("volume", &names) };
    violation("hostPath volumes", vec![detail])
}

fn host_ports(pod: &Value) -> Option<Violation> {
    let ports = |container: &Value| {
        let ports = container["ports"].as_array().into_iter().flatten();
        ports
            .filter_map(|port| port["hostPort"].as_i64().filter(|port| *port != 0))
            .collect::<Vec<_>>()
    };
    let names = names_where(pod, |container| !ports(container).is_empty());
    let mut all: Vec<i64> = containers(pod).flat_map(ports).collect();
    all.sort_unstable();
    all.dedup();
    let (uses, noun) = (
        if names.len() == 1 { "uses" } else { "use" },
        if all.len() == 1 { "hostPort" } else { "hostPorts" },
    );
    let shown: Vec<String> = all.iter().map(i64::to_string).collect();
    if names.is_empty() {
        return None;
    }
    violation(
        "hostPort",
        vec![format!("{} {uses} {noun} {}", named("container", &names), shown.join(", "))],
    )
}

fn host_probes(pod: &Value) -> Option<Violation> {
    const PLACES: [&str; 5] = [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle/postStart",
        "lifecycle/preStop",
    ];
    let is_local = |host: &str| matches!(host, "" | "127.0.0.1" | "::1");
    let foreign = |container: &Value| {
        PLACES.iter().any(|place| {
            ["httpGet", "tcpSocket"]
                .iter()
                .any(|way| !is_local(text(container, &format!("/{place}/{way}/host"))))
        })
    };
    let names = names_where(pod, foreign);
    if names.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not set host of a probe or lifecycle handler", named("container", &names));
    violation("probe or lifecycle host", vec![detail])
}

fn privileged(pod: &Value) -> Option<Violation> {
    let names = names_where(pod, |container| is_true(container, "/securityContext/privileged"));
    if names.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not set securityContext.privileged=true", named("container", &names));
    violation("privileged", vec![detail])
}

fn proc_mount(pod: &Value) -> Option<Violation> {
    let pointer = "/securityContext/procMount";
    let bad = |container: &Value| !matches!(text(container, pointer), "" | "Default");
    let names = names_where(pod, bad);
    let value = containers(pod)
        .find(|container| bad(container))
        .map(|container| text(container, pointer))?;
    let detail = format!(
        "{} must not set securityContext.procMount to {value:?}",
        named("container", &names)
    );
    violation("procMount", vec![detail])
}

fn selinux(pod: &Value) -> Option<Violation> {
    let bad = |options: &Value| {
        !SELINUX_TYPES.contains(&text(options, "/type"))
            || !text(options, "/user").is_empty()
            || !text(options, "/role").is_empty()
    };
    let of = |value: &Value| value.pointer("/securityContext/seLinuxOptions").is_some_and(bad);
    let names = names_where(pod, of);
    let mut who = Vec::new();
    if of(&pod["spec"]) {
        who.push("pod".to_owned());
    }
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    if who.is_empty() {
        return None;
    }
    violation(
        "seLinuxOptions",
        vec![format!("{} set forbidden securityContext.seLinuxOptions", who.join(" and "))],
    )
}

fn seccomp(pod: &Value) -> Option<Violation> {
    let allowed = ["", "RuntimeDefault", "Localhost"];
    let what = "securityContext.seccompProfile.type";
    violation("seccompProfile", said(pod, "/securityContext/seccompProfile/type", &allowed, what))
}

fn sysctls(pod: &Value) -> Option<Violation> {
    let all = pod.pointer("/spec/securityContext/sysctls").and_then(Value::as_array);
    let names = all.into_iter().flatten().map(name).filter(|name| !SYSCTLS.contains(name));
    let names: Vec<&str> = names.collect();
    if names.is_empty() { None } else { violation("forbidden sysctls", vec![names.join(", ")]) }
}

fn host_process(pod: &Value) -> Option<Violation> {
    let pointer = "/securityContext/windowsOptions/hostProcess";
    let names = names_where(pod, |container| is_true(container, pointer));
    let mut who = Vec::new();
    if is_true(&pod["spec"], pointer) {
        who.push("pod".to_owned());
    }
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    if who.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not set securityContext.windowsOptions.hostProcess=true",
        who.join(" and ")
    );
    violation("hostProcess", vec![detail])
}
