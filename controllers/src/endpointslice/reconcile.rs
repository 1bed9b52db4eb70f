//! The decision: how the endpoints of a Service lie in its slices.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::endpoints::{endpoint, ports};
use super::{
    Action, CONTROLLER, HEADLESS, MANAGED_BY, Observed, SERVICE_NAME, SLICE_ENDPOINTS_MAX,
};
use crate::objects::{controller_reference, is_controlled_by, is_deleting, name};

/// Gives all that is to be done for a Service now; nothing when its slices are as they should be.
///
/// Endpoints stay in the slice where they are; a change rewrites that slice alone. A Service
/// without selector, an `ExternalName`, and one that is being deleted are left as they are.
pub fn reconcile(observed: &Observed) -> Vec<Action> {
    let service = &observed.service;
    if !has_selector(service) || is_deleting(&service.metadata) {
        return Vec::new();
    }
    let (mine, foreign): (Vec<_>, Vec<_>) = observed
        .slices
        .iter()
        .cloned()
        .partition(|slice| is_controlled_by(&slice.metadata, &service.metadata));
    // Left over from a former Service of this name.
    let mut actions: Vec<Action> = foreign.into_iter().map(Action::Delete).collect();
    let families = families(service);
    for (family, ipv6) in &families {
        let of_family = mine.iter().filter(|slice| slice.address_type == *family);
        actions.extend(family_actions(observed, family, *ipv6, of_family.cloned().collect()));
    }
    let stale = mine.into_iter().filter(|s| !families.iter().any(|(f, _)| s.address_type == *f));
    actions.extend(stale.map(Action::Delete));
    actions
}

/// Says whether this controller keeps the endpoints of a Service.
pub(crate) fn has_selector(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() != Some("ExternalName")
        && spec.selector.as_ref().is_some_and(|selector| !selector.is_empty())
}

fn families(service: &Service) -> Vec<(&'static str, bool)> {
    let known = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let all: Vec<_> = known
        .into_iter()
        .flatten()
        .map(|family| if family == "IPv6" { ("IPv6", true) } else { ("IPv4", false) })
        .collect();
    if all.is_empty() { vec![("IPv4", false)] } else { all }
}

/// Endpoints that share their ports, by address, ordered.
type Group = BTreeMap<String, Endpoint>;

fn family_actions(
    observed: &Observed,
    family: &str,
    ipv6: bool,
    slices: Vec<Arc<EndpointSlice>>,
) -> Vec<Action> {
    let mut groups: Vec<(Vec<EndpointPort>, Group)> = Vec::new();
    for pod in &observed.pods {
        let endpoint = endpoint(&observed.service, pod, ipv6, &observed.zones);
        let Some(endpoint) = endpoint else { continue };
        let ports = ports(&observed.service, pod);
        let key = key(&endpoint);
        match groups.iter_mut().find(|(known, _)| *known == ports) {
            Some((_, group)) => drop(group.insert(key, endpoint)),
            None => groups.push((ports, Group::from([(key, endpoint)]))),
        }
    }
    if groups.is_empty() {
        // One empty slice stays, so that "no endpoints" differs from "not yet looked at".
        groups.push((Vec::new(), Group::new()));
    }
    let mut by_ports: HashMap<usize, Vec<Arc<EndpointSlice>>> = HashMap::new();
    let mut actions = Vec::new();
    for slice in slices {
        let here = slice.ports.as_deref().unwrap_or_default();
        match groups.iter().position(|(ports, _)| ports == here) {
            Some(index) => by_ports.entry(index).or_default().push(slice),
            None => actions.push(Action::Delete(slice)),
        }
    }
    for (index, (ports, group)) in groups.into_iter().enumerate() {
        let there = by_ports.remove(&index).unwrap_or_default();
        let blank = blank(&observed.service, family, ports);
        actions.extend(pack(blank, group, there));
    }
    // Additions first: a pod never falls out for a moment because it changes its slice.
    actions.sort_by_key(|action| matches!(action, Action::Delete(_)));
    refilled(actions)
}

/// Writes what is new into slices that would go and have no endpoints, so that nobody sees a slice without ports beside
/// one with ports.
///
/// *Source:* `finalize` of upstream's reconciler.
fn refilled(actions: Vec<Action>) -> Vec<Action> {
    let is_empty =
        |action: &Action| matches!(action, Action::Delete(slice) if slice.endpoints.is_empty());
    let (empty, rest): (Vec<Action>, Vec<Action>) = actions.into_iter().partition(is_empty);
    let mut empty = empty.into_iter();
    let mut refilled: Vec<Action> = Vec::new();
    for action in rest {
        let Action::Create(new) = action else {
            refilled.push(action);
            continue;
        };
        match empty.next() {
            Some(Action::Delete(old)) => {
                let mut slice = *new;
                let labels = slice.metadata.labels.take();
                slice.metadata = ObjectMeta { labels, ..old.metadata.clone() };
                refilled.push(Action::Update(Box::new(slice)));
            }
            Some(Action::Create(_) | Action::Update(_)) | None => {
                refilled.push(Action::Create(new))
            }
        }
    }
    refilled.extend(empty);
    refilled
}

fn key(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref());
    format!("{}/{}", endpoint.addresses.join(","), uid.unwrap_or_default())
}

/// Lays the endpoints of a group into the slices that are there, then into new ones.
fn pack(blank: EndpointSlice, mut group: Group, there: Vec<Arc<EndpointSlice>>) -> Vec<Action> {
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in there {
        let stay = slice.endpoints.iter().filter_map(|old| group.remove(&key(old))).collect();
        kept.push((slice, stay));
    }
    let mut rest = group.into_values();
    // The fullest first, so that few slices change and few stay.
    kept.sort_by_key(|(slice, stay)| (usize::MAX - stay.len(), name(&slice.metadata).to_owned()));
    for (_, endpoints) in &mut kept {
        let room = SLICE_ENDPOINTS_MAX.saturating_sub(endpoints.len());
        endpoints.extend(rest.by_ref().take(room));
    }
    let mut actions: Vec<Action> = Vec::new();
    loop {
        let endpoints: Vec<Endpoint> = rest.by_ref().take(SLICE_ENDPOINTS_MAX).collect();
        let first = kept.is_empty() && actions.is_empty();
        if endpoints.is_empty() && !first {
            break;
        }
        actions.push(Action::Create(Box::new(EndpointSlice { endpoints, ..blank.clone() })));
    }
    for (index, (slice, endpoints)) in kept.into_iter().enumerate() {
        if endpoints.is_empty() && index > 0 {
            actions.push(Action::Delete(slice));
        } else {
            actions.extend(update(slice, &blank, endpoints));
        }
    }
    actions
}

fn update(
    slice: Arc<EndpointSlice>,
    blank: &EndpointSlice,
    endpoints: Vec<Endpoint>,
) -> Option<Action> {
    if slice.endpoints == endpoints && slice.metadata.labels == blank.metadata.labels {
        return None;
    }
    let mut new = EndpointSlice::clone(&slice);
    new.endpoints = endpoints;
    new.metadata.labels.clone_from(&blank.metadata.labels);
    Some(Action::Update(Box::new(new)))
}

fn blank(service: &Service, family: &str, ports: Vec<EndpointPort>) -> EndpointSlice {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name(&service.metadata).to_owned());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    labels.remove(HEADLESS);
    let cluster_ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    if cluster_ip == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    EndpointSlice {
        address_type: family.to_owned(),
        endpoints: Vec::new(),
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&service.metadata))),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        ports: Some(ports).filter(|ports| !ports.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use k8s_openapi::api::core::v1::Pod;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn service(extra: Value) -> Arc<Service> {
        let mut object = json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "svc", "labels": {"team": "x"}},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"],
                "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]},
        });
        for (field, value) in extra.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        serde_json::from_value(object).map(Arc::new).unwrap()
    }

    /// `number port flags` with flags r(eady) t(erminating) f(ailed) a (no address).
    fn pod(number: u32, port: u32, flags: &str) -> Arc<Pod> {
        let has = |flag| flags.contains(flag);
        let mut pod = json!({
            "metadata": {"name": format!("p{number}"), "namespace": "a", "uid": format!("u{number}")},
            "spec": {"nodeName": "n", "containers": [{"name": "c",
                "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}]}]},
            "status": {"phase": if has('f') { "Failed" } else { "Running" },
                "conditions": [{"type": "Ready", "status": if has('r') { "True" } else { "False" }}]},
        });
        if has('t') {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if !has('a') {
            let ip = format!("10.128.{}.{}", number / 250, number % 250);
            pod["status"]["podIP"] = json!(ip);
            pod["status"]["podIPs"] = json!([{"ip": ip}]);
        }
        serde_json::from_value(pod).map(Arc::new).unwrap()
    }

    fn zones() -> BTreeMap<String, String> {
        [("n".to_owned(), "z".to_owned())].into()
    }

    fn seen(pods: Vec<Arc<Pod>>) -> Observed {
        Observed { service: service(json!({})), pods, slices: vec![], zones: zones() }
    }

    fn settle(seen: &mut Observed) {
        let mut n = 0;
        for action in reconcile(seen) {
            match action {
                Action::Create(mut slice) => {
                    n += 1;
                    slice.metadata.name = Some(format!("web-{}{n}", seen.slices.len()));
                    seen.slices.push(Arc::from(slice));
                }
                Action::Update(new) => {
                    let name = new.metadata.name.clone();
                    let same = |slice: &&mut Arc<EndpointSlice>| slice.metadata.name == name;
                    *seen.slices.iter_mut().find(same).unwrap() = Arc::from(new);
                }
                Action::Delete(gone) => seen.slices.retain(|slice| *slice != gone),
            }
        }
    }

    fn show(seen: &Observed) -> String {
        let endpoint = |e: &Endpoint| {
            let c = e.conditions.clone().unwrap_or_default();
            let flag = |set: Option<bool>, name| if set == Some(true) { name } else { "" };
            let (r, s) = (flag(c.ready, " ready"), flag(c.serving, " serving"));
            format!("\n  {}{r}{s}{}", e.addresses[0], flag(c.terminating, " terminating"))
        };
        let slice = |slice: &Arc<EndpointSlice>| {
            let ports = slice.ports.iter().flatten().map(|p| p.port.unwrap().to_string());
            let ports = ports.collect::<Vec<_>>().join(",");
            let labels = slice.metadata.labels.as_ref().unwrap();
            let headless = if labels.contains_key(HEADLESS) { " headless" } else { "" };
            let endpoints: String = slice.endpoints.iter().map(endpoint).collect();
            format!("{} [{ports}]{headless}{endpoints}", slice.address_type)
        };
        seen.slices.iter().map(slice).collect::<Vec<_>>().join("\n")
    }

    fn check(service: Arc<Service>, pods: Vec<Arc<Pod>>, expected: Expect) {
        let mut seen = Observed { service, pods, slices: Vec::new(), zones: zones() };
        settle(&mut seen);
        expected.assert_eq(&show(&seen));
        assert_eq!(reconcile(&seen), Vec::new(), "at rest");
    }

    #[test]
    fn conditions_follow_readiness_and_deletion() {
        let pods = vec![
            pod(1, 8080, "r"),
            pod(2, 8080, ""),
            pod(3, 8080, "rt"),
            pod(4, 1, "f"),
            pod(5, 1, "a"),
        ];
        check(
            service(json!({})),
            pods.clone(),
            expect![[r#"
            IPv4 [8080]
              10.128.0.1 ready serving
              10.128.0.2
              10.128.0.3 serving terminating"#]],
        );
        check(
            service(json!({"publishNotReadyAddresses": true})),
            pods,
            expect![[r#"
            IPv4 [8080]
              10.128.0.1 ready serving
              10.128.0.2 ready
              10.128.0.3 ready serving terminating"#]],
        );
    }

    #[test]
    fn hints_follow_the_traffic_distribution() {
        let check = |extra: Value, zones: BTreeMap<String, String>, expected: Value| {
            let pods = vec![pod(1, 8080, "r"), pod(2, 8080, "")];
            let mut seen = Observed { service: service(extra), pods, slices: vec![], zones };
            settle(&mut seen);
            let endpoints = &seen.slices[0].endpoints;
            assert_eq!(json!(endpoints[0].hints), expected);
            assert_eq!(endpoints[1].hints, None, "only ready ones");
            assert_eq!(endpoints[0].zone, seen.zones.get("n").cloned());
            assert_eq!(reconcile(&seen), Vec::new(), "at rest");
        };
        let zone = json!({"forZones": [{"name": "z"}]});
        check(json!({}), zones(), Value::Null);
        check(json!({"trafficDistribution": "PreferClose"}), zones(), zone.clone());
        check(json!({"trafficDistribution": "PreferSameZone"}), zones(), zone);
        check(json!({"trafficDistribution": "PreferSameZone"}), BTreeMap::new(), Value::Null);
        let both = json!({"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]});
        check(json!({"trafficDistribution": "PreferSameNode"}), zones(), both);
        let node = json!({"forNodes": [{"name": "n"}]});
        check(json!({"trafficDistribution": "PreferSameNode"}), BTreeMap::new(), node);
    }

    #[test]
    fn named_ports_are_looked_up_per_pod() {
        check(
            service(json!({})),
            vec![pod(1, 8080, "r"), pod(2, 9090, "r")],
            expect![[r#"
            IPv4 [8080]
              10.128.0.1 ready serving
            IPv4 [9090]
              10.128.0.2 ready serving"#]],
        );
    }

    #[test]
    fn a_service_without_pods_has_an_empty_slice_and_one_without_selector_none() {
        check(service(json!({"clusterIP": "None"})), vec![], expect!["IPv4 [] headless"]);
        check(service(json!({"selector": null})), vec![pod(1, 1, "r")], expect![""]);
        check(service(json!({"type": "ExternalName"})), vec![pod(1, 1, "r")], expect![""]);
    }

    #[test]
    fn an_empty_slice_is_written_anew_in_place() {
        let mut seen = seen(vec![]);
        settle(&mut seen);
        let before = seen.slices[0].metadata.name.clone();
        seen.pods = vec![pod(1, 8080, "r"), pod(2, 9090, "r")];
        let actions = reconcile(&seen);
        let names: Vec<_> = actions
            .iter()
            .map(|action| match action {
                Action::Update(slice) => ("update", slice.metadata.name.clone()),
                Action::Create(slice) => ("create", slice.metadata.name.clone()),
                Action::Delete(slice) => ("delete", slice.metadata.name.clone()),
            })
            .collect();
        assert_eq!(names, [("update", before), ("create", None)]);
    }

    #[test]
    fn slices_of_a_former_service_go_and_foreign_families_too() {
        let mut seen = seen(vec![]);
        settle(&mut seen);
        let mut former = EndpointSlice::clone(&seen.slices[0]);
        former.metadata.name = Some("former".into());
        former.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
        seen.slices.push(Arc::new(former.clone()));
        assert_eq!(reconcile(&seen), [Action::Delete(Arc::new(former))]);
    }

    #[test]
    fn a_hundred_and_one_endpoints_need_two_slices() {
        let pods = (0..101).map(|n| pod(n, 80, "r")).collect();
        let mut seen = seen(pods);
        settle(&mut seen);
        let sizes: Vec<usize> = seen.slices.iter().map(|slice| slice.endpoints.len()).collect();
        assert_eq!(sizes, [100, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_pod_is_in_exactly_one_slice_and_it_comes_to_rest(
            steps in prop::collection::vec(
                prop::collection::btree_map(0..260_u32, ("[rt]{0,2}", 80..82_u32), 0..260), 1..4),
        ) {
            let mut seen = seen(vec![]);
            for step in steps {
                seen.pods = step.iter().map(|(n, (flags, port))| pod(*n, *port, flags)).collect();
                settle(&mut seen);
                let mut all: Vec<String> = seen.slices.iter()
                    .flat_map(|slice| slice.endpoints.iter().map(key)).collect();
                let n = all.len();
                all.sort();
                all.dedup();
                prop_assert_eq!((n, all.len()), (step.len(), step.len()));
                prop_assert!(seen.slices.iter().all(|s| s.endpoints.len() <= SLICE_ENDPOINTS_MAX));
                prop_assert_eq!(reconcile(&seen), Vec::new());
            }
        }
    }
}
