//! `coracle apps`: the applications of a namespace, whose they are, and which of them need which others.
//!
//! An application is all objects with the same `app.kubernetes.io/name`, or the same `app`; what it depends on
//! stands in `coracle.dev/depends-on`, of the object or of its pods.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::query::Query;
use super::session::Session;
use super::table::Printed;
use crate::config::AppsFlags;
use crate::out;

/// Where objects are that make an application; the first ones say best what it is.
const PLACES: [(&str, &str); 7] = [
    ("apis/apps/v1", "deployments"),
    ("apis/apps/v1", "statefulsets"),
    ("apis/apps/v1", "daemonsets"),
    ("apis/batch/v1", "cronjobs"),
    ("apis/batch/v1", "jobs"),
    ("api/v1", "pods"),
    ("api/v1", "services"),
];

/// What an application is called. *Source:* Kubernetes, recommended labels; `app` as older manifests have it.
const NAMES: [&str; 2] = ["app.kubernetes.io/name", "app"];

/// What it is for. *Source:* Kubernetes, well-known labels, annotations and taints.
const DESCRIPTION: &str = "kubernetes.io/description";

/// Who answers for it.
const OWNER: &str = "coracle.dev/owner";

/// The Services that it needs, with commas between them.
const DEPENDS: &str = "coracle.dev/depends-on";

/// Objects that belong together, and what they say.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct App {
    namespace: String,
    name: String,
    owner: String,
    description: String,
    depends_on: BTreeSet<String>,
    needed_by: BTreeSet<String>,
    objects: Vec<String>,
}

/// Prints the applications.
pub(crate) async fn apps(session: &Session, flags: &AppsFlags) -> anyhow::Result<()> {
    let query = Query::default().maybe("labelSelector", flags.selector.as_deref());
    let mut objects = Vec::new();
    for (group, plural) in PLACES {
        let path = match flags.all_namespaces {
            true => format!("/{group}/{plural}"),
            false => format!("/{group}/namespaces/{}/{plural}", session.namespace),
        };
        let mut list = session.get(&query.clone().on(&path)).await?;
        let items = list["items"].take();
        let items = items.as_array().cloned().unwrap_or_default();
        objects.extend(items.into_iter().map(|object| (plural, object)));
    }
    let apps = group(&objects);
    if flags.output.is_json() {
        out::line(serde_json::to_string_pretty(&json!({"applications": apps}))?);
    } else if apps.is_empty() {
        out::note("No applications found");
    } else {
        table(&apps, flags.all_namespaces).lines(true).iter().for_each(out::line);
    }
    Ok(())
}

/// Puts objects together; those that another one made are left out.
fn group(objects: &[(&str, Value)]) -> Vec<App> {
    let mut apps: BTreeMap<(String, String), App> = BTreeMap::new();
    let mut services: BTreeMap<(String, String), String> = BTreeMap::new();
    for (plural, object) in objects {
        let metadata = &object["metadata"];
        if metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty()) {
            continue;
        }
        let (namespace, own) = (text(&metadata["namespace"]), text(&metadata["name"]));
        let labels = &metadata["labels"];
        let name = NAMES.iter().find_map(|label| labels[label].as_str()).unwrap_or(&own).to_owned();
        if *plural == "services" {
            services.insert((namespace.clone(), own.clone()), name.clone());
        }
        let app = apps.entry((namespace.clone(), name.clone())).or_default();
        (app.namespace, app.name) = (namespace, name);
        app.take(plural, &own, object);
    }
    for ((namespace, name), depends) in
        apps.iter().map(|(key, app)| (key.clone(), app.depends_on.clone())).collect::<Vec<_>>()
    {
        for service in depends {
            let (service, space) = place(&service, &namespace);
            let Some(needed) = services.get(&(space.clone(), service)) else { continue };
            let Some(app) = apps.get_mut(&(space.clone(), needed.clone())) else { continue };
            let by = if space == namespace { name.clone() } else { format!("{name}.{namespace}") };
            app.needed_by.insert(by);
        }
    }
    apps.into_values().collect()
}

/// A Service's name and namespace, of `name` or `name.namespace…` as DNS has it.
fn place(service: &str, namespace: &str) -> (String, String) {
    let mut parts = service.split('.');
    let name = parts.next().unwrap_or_default().to_owned();
    (name, parts.next().unwrap_or(namespace).to_owned())
}

impl App {
    fn take(&mut self, plural: &str, name: &str, object: &Value) {
        self.objects.push(format!("{plural}/{name}"));
        let own = &object["metadata"]["annotations"];
        let spec = &object["spec"];
        // A CronJob's pods are two templates deep.
        let pods = [&spec["template"], &spec["jobTemplate"]["spec"]["template"]];
        let pods = pods.map(|template| &template["metadata"]["annotations"]);
        for annotations in std::iter::once(own).chain(pods) {
            for service in text(&annotations[DEPENDS]).split(',').map(str::trim) {
                if !service.is_empty() {
                    self.depends_on.insert(service.to_owned());
                }
            }
        }
        for (field, annotation) in [(&mut self.owner, OWNER), (&mut self.description, DESCRIPTION)]
        {
            if field.is_empty() {
                *field = text(&own[annotation]);
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn table(apps: &[App], namespaces: bool) -> Printed {
    let mut headings = Vec::new();
    headings.extend(namespaces.then_some("NAMESPACE"));
    headings.extend(["NAME", "OWNER", "DEPENDS ON", "NEEDED BY", "DESCRIPTION"]);
    let mut printed = Printed::new(&headings);
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.replace('\n', " ") };
    let names = |names: &BTreeSet<String>| {
        shown(&names.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    };
    for app in apps {
        let mut cells = Vec::new();
        cells.extend(namespaces.then(|| app.namespace.clone()));
        cells.extend([
            app.name.clone(),
            shown(&app.owner),
            names(&app.depends_on),
            names(&app.needed_by),
            shown(&app.description),
        ]);
        printed.row(cells);
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// `PLURAL NAMESPACE/NAME KEY=VALUE…`, where a key with a slash or `app` is a label, `owner` and the like an
    /// annotation, `pods-need` one of the pods, and `by` an owner.
    fn object(line: &str) -> (&str, Value) {
        let mut words = line.split_whitespace();
        let (plural, full) = (words.next().unwrap(), words.next().unwrap());
        let (namespace, name) = full.split_once('/').unwrap();
        let mut object = json!({"metadata": {"namespace": namespace, "name": name,
            "labels": {}, "annotations": {}}});
        for word in words {
            let (key, value) = word.split_once('=').unwrap();
            let (metadata, key) = match key {
                "owner" => (&mut object["metadata"]["annotations"], OWNER),
                "about" => (&mut object["metadata"]["annotations"], DESCRIPTION),
                "needs" => (&mut object["metadata"]["annotations"], DEPENDS),
                "pods-need" => {
                    (&mut object["spec"]["template"]["metadata"]["annotations"], DEPENDS)
                }
                "runs-need" => {
                    let template = &mut object["spec"]["jobTemplate"]["spec"]["template"];
                    (&mut template["metadata"]["annotations"], DEPENDS)
                }
                "by" => {
                    object["metadata"]["ownerReferences"] = json!([{"name": value}]);
                    continue;
                }
                label => (&mut object["metadata"]["labels"], label),
            };
            metadata[key] = json!(value);
        }
        (plural, object)
    }

    fn check(objects: &str, expected: &Expect) {
        let objects: Vec<_> = objects.lines().map(object).collect();
        expected.assert_eq(&(table(&group(&objects), true).lines(true).join("\n") + "\n"));
    }

    #[test]
    fn objects_make_applications_that_need_each_other() {
        check(
            "deployments shop/web app=old app.kubernetes.io/name=web owner=ann about=front pods-need=quotes,db.data
             statefulsets data/db app=db owner=bob
             cronjobs shop/nightly app=nightly runs-need=web,quotes
             pods shop/web-1 app=web by=web-5f
             services shop/front app.kubernetes.io/name=web owner=eve
             services shop/web app.kubernetes.io/name=web
             services data/db app=db",
            &expect![[r#"
                NAMESPACE   NAME      OWNER   DEPENDS ON       NEEDED BY   DESCRIPTION
                data        db        bob     -                web.shop    -
                shop        nightly   -       quotes,web       -           -
                shop        web       ann     db.data,quotes   nightly     front
            "#]],
        );
    }

    #[test]
    fn what_says_nothing_is_called_as_it_is() {
        check(
            "pods default/alone needs=,web,,alone",
            &expect![[r#"
                NAMESPACE   NAME    OWNER   DEPENDS ON   NEEDED BY   DESCRIPTION
                default     alone   -       alone,web    -           -
            "#]],
        );
    }
}
