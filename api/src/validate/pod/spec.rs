//! Rules for a PodSpec as a whole, of a Pod or of a template.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{Errors, complain, has, items, labels, number, one_of, resources, text};
use super::{affinity, container, scheduling, volume};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Largest 32-bit number, the bound of deadlines.
const INT32_MAX: i64 = i32::MAX as i64;

/// Most name servers, search domains and bytes of search domains that a resolver takes.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// Most characters of a kernel parameter's name, and what upstream says about its form.
const SYSCTL_CHARS_MAX: usize = 253;
const SYSCTL_REGEX: &str = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?";

/// Checks a PodSpec at `path`.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let grace = number(spec, "terminationGracePeriodSeconds");
    if grace.is_none() {
        errors.push(FieldError::required(path.child("terminationGracePeriodSeconds"), ""));
    }
    // One below zero means 1, and is warned of.
    let volumes = volume::check(errors, &path.child("volumes"), items(spec, "volumes"));
    let context = container::Context { spec, volumes: &volumes, grace };
    container::check_all(errors, path, &context);
    resources::check_of_pod(errors, &path.child("resources"), spec);
    check_host_network(errors, path, spec);
    check_policies(errors, path, spec);
    labels::check(errors, &path.child("nodeSelector"), &spec["nodeSelector"]);
    affinity::check(errors, &path.child("affinity"), &spec["affinity"]);
    check_dns_config(errors, path, spec);
    check_gates(errors, path, spec);
    scheduling::check_spread(
        errors,
        &path.child("topologySpreadConstraints"),
        items(spec, "topologySpreadConstraints"),
    );
    scheduling::check_tolerations(errors, &path.child("tolerations"), items(spec, "tolerations"));
    check_names(errors, path, spec);
    check_security(errors, &path.child("securityContext"), &spec["securityContext"]);
    if let Some(seconds) = number(spec, "activeDeadlineSeconds")
        && !(1..=INT32_MAX).contains(&seconds)
    {
        let field = path.child("activeDeadlineSeconds");
        errors.push(FieldError::invalid(field, seconds, names::in_range(1, INT32_MAX)));
    }
    check_host_aliases(errors, &path.child("hostAliases"), items(spec, "hostAliases"));
}

fn check_policies(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let policy = text(spec, "restartPolicy");
    one_of(errors, path.child("restartPolicy"), policy, &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(errors, path.child("dnsPolicy"), text(spec, "dnsPolicy"), &policies);
    if has(spec, "preemptionPolicy") {
        let policy = text(spec, "preemptionPolicy");
        let policies = ["PreemptLowerPriority", "Never"];
        one_of(errors, path.child("preemptionPolicy"), policy, &policies);
    }
    if has(&spec["os"], "name") {
        one_of(errors, path.child("os"), text(&spec["os"], "name"), &["linux", "windows"]);
    }
}

fn check_names(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    for (field, rule) in [
        ("serviceAccountName", names::dns1123_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
    ] {
        let value = text(spec, field);
        if !value.is_empty() {
            complain(errors, path.child(field), value, rule(value));
        }
    }
}

fn check_host_network(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    if spec["hostNetwork"] != Value::Bool(true) {
        return;
    }
    for list in ["containers", "initContainers"] {
        let path = path.child(list);
        for (index, container) in items(spec, list).iter().enumerate() {
            let path = path.index(index);
            let path = path.child("ports");
            for (index, port) in items(container, "ports").iter().enumerate() {
                let host = number(port, "hostPort").unwrap_or_default();
                if host != 0 && Some(host) != number(port, "containerPort") {
                    let path = path.index(index);
                    let words = "must match `containerPort` when `hostNetwork` is true";
                    errors.push(FieldError::invalid(path.child("hostPort"), host, words));
                }
            }
        }
    }
}

fn check_dns_config(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let config = &spec["dnsConfig"];
    let path = path.child("dnsConfig");
    let servers = items(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" && servers.is_empty() {
        let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(path.child("nameservers"), words));
    }
    let servers_path = path.child("nameservers");
    if servers.len() > NAMESERVERS_MAX {
        let words = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(servers_path, servers, words));
    }
    for (index, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        if server.parse::<std::net::IpAddr>().is_err() {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(servers_path.index(index), server, words));
        }
    }
    let searches = items(config, "searches");
    let searches_path = path.child("searches");
    if searches.len() > SEARCHES_MAX {
        let words = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(searches_path, searches, words));
    }
    for (index, search) in searches.iter().filter_map(Value::as_str).enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search).replace('_', "-");
        if search != "." {
            complain(errors, searches_path.index(index), search, names::dns1123_subdomain(&name));
        }
    }
}

fn check_gates(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    let readiness = path.child("readinessGates");
    for (index, gate) in items(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        let path = readiness.index(index);
        complain(errors, path.child("conditionType"), kind, names::qualified_name(kind));
    }
    let scheduling = path.child("schedulingGates");
    let mut seen = BTreeSet::new();
    for (index, gate) in items(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        complain(errors, scheduling.index(index), name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(scheduling.index(index), name));
        }
    }
    if !seen.is_empty() && !text(spec, "nodeName").is_empty() {
        let words = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden(path.child("nodeName"), words));
    }
}

fn check_security(errors: &mut Errors, path: &Path<'_>, context: &Value) {
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        let id = number(context, field).filter(|id| !(0..=INT32_MAX).contains(id));
        if let Some(id) = id {
            let words = names::in_range(0, INT32_MAX);
            errors.push(FieldError::invalid(path.child(field), id, words));
        }
    }
    check_sysctls(errors, &path.child("sysctls"), items(context, "sysctls"));
}

/// Checks the names of kernel parameters: words between dots or slashes, each once.
fn check_sysctls(errors: &mut Errors, path: &Path<'_>, sysctls: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("name");
        let name = text(sysctl, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !is_sysctl(name) {
            let words = format!(
                "must have at most {SYSCTL_CHARS_MAX} characters and match regex {SYSCTL_REGEX}"
            );
            errors.push(FieldError::invalid(path, name, words));
        } else if !seen.insert(name.replace('/', ".")) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let is_word = |word: &str| {
        edge(word.chars().next()) && edge(word.chars().last()) && word.chars().all(inside)
    };
    name.len() <= SYSCTL_CHARS_MAX && name.split(['.', '/']).all(is_word)
}

fn check_host_aliases(errors: &mut Errors, path: &Path<'_>, aliases: &[Value]) {
    for (index, alias) in aliases.iter().enumerate() {
        let path = path.index(index);
        let ip = text(alias, "ip");
        if ip.parse::<std::net::IpAddr>().is_err() {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(path.child("ip"), ip, words));
        }
        let path = path.child("hostnames");
        for host in items(alias, "hostnames").iter().filter_map(Value::as_str) {
            complain(errors, path, host, names::dns1123_subdomain(host));
        }
    }
}
