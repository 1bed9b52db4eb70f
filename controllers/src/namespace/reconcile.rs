//! The decision for one namespace.

use std::time::Duration;

use jiff::Timestamp;

use super::conditions::conditions;
use super::{Action, FINALIZER, Observed};
use crate::objects::is_deleting;

/// How soon to look again after deleting: most objects are gone at once.
const LOOK_SOON: Duration = Duration::from_millis(10);

/// How soon to look again while something takes its time, a pod's grace or a finalizer.
const LOOK_LATER: Duration = Duration::from_secs(1);

/// What goes before everything else, so that no program runs on without the policies and secrets it was meant to have.
///
/// *Source:* KEP-5080, ordered deletion of namespaces.
const FIRST: &str = "pods";

/// Gives all that is to be done for a namespace now; nothing for one that nobody deletes.
///
/// What could not be counted is not empty: then the namespace stays.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let namespace = &observed.namespace;
    let spec = namespace.spec.as_ref();
    let mut finalizers = spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    if !is_deleting(&namespace.metadata) || !finalizers.any(|finalizer| finalizer == FINALIZER) {
        return Vec::new();
    }
    let counted = |n: fn(&super::Found) -> usize| {
        let all = observed.contents.iter();
        all.filter(move |content| content.found.as_ref().is_ok_and(|found| n(found) > 0))
    };
    let is_gone = |content: &super::Content| content.found.as_ref().is_ok_and(|f| f.n_all == 0);
    let mut first = observed.contents.iter().filter(|content| content.resource == FIRST);
    let others_too = first.all(is_gone);
    let mut actions: Vec<Action> = counted(|found| found.n_undeleted)
        .filter(|content| others_too || content.resource == FIRST)
        .map(|content| Action::DeleteAll(content.resource.clone()))
        .collect();
    if !actions.is_empty() {
        actions.push(Action::RequeueAfter(LOOK_SOON));
        return actions;
    }
    let is_known = observed.contents.iter().all(|content| content.found.is_ok());
    if is_known && counted(|found| found.n_all).next().is_none() {
        return vec![Action::Finalize];
    }
    let old = namespace.status.as_ref().and_then(|status| status.conditions.clone());
    let old = old.unwrap_or_default();
    // What waits for the pods to go holds up nothing, so it is not told.
    let holds = |content: &&super::Content| {
        others_too || content.resource == FIRST || content.found.is_err()
    };
    let told: Vec<super::Content> = observed.contents.iter().filter(holds).cloned().collect();
    let new = conditions(&old, &told, now);
    if new != old {
        actions.push(Action::SetConditions(new));
    }
    actions.push(Action::RequeueAfter(LOOK_LATER));
    actions
}

#[cfg(test)]
mod tests {
    use super::super::{Content, Found};
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;
    use std::sync::Arc;

    fn content(resource: &str, n_all: usize, n_undeleted: usize) -> Content {
        Content {
            resource: resource.into(),
            found: Ok(Found { n_all, n_undeleted, finalizers: Default::default() }),
        }
    }

    fn observed(deleting: bool, contents: Vec<Content>) -> Observed {
        let time = deleting.then_some("2026-01-01T00:00:00Z");
        let namespace = json!({"metadata": {"name": "a", "deletionTimestamp": time},
            "spec": {"finalizers": ["kubernetes"]}});
        Observed { namespace: Arc::new(serde_json::from_value(namespace).unwrap()), contents }
    }

    fn check(observed: &Observed, expected: Expect) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let show = |action: &Action| match action {
            Action::DeleteAll(resource) => format!("delete {resource}"),
            Action::SetConditions(all) => {
                let on = all.iter().filter(|condition| condition.status == "True");
                on.map(|c| format!("{}: {}", c.type_, c.message.clone().unwrap()))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Action::Finalize => "finalize".into(),
            Action::RequeueAfter(rest) => format!("again in {}ms", rest.as_millis()),
        };
        let lines: Vec<String> = reconcile(observed, now).iter().map(show).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_namespace_is_emptied_and_then_let_go() {
        check(&observed(false, vec![content("pods", 1, 1)]), expect![""]);
        check(
            &observed(true, vec![content("pods", 2, 1), content("secrets", 0, 0)]),
            expect![[r#"
            delete pods
            again in 10ms"#]],
        );
        check(&observed(true, vec![content("pods", 0, 0)]), expect!["finalize"]);
    }

    #[test]
    fn pods_go_first() {
        let all = |n_pods, n_undeleted| {
            vec![content("configmaps", 1, 1), content("pods", n_pods, n_undeleted)]
        };
        check(
            &observed(true, all(1, 1)),
            expect![[r#"
            delete pods
            again in 10ms"#]],
        );
        check(
            &observed(true, all(1, 0)),
            expect![[r#"
            NamespaceContentRemaining: Some resources are remaining: pods has 1 resource instances
            again in 1000ms"#]],
        );
        check(
            &observed(true, all(0, 0)),
            expect![[r#"
            delete configmaps
            again in 10ms"#]],
        );
    }

    #[test]
    fn what_lingers_is_told() {
        let mut pods = content("pods", 2, 0);
        pods.found.as_mut().unwrap().finalizers.insert("x.io/keep".into(), 1);
        check(
            &observed(true, vec![pods]),
            expect![[r#"
            NamespaceContentRemaining: Some resources are remaining: pods has 2 resource instances
            NamespaceFinalizersRemaining: Some content in the namespace has finalizers remaining: x.io/keep in 1 resource instances
            again in 1000ms"#]],
        );
    }

    #[test]
    fn what_could_not_be_counted_keeps_the_namespace() {
        let unknown = Content { resource: "pods".into(), found: Err("timeout".into()) };
        check(
            &observed(true, vec![unknown]),
            expect![[r#"
            NamespaceDeletionContentFailure: Failed to delete all resource types, 1 remaining: pods: timeout
            again in 1000ms"#]],
        );
    }
}
