//! What every example says of itself by labels and annotations, and who shows it.

use std::path::PathBuf;

use coracle_e2e::{Cluster, root};
use serde_json::{Value, json};

/// The objects of manifests, as kubectl reads them.
fn objects(cluster: &Cluster, from: &[&str]) -> Vec<Value> {
    let read = ["create", "--dry-run=client", "--validate=false", "-o", "json"];
    let read = cluster.run(&[&read[..], from].concat());
    let objects = serde_json::Deserializer::from_str(&read).into_iter::<Value>();
    objects.map(Result::unwrap).collect()
}

/// Each object of each example says which application it is of, what it is for, whose it is, and what it needs.
pub(crate) fn manifests_say_what_they_are(cluster: &Cluster) {
    let examples = root().join("examples");
    let files = std::fs::read_dir(&examples).unwrap().filter_map(|entry| {
        let folder = entry.unwrap().path();
        let files = std::fs::read_dir(folder).ok()?.map(|file| file.unwrap().path());
        let manifest = |file: &PathBuf| {
            file.extension().is_some_and(|extension| extension == "yaml")
                && !file.ends_with("kustomization.yaml")
        };
        Some(files.filter(manifest).collect::<Vec<_>>())
    });
    let files: Vec<String> =
        files.flatten().map(|file| file.to_str().unwrap().to_owned()).collect();
    assert!(files.len() > 10, "{files:?}");
    let from: Vec<&str> = files.iter().flat_map(|file| ["-f", file.as_str()]).collect();
    let overlay = examples.join("overlay");
    let mut all = objects(cluster, &from);
    all.extend(objects(cluster, &["-k", overlay.to_str().unwrap()]));
    for object in &all {
        let metadata = &object["metadata"];
        let labels = ["app", "app.kubernetes.io/name", "app.kubernetes.io/part-of"];
        let pods = &object["spec"]["template"]["metadata"];
        let labelled = [metadata, if pods.is_null() { metadata } else { pods }];
        for (label, metadata) in labels.iter().flat_map(|label| labelled.map(|m| (label, m))) {
            assert!(metadata["labels"][label].is_string(), "no label {label}: {object}");
        }
        // What kustomize makes of literals has no annotations to say it in.
        let generated = object["kind"] == "ConfigMap" && metadata["labels"]["rel"].is_string();
        for annotation in ["kubernetes.io/description", "coracle.dev/owner"] {
            let said = metadata["annotations"][annotation].is_string();
            assert!(said || generated, "no annotation {annotation}: {object}");
        }
        needs_are_said(object);
    }
}

/// What a pod asks by a Service's name stands in its annotation, and so does the API.
fn needs_are_said(object: &Value) {
    let pod = if object["kind"] == "Pod" { object } else { &object["spec"]["template"] };
    let said =
        pod["metadata"]["annotations"]["coracle.dev/depends-on"].as_str().unwrap_or_default();
    let said: Vec<&str> = said.split(',').collect();
    let spec = pod["spec"].to_string();
    let urls = regex::Regex::new("http://([a-z][-a-z0-9]*)/").unwrap();
    let mut needs: Vec<&str> =
        urls.captures_iter(&spec).map(|url| url.extract::<1>().1[0]).collect();
    needs.extend(spec.contains("SSL_CERT_FILE").then_some("kubernetes"));
    for service in needs.into_iter().filter(|name| *name != "localhost") {
        assert!(said.contains(&service), "{service} is not in depends-on: {object}");
    }
}

/// `coracle apps`: whose an application is, and who needs whom.
pub(crate) fn applications_are_listed(cluster: &Cluster) {
    let output = cluster.coracle(&["apps", "-o", "json"]);
    assert!(output.ok, "{output:?}");
    let listed: Value = serde_json::from_str(&output.stdout).unwrap();
    let of = |name: &str| {
        let mut apps = listed["applications"].as_array().unwrap().iter();
        apps.find(|app| app["name"] == name).unwrap_or_else(|| panic!("no {name}: {listed}"))
    };
    let web = of("web");
    let said = [&web["owner"], &web["description"]];
    assert_eq!(said, ["shop-team@example.com", "The front of the shop."], "{web}");
    assert_eq!(web["dependsOn"], json!(["quotes"]), "{web}");
    let needed = of("discovery")["neededBy"].to_string();
    assert!(needed.contains("\"web\""), "the Service quotes is needed: {listed}");
    let shown = cluster.coracle(&["apps", "-l", "app=web"]);
    let lines: Vec<Vec<&str>> =
        shown.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(lines, [["NAME", "OWNER", "DEPENDS"], ["web", "shop-team@example.com", "quotes"]]);
}
