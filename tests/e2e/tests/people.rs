//! What people find ready: side-cars, examples, and policies about what components may import.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "people/conventions.rs"]
mod conventions;
#[path = "people/one_file.rs"]
mod one_file;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_e2e::{
    BEHAVE, Cluster, HELLO, build_guests, eventually, free_port, pod, root, service,
};
use serde_json::{Map, Value, json};

fn apply_file(cluster: &Cluster, file: &str) {
    let path = root().join(file);
    cluster.run(&["apply", "-f", path.to_str().unwrap()]);
}

/// Pushes the components of the side-cars, and gives their folder.
fn push_sidecars(cluster: &Cluster) -> PathBuf {
    build_guests("examples/sidecars");
    let built = root().join("examples/target/wasm32-wasip2/release");
    for name in ["api-proxy", "leader-elect", "git-sync", "log-tail", "list-pods"] {
        cluster.push(&format!("sidecars/{name}:1"), &built.join(format!("{name}.wasm")));
    }
    built
}

#[test]
fn what_runs_beside_others() {
    let guests = build_guests("tests/guests");
    let http = free_port();
    let cluster = Cluster::start_flags(|_| {
        vec![format!("--http-port={http}"), format!("--https-port={}", free_port())]
    });
    cluster.wait_ready();
    cluster.push_guests(&guests);
    cluster.push("git:1", &guests.join("git-http.wasm"));
    push_sidecars(&cluster);
    apply_file(&cluster, "examples/sidecars/rights.yaml");
    // What takes a while starts first.
    let leader = root().join("examples/sidecars/leader.yaml");
    cluster.run(&["apply", "-f", leader.to_str().unwrap()]);
    apply_file(&cluster, "examples/init-containers/init-containers.yaml");
    apply_file(&cluster, "examples/discovery/discovery.yaml");
    tools_are_an_image(&cluster);
    one_file::is_a_service(&cluster, http);
    the_api_is_on_loopback(&cluster);
    programs_speak_to_the_api(&cluster);
    logs_of_the_node(&cluster);
    let repository = Repository::start(&cluster);
    branches_have_urls(&cluster, &repository, http, &guests.join("hello_http.wasm"));
    a_folder_follows_a_branch(&cluster, &repository);
    init_containers(&cluster);
    both_ways_to_find_a_service(&cluster);
    variants_of_an_application(&cluster);
    data_is_moved_when_a_set_shrinks(&cluster);
    one_of_three_leads(&cluster);
}

/// `coracle.dev/toolbox`: no registry has it, every host does.
fn tools_are_an_image(cluster: &Cluster) {
    let ip =
        cluster.get(&["service", "kubernetes"])["spec"]["clusterIP"].as_str().unwrap().to_owned();
    // Without `--restart=Never` kubectl waits for a moment in which the pod is Ready, and there may be none.
    let run = ["run", "-it", "--rm", "t", "--image=coracle.dev/toolbox", "--restart=Never", "--"];
    // What is printed before kubectl has attached to a pod that still runs is lost, here as everywhere.
    eventually("nslookup prints the address", || {
        cluster.run(&["delete", "pod", "t", "--now", "--ignore-not-found"]);
        let said = cluster.kubectl(&[&run[..], &["nslookup", "kubernetes.default"]].concat());
        let told = said.ok && said.stdout.contains(&format!("Address: {ip}"));
        if told { Ok(()) } else { Err(said) }
    });
    let tools = ["dig +short kubernetes.default.svc.cluster.local", "nc -z kubernetes.default 443"];
    let script = format!(
        "{} && curl -s -o /dev/null -w '%{{http_code}}' http://quotes/",
        tools.join(" && ")
    );
    cluster.run(&[
        "run",
        "tools",
        "--image=coracle.dev/toolbox",
        "--restart=Never",
        "--command",
        "--",
        "sh",
        "-c",
        "sleep 1000000",
    ]);
    cluster.ready("tools");
    cluster.ready("quotes");
    cluster.exec_prints("tools", &script, &format!("{ip}\n200"));
}

/// The main container has no token in its request, and no more rights than the pod's account.
fn the_api_is_on_loopback(cluster: &Cluster) {
    apply_file(cluster, "examples/sidecars/api-proxy.yaml");
    cluster.ready("proxied");
    let proxy = "http://localhost:8001/api/v1/namespaces/default";
    let names = format!("curl -s {proxy}/pods | grep -q '\"name\": \"proxied\"' && echo found");
    cluster.exec_prints("proxied", &names, "found");
    let code = |path: &str| format!("curl -s -o /dev/null -w '%{{http_code}}' {path}");
    cluster.exec_prints("proxied", &code(&format!("{proxy}/secrets")), "403");
    cluster.exec_prints("proxied", &code(&format!("-X DELETE {proxy}/pods/quotes")), "403");
    // Its port is no other pod's.
    let ip = cluster.get(&["pod", "proxied"])["status"]["podIP"].as_str().unwrap().to_owned();
    let said = cluster.exec("tools", &format!("nc -z {ip} 8001"));
    assert!(!said.ok, "{said:?}");
}

fn programs_speak_to_the_api(cluster: &Cluster) {
    let says = |wanted: &dyn Fn(&str) -> bool| {
        eventually("the program says it", || {
            let log = cluster.kubectl(&["logs", "in-cluster", "--tail=1"]);
            if wanted(&log.stdout) { Ok(()) } else { Err(log) }
        });
    };
    says(&|log| log.starts_with("pods: ") && log.contains(" in-cluster "));
    cluster.run(&["delete", "rolebinding", "reader"]);
    says(&|log| {
        log.contains("\"system:serviceaccount:default:reader\" cannot list")
            && log.contains("(403)")
    });
}

/// `examples/sidecars/logs.yaml`: a line of any pod of the node comes out once.
fn logs_of_the_node(cluster: &Cluster) {
    apply_file(cluster, "examples/sidecars/logs.yaml");
    let script = "for n in 1 2 3; do echo line-$n; done; sleep 1000000";
    let talks =
        json!({"containers": [{"name": "main", "image": BEHAVE, "command": ["sh", "-c", script]}]});
    cluster.make(&[pod("talks", &talks)]);
    let wanted = ["line-1", "line-2", "line-3"].map(|line| format!("default/talks/main: {line}"));
    eventually("the lines are collected", || {
        let log = cluster.kubectl(&["logs", "daemonset/log-tail"]);
        let own: Vec<&str> = log.stdout.lines().filter(|line| line.contains("/talks/")).collect();
        let other = log.stdout.contains("/in-cluster/main: ");
        if own == wanted && other { Ok(()) } else { Err(log) }
    });
}

/// A git repository of the test, and a server of it in the cluster.
struct Repository<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
}

impl<'a> Repository<'a> {
    fn start(cluster: &'a Cluster) -> Self {
        let folder = cluster.folder().join("repository");
        std::fs::create_dir_all(&folder).unwrap();
        let repository = Self { cluster, folder };
        repository.git(&["init", "-q", "-b", "main"], &[]);
        repository.write("page.txt", b"first\n");
        // Many lines, so that git sends a later version as the difference to another file.
        let long: String = (0..2000).map(|n| format!("line {n}\n")).collect();
        repository.write("deep/er/long.txt", long.as_bytes());
        repository.write("deep/er/longer.txt", format!("{long}one more\n").as_bytes());
        std::os::unix::fs::symlink("page.txt", repository.folder.join("link.txt")).unwrap();
        repository.push();
        let server = json!({"containers": [{"name": "git", "image": "registry.coracle.internal/git:1",
                "ports": [{"containerPort": 8080}], "volumeMounts": [{"name": "srv", "mountPath": "/srv"}]}],
            "volumes": [{"name": "srv", "configMap": {"name": "srv"}}]});
        cluster.make(&[pod("git", &server), service("git", 8080)]);
        repository
    }

    fn git(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        output.stdout
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Commits the folder to the branch that is checked out, and serves all branches.
    fn push(&self) {
        self.git(&["add", "--all"], &[]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "as it is now"], &[]);
        self.serve();
    }

    /// Lets git answer what clients will ask, and serves the answers.
    fn serve(&self) {
        let upload = ["upload-pack", "--stateless-rpc"];
        let mut refs = b"001e# service=git-upload-pack\n0000".to_vec();
        refs.extend(self.git(&[upload[0], upload[1], "--advertise-refs", "."], &[]));
        let mut files = Map::from_iter([("refs".to_owned(), Value::from(STANDARD.encode(refs)))]);
        let heads = self.git(&["for-each-ref", "--format=%(objectname)", "refs/heads"], &[]);
        for commit in String::from_utf8(heads).unwrap().lines() {
            let line = |text: String| format!("{:04x}{text}", text.len() + 4);
            let want = line(format!("want {commit} shallow agent=test\n"));
            let request =
                format!("{want}{}0000{}", line("deepen 1\n".into()), line("done\n".into()));
            let answer = self.git(&[upload[0], upload[1], "."], request.as_bytes());
            files.insert(commit.to_owned(), STANDARD.encode(answer).into());
        }
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "srv"}, "binaryData": files});
        let output =
            self.cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &map.to_string());
        assert!(output.ok, "{output:?}");
    }
}

/// `examples/sidecars/git-sync.yaml`: a push changes what another container sees.
fn a_folder_follows_a_branch(cluster: &Cluster, repository: &Repository<'_>) {
    let file = std::fs::read_to_string(root().join("examples/sidecars/git-sync.yaml")).unwrap();
    cluster.apply(&file.replace("value: \"10\"", "value: \"1\""));
    cluster.ready("synced");
    let cat = "cat /files/current/page.txt /files/current/link.txt; tail -n 1 /files/current/deep/er/longer.txt";
    cluster.exec_prints("synced", cat, "first\nfirst\none more");
    repository.write("page.txt", b"second\n");
    std::fs::remove_file(repository.folder.join("link.txt")).unwrap();
    repository.push();
    cluster.exec_prints(
        "synced",
        "cat /files/current/page.txt; ls /files/current",
        "second\ndeep\npage.txt",
    );
    // What was there before is removed.
    cluster.exec_prints("synced", "ls /files | wc -l | tr -d ' '", "2");
}

/// What the way in answers for a host: the body, then the status.
fn ask(port: u16, host: &str) -> String {
    ask_for(port, host, "/")
}

/// The same for a path.
fn ask_for(port: u16, host: &str, path: &str) -> String {
    let (url, host) = (format!("http://127.0.0.1:{port}{path}"), format!("Host: {host}"));
    let arguments = ["-s", "--max-time", "20", "-w", "%{http_code}", "-H", &host, &url];
    let output = Command::new("curl").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `examples/branch-deploy`: a branch is a URL for as long as it is there.
fn branches_have_urls(
    cluster: &Cluster,
    repository: &Repository<'_>,
    http: u16,
    component: &std::path::Path,
) {
    let program =
        std::fs::read_to_string(root().join("examples/branch-deploy/src/main.rs")).unwrap();
    assert!(program.lines().count() < 300);
    build_guests("examples/branch-deploy");
    let built = root().join("examples/target/wasm32-wasip2/release/branch-deploy.wasm");
    cluster.push("branch-deploy:1", &built);
    let file =
        std::fs::read_to_string(root().join("examples/branch-deploy/branch-deploy.yaml")).unwrap();
    cluster.apply(&file.replace("value: \"10\"", "value: \"1\""));
    repository.git(&["checkout", "-q", "-b", "feat-x"], &[]);
    repository.write("app.wasm", &std::fs::read(component).unwrap());
    repository.push();
    let says = |host: &str, wanted: &dyn Fn(&str) -> bool| {
        eventually(host, || {
            let said = ask(http, host);
            if wanted(&said) {
                Ok(())
            } else {
                Err((said, cluster.kubectl(&["logs", "deploy/branch-deploy"])))
            }
        });
    };
    says("feat-x.local", &|said| said == "hello\n200");
    // An image that somebody else has built.
    repository.git(&["checkout", "-q", "-b", "Other/One", "main"], &[]);
    repository.write("image", HELLO.as_bytes());
    repository.push();
    let rules = "jsonpath={.items[*].spec.rules[0].host}";
    let list = ["get", "ingress", "-l", "branch-deploy=shop", "-o", rules];
    let hosts = eventually("the other branch is there", || {
        let hosts = cluster.run(&list);
        if hosts.split(' ').count() == 2 { Ok(hosts) } else { Err(hosts) }
    });
    let other = hosts.split(' ').find(|host| host.starts_with("other-one-")).unwrap().to_owned();
    says(&other, &|said| said == "hello\n200");
    repository.git(&["checkout", "-q", "main"], &[]);
    repository.git(&["branch", "-q", "-D", "feat-x"], &[]);
    repository.serve();
    says("feat-x.local", &|said| said.ends_with("404"));
    let left = ["get", "deploy,svc,ingress", "-l", "branch=feat-x", "-o", "name"];
    eventually("all of it is gone", || {
        let left = cluster.run(&left);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    assert_eq!(cluster.run(&list), other);
}

/// Waits until what a pod has printed is as it should be.
fn logs(cluster: &Cluster, pod: &str, wanted: &dyn Fn(&str) -> bool) {
    eventually(&format!("{pod} has printed it"), || {
        let log = cluster.kubectl(&["logs", pod]);
        if wanted(&log.stdout) { Ok(()) } else { Err(log) }
    });
}

/// `examples/init-containers`: each pod waits for what it needs, and goes on then.
fn init_containers(cluster: &Cluster) {
    for name in ["wait-a-while", "template", "clone"] {
        cluster.ready(name);
    }
    let node = cluster.get(&["pod", "template"])["spec"]["nodeName"].as_str().unwrap().to_owned();
    logs(cluster, "template", &|log| log == format!("name = template\nnode = {node}\n"));
    logs(cluster, "clone", &|log| ["first\n", "second\n"].contains(&log));
    let waits = |name: &str| {
        let pod = cluster.get(&["pod", name]);
        assert_ne!(pod["status"]["initContainerStatuses"][0]["ready"], true, "{pod}");
    };
    waits("wait-for");
    waits("register");
    cluster.run(&["run", "web", &format!("--image={HELLO}"), "--port=8080"]);
    cluster.run(&["expose", "pod", "web", "--port=80"]);
    cluster.ready("wait-for");
    // It may be asked more than once: whoever does not see the answer in time asks again.
    let answer =
        "printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n'";
    let listen = format!("while true; do {answer} | nc -l -p 8080; echo; done");
    let registrar = json!({"containers": [{"name": "main", "image": "coracle.dev/toolbox", "command": ["sh", "-c", listen]}]});
    cluster.make(&[pod("registrar", &registrar), service("registrar", 8080)]);
    let registered = cluster.ready("register");
    let ip = registered["status"]["podIP"].as_str().unwrap();
    logs(cluster, "registrar", &|log| log.contains(&format!("name=register&ip={ip}")));
}

fn both_ways_to_find_a_service(cluster: &Cluster) {
    for job in ["job/by-environment", "job/by-name"] {
        cluster.run(&["wait", "--for=condition=complete", job, "--timeout=180s"]);
        eventually("the client has said what it found", || {
            let said = cluster.kubectl(&["logs", job]);
            if said.stdout.ends_with("found\n") { Ok(()) } else { Err(said) }
        });
    }
}

/// `examples/overlay`: one label finds every object.
fn variants_of_an_application(cluster: &Cluster) {
    let folder = root().join("examples/overlay");
    cluster.run(&["delete", "pod,service", "web", "--now"]);
    cluster.run(&["apply", "-k", folder.to_str().unwrap()]);
    cluster.run(&["rollout", "status", "deployment/production-web", "--timeout=180s"]);
    let made = cluster.run(&["get", "-k", folder.to_str().unwrap(), "-o", "name"]);
    let found =
        cluster.run(&["get", "all,cm", "-l", "app=web,app.kubernetes.io/name=web", "-o", "name"]);
    for object in made.lines() {
        assert!(found.lines().any(|one| one == object), "{object} is not in {found}");
    }
    assert_eq!(made.lines().count(), 3, "{made}");
    let all = cluster.run(&["get", "all", "-l", "app=web", "-o", "name"]);
    let count = |kind: &str| all.lines().filter(|line| line.starts_with(kind)).count();
    let counts = ["pod/", "service/", "deployment.apps/", "replicaset.apps/"].map(count);
    assert_eq!(counts, [2, 1, 1, 1], "{all}");
    conventions::manifests_say_what_they_are(cluster);
    conventions::applications_are_listed(cluster);
}

/// `examples/drain`: what pods that are scaled away have kept is with the first one then.
fn data_is_moved_when_a_set_shrinks(cluster: &Cluster) {
    build_guests("examples/drain");
    cluster.push("drain:1", &root().join("examples/target/wasm32-wasip2/release/drain.wasm"));
    apply_file(cluster, "examples/drain/drain.yaml");
    cluster.run(&["rollout", "status", "statefulset/letters", "--timeout=180s"]);
    for pod in ["letters-0", "letters-1", "letters-2"] {
        cluster.exec_prints(pod, "cat /data/*", &format!("of {pod}"));
    }
    cluster.run(&["scale", "statefulset/letters", "--replicas=1"]);
    let claims = ["get", "pvc", "-o", "jsonpath={.items[*].metadata.name}"];
    eventually("the other claims are gone", || {
        let claims = cluster.run(&claims);
        let log = || cluster.kubectl(&["logs", "deploy/drain"]);
        if claims == "data-letters-0" { Ok(()) } else { Err((claims, log())) }
    });
    cluster.exec_prints("letters-0", "cat /data/*", "of letters-0\nof letters-1\nof letters-2");
    cluster.run(&["delete", "statefulset,deployment", "letters", "drain", "--ignore-not-found"]);
}

/// Row `ha.leader-sidecar`: exactly one says that it leads, and after its end another.
fn one_of_three_leads(cluster: &Cluster) {
    cluster.run(&["rollout", "status", "deployment/elected", "--timeout=180s"]);
    let who = || {
        let names = cluster.run(&[
            "get",
            "pods",
            "-l",
            "app=elected",
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ]);
        let asked = names.split(' ').filter(|name| {
            let said = cluster.exec(name, "wget -T 5 -qO- http://localhost:4040/");
            said.stdout.contains("\"leader\":true")
        });
        asked.map(str::to_owned).collect::<Vec<_>>()
    };
    // The name of the one that leads, and the Lease by which it does.
    let one = |before: &str| {
        eventually("one leads, and says its name", || match who().as_slice() {
            [one] if one != before => {
                let said = cluster.exec(one, "wget -T 5 -qO- http://localhost:4040/");
                let named = said.stdout.contains(&format!("\"name\":\"{one}\""));
                let lease = cluster.get(&["lease", "elected"])["spec"].clone();
                let holds = lease["holderIdentity"] == one.as_str();
                if named && holds { Ok((one.clone(), lease)) } else { Err(vec![said.stdout]) }
            }
            other => Err(other.to_vec()),
        })
    };
    let (first, held) = one("");
    // Another leads once this time has passed without a word; it looks three times within it. What a busy machine adds
    // is not the lease's: no more than this may pass by design.
    let seconds = held["leaseDurationSeconds"].as_u64().unwrap();
    assert!(seconds + seconds.div_ceil(3) <= 15, "{held}");
    cluster.run(&["delete", "pod", &first, "--grace-period=0", "--force"]);
    let (_, taken) = one(&first);
    assert!(
        taken["leaseTransitions"].as_u64() > held["leaseTransitions"].as_u64(),
        "{held} {taken}"
    );
}

fn policy(name: &str, more: Value) -> Value {
    let mut spec = json!({"rules": [{"expression": "capability.packageName != 'wasi:sockets'",
        "message": "ask the platform team"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "policy.coracle.dev/v1alpha1", "kind": "CapabilityPolicy",
        "metadata": {"name": name}, "spec": spec})
}

#[test]
fn policies_say_what_components_import() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    cluster.push("net-probe:1", &guests.join("net-probe.wasm"));
    cluster.push("web:1", &guests.join("hello_http.wasm"));
    cluster.push("web:2", &guests.join("net-probe.wasm"));
    for space in ["walled", "watched"] {
        cluster.run(&["create", "namespace", space]);
    }
    let of = |space: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}}});
    let mut audit = of("watched");
    audit["mode"] = json!("Audit");
    eventually("the kind is served", || {
        let both = json!({"apiVersion": "v1", "kind": "List",
            "items": [policy("no-sockets", of("walled")), policy("watch-sockets", audit.clone())]});
        let output = cluster.kubectl_with(&["apply", "-f", "-"], &both.to_string());
        if output.ok { Ok(()) } else { Err(output) }
    });
    let broken = json!({"rules": [{"expression": "capabilty.name == ''"}]});
    let output =
        cluster.kubectl_with(&["create", "-f", "-"], &policy("broken", broken).to_string());
    assert!(output.stderr.contains("spec.rules[0].expression"), "{output:?}");
    forbidden_imports_are_refused(&cluster);
    audited_imports_are_told(&cluster);
}

fn created(cluster: &Cluster, space: &str, object: &Value) -> coracle_e2e::Output {
    cluster.kubectl_with(&["-n", space, "create", "-f", "-"], &object.to_string())
}

fn forbidden_imports_are_refused(cluster: &Cluster) {
    let of = |name: &str, image: &str| {
        pod(name, &json!({"containers": [{"name": "c", "image": image}]}))
    };
    let web = |version: u8| format!("registry.coracle.internal/web:{version}");
    let mut fits = of("fits", &web(1));
    fits["spec"]["containers"][0]["securityContext"] =
        json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}});
    let output = created(cluster, "walled", &fits);
    let warned = "spec.containers[0].securityContext.capabilities.add: has no effect on Coracle";
    assert!(output.ok && output.stderr.contains(warned), "{output:?}");
    let stored = cluster.get(&["-n", "walled", "pod", "fits"]);
    let kept = &stored["spec"]["containers"][0]["securityContext"]["capabilities"];
    assert_eq!(*kept, json!({"add": ["NET_ADMIN"], "drop": ["ALL"]}));
    eventually("it runs, and says what it imports", || {
        let pod = cluster.get(&["-n", "walled", "pod", "fits"]);
        let said = pod["metadata"]["annotations"]["imports.coracle.dev/c"].is_string();
        if said && pod["status"]["phase"] == "Running" { Ok(()) } else { Err(pod) }
    });
    // Another version asks for more: it is refused, the import named, and the difference shown.
    let output = created(cluster, "walled", &of("asks", &web(2)));
    let said = &output.stderr;
    let parts = [
        "pods \"asks\" is forbidden: container \"c\": image \"registry.coracle.internal/web:2\" imports ",
        "wasi:sockets/tcp@0.2.",
        "which CapabilityPolicy \"no-sockets\" forbids (ask the platform team)",
        "compared with \"registry.coracle.internal/web:1\" it asks for ",
        "+wasi:sockets/tcp@0.2.",
    ];
    assert!(!output.ok && parts.iter().all(|part| said.contains(part)), "{said}");
    // So is a change of a pod that is there, and a template is warned of.
    let image = format!("c={}", web(2));
    let output = cluster.kubectl(&["-n", "walled", "set", "image", "pod/fits", &image]);
    assert!(output.stderr.contains("which CapabilityPolicy \"no-sockets\" forbids"), "{output:?}");
    let template = json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": web(2)}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": template}});
    let output = created(cluster, "walled", &deployment);
    assert!(output.ok && output.stderr.contains("its pods will be refused"), "{output:?}");
    // Nobody takes the terms off a pod.
    let off = "policy.coracle.dev/capabilities-";
    cluster.run(&["-n", "walled", "annotate", "pod", "fits", off]);
    let terms = &cluster.get(&["-n", "walled", "pod", "fits"])["metadata"]["annotations"]["policy.coracle.dev/capabilities"];
    assert!(terms.as_str().unwrap().contains("no-sockets"));
    // The server knows nothing of this image: the host refuses it.
    assert!(created(cluster, "walled", &of("tools", "coracle.dev/toolbox")).ok);
    eventually("the host refuses it", || {
        let pod = cluster.get(&["-n", "walled", "pod", "tools"]);
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default();
        let told =
            waiting["reason"] == "CapabilityForbidden" && message.contains("wasi:sockets/tcp@0.2.");
        if told { Ok(()) } else { Err(pod["status"].clone()) }
    });
    assert!(created(cluster, "default", &of("elsewhere", &web(2))).ok);
}

fn audited_imports_are_told(cluster: &Cluster) {
    let image = "registry.coracle.internal/net-probe:1";
    let output = created(
        cluster,
        "watched",
        &pod("told", &json!({"containers": [{"name": "c", "image": image}]})),
    );
    let warned = "which CapabilityPolicy \"watch-sockets\" forbids";
    assert!(output.ok && output.stderr.contains(warned), "{output:?}");
    eventually("an event says so", || {
        let events = [
            "-n",
            "watched",
            "get",
            "events",
            "--field-selector",
            "reason=CapabilityAudit",
            "-o",
            "json",
        ];
        let events = cluster.run(&events);
        if events.contains("watch-sockets") && events.contains("wasi:sockets/tcp@0.2.") {
            Ok(())
        } else {
            Err(events)
        }
    });
}
