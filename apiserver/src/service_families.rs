//! Which families of addresses a Service has: pure.
//!
//! Comes in: a Service as it is written, and as it was. Goes out: the same with `ipFamilies` and
//! `ipFamilyPolicy` filled in, without the second address that it no longer wants, and the families that
//! it is to have an address of.
//! *Source:* KEP-563, and Kubernetes docs "IPv4/IPv6 dual-stack".

use std::net::IpAddr;

use coracle_api::field_error::{FieldError, Path};
use serde_json::{Value, json};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub(crate) fn of(ip: IpAddr) -> Family {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn word(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn parse(text: &str) -> Option<Family> {
        [Family::V4, Family::V6].into_iter().find(|family| family.word() == text)
    }

    fn other(self) -> Family {
        match self {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        }
    }
}

/// Whether a Service may have a second family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Single,
    Prefer,
    Require,
}

impl Policy {
    fn word(self) -> &'static str {
        match self {
            Policy::Single => "SingleStack",
            Policy::Prefer => "PreferDualStack",
            Policy::Require => "RequireDualStack",
        }
    }

    fn parse(text: &str) -> Option<Policy> {
        let all = [Policy::Single, Policy::Prefer, Policy::Require];
        all.into_iter().find(|policy| policy.word() == text)
    }
}

/// Settles the families of a Service that has cluster IPs or is headless; the first is that of
/// `clusterIP`. `served`: the families of which the cluster has addresses, the usual one first.
///
/// # Errors
/// What is asked for contradicts itself, or the cluster has no such family.
pub(crate) fn settle(
    new: &mut Value,
    old: Option<&Value>,
    served: &[Family],
) -> Result<Vec<Family>, FieldError> {
    let policy = policy(new, old, served)?;
    if policy == Policy::Single {
        drop_second(new, old);
    }
    let asked = asked(new)?;
    if let Some((index, family)) = asked.iter().enumerate().find(|(_, f)| !served.contains(f)) {
        let path = Path::root("spec");
        let path = path.child("ipFamilies");
        return Err(FieldError::invalid(
            path.index(index),
            family.word(),
            "not configured on this cluster",
        ));
    }
    if policy == Policy::Single && asked.len() > 1 {
        let words = "must be 'RequireDualStack' or 'PreferDualStack' when multiple families or cluster IPs are specified";
        return Err(invalid("ipFamilyPolicy", policy.word(), words));
    }
    let mut families = asked;
    if families.is_empty() {
        families.extend(kept(old).or(served.first().copied()));
    }
    if policy != Policy::Single
        && let [first] = families.as_slice()
    {
        families.extend([first.other()].into_iter().filter(|other| served.contains(other)));
    }
    if policy == Policy::Require && families.len() < 2 {
        let words = "this cluster is not configured for dual-stack services";
        return Err(invalid("ipFamilyPolicy", policy.word(), words));
    }
    new["spec"]["ipFamilyPolicy"] = json!(policy.word());
    new["spec"]["ipFamilies"] = families.iter().map(|family| family.word()).collect();
    Ok(families)
}

fn invalid(field: &'static str, value: &str, words: &str) -> FieldError {
    FieldError::invalid(Path::root("spec").child(field), value, words)
}

/// The policy that is asked for; else the one from before; else what fits the rest.
fn policy(new: &Value, old: Option<&Value>, served: &[Family]) -> Result<Policy, FieldError> {
    let spec = &new["spec"];
    if let Some(text) = spec["ipFamilyPolicy"].as_str() {
        let words = "supported values: \"SingleStack\", \"PreferDualStack\", \"RequireDualStack\"";
        return Policy::parse(text).ok_or_else(|| invalid("ipFamilyPolicy", text, words));
    }
    let before = old.and_then(|old| old["spec"]["ipFamilyPolicy"].as_str());
    if let Some(policy) = before.and_then(Policy::parse) {
        return Ok(policy);
    }
    let two = |field: &str| spec[field].as_array().is_some_and(|all| all.len() > 1);
    let has_selector = spec["selector"].as_object().is_some_and(|labels| !labels.is_empty());
    // Whoever writes its endpoints may write any.
    let is_open = spec["clusterIP"] == "None" && !has_selector && served.len() > 1;
    let both = is_open || two("clusterIPs") || two("ipFamilies");
    Ok(if both { Policy::Require } else { Policy::Single })
}

/// A Service that goes back to one family loses its second one, unless the writer names a change of
/// it too.
fn drop_second(new: &mut Value, old: Option<&Value>) {
    for field in ["clusterIPs", "ipFamilies"] {
        let before = old.map(|old| &old["spec"][field]);
        if before == Some(&new["spec"][field])
            && let Some(all) = new["spec"][field].as_array_mut()
        {
            all.truncate(1);
        }
    }
}

fn kept(old: Option<&Value>) -> Option<Family> {
    old?["spec"]["ipFamilies"].as_array()?.first()?.as_str().and_then(Family::parse)
}

/// The families that the Service names itself, by name or by addresses.
fn asked(new: &Value) -> Result<Vec<Family>, FieldError> {
    let spec = &new["spec"];
    let mut families = Vec::new();
    for (index, text) in spec["ipFamilies"].as_array().into_iter().flatten().enumerate() {
        let path = Path::root("spec");
        let path = path.child("ipFamilies");
        let text = text.as_str().unwrap_or_default();
        let words = "supported values: \"IPv4\", \"IPv6\"";
        let family = Family::parse(text);
        let family = family.ok_or_else(|| FieldError::invalid(path.index(index), text, words))?;
        if index > 1 || families.contains(&family) {
            return Err(FieldError::duplicate(path.index(index), text));
        }
        families.push(family);
    }
    for (index, ip) in addresses(new).into_iter().enumerate() {
        let family = Family::of(ip);
        match families.get(index) {
            Some(named) if *named != family => {
                let path = Path::root("spec");
                let path = path.child("clusterIPs");
                let words = format!(
                    "expected an {} value as indicated by `ipFamilies[{index}]`",
                    named.word()
                );
                return Err(FieldError::invalid(path.index(index), ip.to_string(), words));
            }
            Some(_) => {}
            None if families.contains(&family) || index > 1 => {
                let words = "may specify no more than one IP for each IP family";
                return Err(invalid("clusterIPs", &ip.to_string(), words));
            }
            None => families.push(family),
        }
    }
    Ok(families)
}

/// The cluster IPs that are asked for, in order.
fn addresses(service: &Value) -> Vec<IpAddr> {
    let listed = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
    let mut all: Vec<&Value> = listed.collect();
    if all.is_empty() {
        all.push(&service["spec"]["clusterIP"]);
    }
    all.into_iter().filter_map(Value::as_str).filter_map(|ip| ip.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Family; 2] = [Family::V4, Family::V6];

    fn check(new: Value, old: Option<Value>, served: &[Family], expected: &str) {
        let mut new = json!({"spec": new});
        let old = old.map(|old| json!({"spec": old}));
        let said = match settle(&mut new, old.as_ref(), served) {
            Ok(_) => {
                let spec = &new["spec"];
                format!("{} {} {}", spec["ipFamilyPolicy"], spec["ipFamilies"], spec["clusterIPs"])
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_new_service_has_the_families_that_it_asks_for() {
        let check = |new, expected| check(new, None, &BOTH, expected);
        check(json!({}), r#""SingleStack" ["IPv4"] null"#);
        check(json!({"ipFamilies": ["IPv6"]}), r#""SingleStack" ["IPv6"] null"#);
        check(json!({"clusterIP": "fd63:6f73::9"}), r#""SingleStack" ["IPv6"] null"#);
        check(
            json!({"ipFamilyPolicy": "PreferDualStack"}),
            r#""PreferDualStack" ["IPv4","IPv6"] null"#,
        );
        check(
            json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}),
            r#""RequireDualStack" ["IPv6","IPv4"] null"#,
        );
        check(
            json!({"clusterIP": "None", "selector": {"a": "b"}}),
            r#""SingleStack" ["IPv4"] null"#,
        );
        check(json!({"clusterIP": "None"}), r#""RequireDualStack" ["IPv4","IPv6"] null"#);
        check(
            json!({"ipFamilies": ["IPv6", "IPv4"]}),
            r#""RequireDualStack" ["IPv6","IPv4"] null"#,
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |new, expected| check(new, None, &BOTH, expected);
        check(
            json!({"ipFamilies": ["IPv4"], "clusterIP": "fd63:6f73::9"}),
            "spec.clusterIPs[0]: Invalid value: \"fd63:6f73::9\": expected an IPv4 value as indicated by `ipFamilies[0]`",
        );
        check(
            json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}),
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple families or cluster IPs are specified",
        );
        check(
            json!({"clusterIPs": ["10.96.0.9", "10.96.0.10"]}),
            "spec.clusterIPs: Invalid value: \"10.96.0.10\": may specify no more than one IP for each IP family",
        );
        check(
            json!({"ipFamilies": ["IPv4", "IPv4"]}),
            "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
        );
    }

    #[test]
    fn a_cluster_with_one_family_gives_what_it_has() {
        let check = |new, expected| check(new, None, &[Family::V4], expected);
        check(json!({"ipFamilyPolicy": "PreferDualStack"}), r#""PreferDualStack" ["IPv4"] null"#);
        check(
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        );
        check(
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        );
    }

    #[test]
    fn a_service_gets_and_loses_its_second_family() {
        let ips = json!(["10.96.0.9", "fd63:6f73::9"]);
        let one = json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": [ips[0]]});
        let two = json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": BOTH.map(Family::word), "clusterIPs": ips});
        let mut wants = one.clone();
        wants["ipFamilyPolicy"] = json!("PreferDualStack");
        check(
            wants,
            Some(one.clone()),
            &BOTH,
            r#""PreferDualStack" ["IPv4","IPv6"] ["10.96.0.9"]"#,
        );
        let mut leaves = two.clone();
        leaves["ipFamilyPolicy"] = json!("SingleStack");
        check(leaves, Some(two.clone()), &BOTH, r#""SingleStack" ["IPv4"] ["10.96.0.9"]"#);
        // One that says nothing of families stays as it is.
        let kept = r#""RequireDualStack" ["IPv4","IPv6"] ["10.96.0.9","fd63:6f73::9"]"#;
        check(json!({"clusterIPs": ips}), Some(two), &BOTH, kept);
    }
}
