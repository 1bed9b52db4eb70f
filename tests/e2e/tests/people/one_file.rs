//! From one file to a service that answers.

use std::collections::BTreeSet;

use coracle_e2e::{Cluster, eventually};

use crate::ask_for;

/// Five pods, a Service and a way in, as one writes them into one file.
const FIVE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: five}
spec:
  replicas: 5
  selector: {matchLabels: {app: five}}
  template:
    metadata: {labels: {app: five}}
    spec:
      containers:
        - name: web
          image: registry.coracle.internal/http-behave:1
          ports: [{name: http, containerPort: 8080}]
          env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
---
apiVersion: v1
kind: Service
metadata: {name: five}
spec:
  selector: {app: five}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: five}
spec:
  rules:
    - host: five.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: five, port: {number: 80}}}}]}
";

/// Row `ux.five-minutes`: one file and one command, on the machine that is there, and five pods share what is asked from
/// outside and by name. How long that took is printed, for people.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "how long it took is shown")]
pub(crate) fn is_a_service(cluster: &Cluster, http: u16) {
    let began = std::time::Instant::now();
    cluster.apply(FIVE);
    let asked = || ask_for(http, "five.example.com", "/env?POD");
    eventually("it answers from outside", || match asked() {
        said if said.ends_with("\n200") => Ok(()),
        said => Err(said),
    });
    println!("from one file to an answer: {:?}", began.elapsed());
    eventually("five pods share the requests", || {
        let pods: BTreeSet<String> = (0..40).map(|_| asked()).collect();
        let five = pods.len() == 5 && pods.iter().all(|said| said.starts_with("five-"));
        if five { Ok(()) } else { Err(pods) }
    });
    let by_name = "wget -qO- http://five.default.svc.cluster.local/env?POD | cut -d - -f 1";
    cluster.exec_prints("tools", by_name, "five");
    cluster.run(&["delete", "deployment,service,ingress", "five", "--wait=false"]);
}
