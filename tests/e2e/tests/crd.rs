//! Users' kinds with unmodified kubectl: a definition, its objects, and what becomes of both.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, KUBECTL_NEW, KUBECTL_OLD, eventually};
use serde_json::json;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: websites.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: websites, kind: Website, shortNames: [web], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Host, type: string, jsonPath: .spec.host}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Color, type: string, jsonPath: .spec.color, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What the website should be.
            required: [host]
            properties:
              host: {type: string, description: Name under which it is reached., maxLength: 20}
              color: {type: string, enum: [red, blue]}
              replicas: {type: integer, default: 1, minimum: 0}
            x-kubernetes-validations:
            - {rule: 'self.replicas <= 5', message: too many replicas}
            - {rule: 'self.host == oldSelf.host', message: host is immutable}
          status:
            type: object
            properties: {replicas: {type: integer}}
";

const SITE: &str = "
apiVersion: example.com/v1
kind: Website
metadata: {name: shop}
spec: {host: shop.local, color: red}
";

#[test]
fn the_newest_kubectl() {
    all(KUBECTL_NEW);
}

#[test]
fn the_oldest_kubectl() {
    all(KUBECTL_OLD);
}

#[test]
fn short_names_of_all_kinds() {
    let cluster = Cluster::start_with(KUBECTL_NEW);
    let short = "po,rs,deploy,sa,hpa,ns,cm,svc,ep,pv,pvc,ds,sts,cj,no,ing,netpol,pdb,sc,crd";
    eventually("one of each is there", || {
        let listed = cluster.run(&["get", short, "-o", "name"]);
        let is_there = |one: &&str| listed.lines().any(|line| line.starts_with(one));
        let wanted = ["serviceaccount/default", "namespace/default", "service/kubernetes", "node/"];
        if wanted.iter().all(is_there) { Ok(()) } else { Err(listed) }
    });
}

fn all(version: &str) {
    let mut cluster = Cluster::start_with(version);
    define(&cluster);
    objects(&cluster);
    refusals(&cluster);
    status_and_scale(&cluster);
    cluster.kill_server();
    cluster.start_server();
    cluster.wait_ready();
    assert_eq!(cluster.get(&["website", "shop"])["spec"]["host"], "shop.local");
    removal(&cluster);
}

fn define(cluster: &Cluster) {
    let created = cluster.apply(DEFINITION);
    assert_eq!(
        created,
        "customresourcedefinition.apiextensions.k8s.io/websites.example.com created\n"
    );
    cluster.run(&[
        "wait",
        "--for=condition=Established",
        "crd/websites.example.com",
        "--timeout=180s",
    ]);
    assert!(cluster.run(&["get", "crd"]).contains("websites.example.com"));
    let resources = cluster.run(&["api-resources", "--api-group=example.com"]);
    assert!(resources.contains("websites") && resources.contains("web"), "{resources}");
    let explained = cluster.run(&["explain", "website.spec"]);
    assert!(explained.contains("What the website should be."), "{explained}");
    assert!(explained.contains("-required-") && explained.contains("replicas"), "{explained}");
}

fn objects(cluster: &Cluster) {
    assert_eq!(cluster.apply(SITE), "website.example.com/shop created\n");
    assert_eq!(cluster.apply(SITE), "website.example.com/shop unchanged\n");
    let table = cluster.run(&["get", "web"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["NAME", "HOST", "REPLICAS"], ["shop", "shop.local", "1"]]);
    let wide = cluster.run(&["get", "websites", "shop", "-o", "wide"]);
    assert!(wide.contains("COLOR") && wide.contains("red"), "{wide}");
    assert!(cluster.run(&["get", "all"]).contains("website.example.com/shop"));
    assert_eq!(cluster.get(&["web", "shop"])["spec"]["replicas"], 1);
    let red = cluster.run(&["get", "web", "--field-selector", "spec.color=red", "-o", "name"]);
    assert_eq!(red, "website.example.com/shop\n");
    let blue = cluster.run(&["get", "web", "--field-selector", "spec.color=blue", "-o", "name"]);
    assert_eq!(blue, "");
    let changed = cluster.apply(&SITE.replace("red", "blue"));
    assert_eq!(changed, "website.example.com/shop configured\n");
    let applied = cluster.kubectl_with(
        &["apply", "--server-side", "--force-conflicts", "--field-manager=test", "-f", "-"],
        &SITE.replace("color: red", "color: red, replicas: 2"),
    );
    assert!(applied.ok, "{applied:?}");
    assert_eq!(cluster.get(&["web", "shop"])["spec"]["replicas"], 2);
    assert!(cluster.run(&["describe", "website", "shop"]).contains("shop.local"));
}

fn refusals(cluster: &Cluster) {
    let refused = |manifest: &str, words: &str| {
        let output = cluster.kubectl_with(&["apply", "-f", "-"], manifest);
        assert!(!output.ok && output.stderr.contains(words), "{words}: {output:?}");
    };
    let named = |name: &str, spec: &str| {
        format!(
            "apiVersion: example.com/v1\nkind: Website\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    refused(&named("a", "{color: red}"), "spec.host: Required value");
    refused(
        &named("a", "{host: h, color: green}"),
        "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
    );
    refused(
        &named("a", "{host: h, replicas: 6}"),
        "spec: Invalid value: \"object\": too many replicas",
    );
    refused(&named("a", "{host: h, junk: 1}"), "unknown field \"spec.junk\"");
    refused(&named("shop", "{host: other}"), "host is immutable");
    let bad = DEFINITION.replace("self.replicas <= 5", "self.replicas <=");
    refused(&bad, "x-kubernetes-validations[0].rule: Invalid value");
}

fn status_and_scale(cluster: &Cluster) {
    let patched = cluster.run(&[
        "patch",
        "web",
        "shop",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"replicas":2}}"#,
    ]);
    assert_eq!(patched, "website.example.com/shop patched\n");
    assert_eq!(cluster.get(&["web", "shop"])["status"], json!({"replicas": 2}));
    let before = cluster.get(&["web", "shop"])["metadata"]["generation"].as_i64().unwrap();
    cluster.run(&["scale", "web/shop", "--replicas=3"]);
    let after = cluster.get(&["web", "shop"]);
    assert_eq!(after["spec"]["replicas"], 3);
    assert_eq!(after["metadata"]["generation"], before + 1);
}

fn removal(cluster: &Cluster) {
    cluster.run(&["delete", "crd", "websites.example.com"]);
    let gone = cluster.kubectl(&["get", "websites"]);
    assert!(!gone.ok && gone.stderr.contains("websites"), "{gone:?}");
    cluster.apply(DEFINITION);
    let established = "--for=condition=Established";
    cluster.run(&["wait", established, "crd/websites.example.com", "--timeout=180s"]);
    let none = cluster.run(&["get", "websites", "-o", "name"]);
    assert_eq!(none, "", "objects went with their definition");
}
