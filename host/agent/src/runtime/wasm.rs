//! The real runtime: sandboxes of `coracle-vnet` and `coracle-runtime`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use coracle_network::dns::lookup::{PodDns, name_servers};
use coracle_network::egress::Egress;
use coracle_network::network::Network;
use coracle_network::trace::{Question, Trace, trace};
use coracle_runtime as engine;
use coracle_runtime::mounts::Quota;
use coracle_runtime::worker::Workers;
use coracle_telemetry::{RequestLineSink, RequestSink, Requests, Telemetry};
use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag, TrafficCounts};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::host_network::HostNetwork;
use super::host_ports::HostPorts;
use super::programs::{ContainerPrograms, Prepared};
use super::root_files::{Surroundings, ca_certificates};
use super::{
    Attached, Duplex, Exec, ExecError, ExecSpec, HANDLER_PROCESS, Runtime, SandboxRequest,
    StartRequest, Started, Usage, measures, spec,
};
use crate::images::LocalImage;
use crate::pods::plan::PodKey;
use crate::pods::state::Fault;
use crate::requests::By;
use crate::volumes::kept;

/// Where the machine says who its name servers are.
const MACHINE_RESOLV_CONF: &str = "/etc/resolv.conf";

/// First port that connections from the host seem to come from.
const PORT_FIRST: u16 = 32_768;

/// How long workers have to say what their containers have used; what one said before counts then.
const MEASURE_TIME_MAX: Duration = Duration::from_secs(1);

/// Runs components in this process, or in one for each pod.
pub struct WasmRuntime {
    prepared: Arc<Prepared>,
    fabric: Arc<Fabric>,
    network: Arc<Network>,
    host_ip: IpAddr,
    surroundings: Surroundings,
    pods: Mutex<HashMap<String, Arc<PodSandbox>>>,
    next_port: AtomicU16,
    telemetry: Option<Telemetry>,
    requests: Requests<By>,
    workers: Option<Workers>,
    host_network: HostNetwork,
}

/// One pod that is here.
pub(super) struct PodSandbox {
    pub(super) sandbox: engine::Sandbox,
    pub(super) request: SandboxRequest,
    pub(super) quotas: Mutex<HashMap<String, Arc<Quota>>>,
    netns: Arc<NetNs>,
    tag: NsTag,
    containers: Mutex<HashMap<String, Arc<engine::Container>>>,
    /// Closed with the sandbox.
    _host_ports: HostPorts,
}

impl PodSandbox {
    /// What it has sent and received; what goes through the host's network is no single pod's.
    pub(super) fn traffic(&self) -> Option<TrafficCounts> {
        (!self.request.host_network).then(|| self.netns.traffic().counts())
    }
}

impl WasmRuntime {
    /// Puts an engine, a fabric and the network that routes for it together.
    #[must_use]
    pub fn new(
        engine: engine::Engine,
        fabric: Arc<Fabric>,
        network: Arc<Network>,
        host_ip: IpAddr,
    ) -> Self {
        let surroundings = Surroundings { ca_certificates: ca_certificates() };
        let requests = Requests::default();
        network.note_requests(sink(&requests, &Arc::new(By::WayIn), host_ip));
        Self {
            prepared: Prepared::new(engine),
            fabric,
            network,
            host_ip,
            surroundings,
            pods: Mutex::default(),
            next_port: AtomicU16::new(PORT_FIRST),
            telemetry: None,
            requests,
            workers: None,
            host_network: HostNetwork::default(),
        }
    }

    /// The same with spans of the requests that containers answer and send, what they use, and what
    /// they write to their logs.
    #[must_use]
    pub fn with_telemetry(self, telemetry: Option<Telemetry>) -> Self {
        Self { telemetry, ..self }
    }

    /// The same with a program for pods that want a process of their own.
    #[must_use]
    pub fn with_workers(self, workers: Workers) -> Self {
        Self { workers: Some(workers), ..self }
    }

    /// Makes a sandbox of the kind that a handler names.
    fn sandbox(&self, handler: &str, spec: engine::SandboxSpec) -> Result<engine::Sandbox, String> {
        match (handler, &self.workers) {
            ("", _) => Ok(engine::Sandbox::new(spec)),
            (HANDLER_PROCESS, Some(workers)) => Ok(engine::Sandbox::in_worker(spec, workers)),
            (other, _) => Err(no_handler(other)),
        }
    }

    fn pod(&self, uid: &str) -> Option<Arc<PodSandbox>> {
        self.pods.lock().get(uid).cloned()
    }

    fn pod_at(&self, ip: IpAddr) -> Option<Arc<PodSandbox>> {
        self.pods.lock().values().find(|pod| pod.request.ips.contains(&ip)).cloned()
    }

    fn container(&self, pod: &PodKey, name: &str) -> Option<Arc<engine::Container>> {
        self.pod(&pod.uid)?.containers.lock().get(name).cloned()
    }

    fn add(&self, request: SandboxRequest) -> Result<(), String> {
        let key = &request.pod;
        let tag = NsTag::new(&key.uid, &format!("{}/{}", key.namespace, key.name));
        let egress = Egress::parse(request.egress.as_deref().unwrap_or_default());
        let egress = egress.map_err(|error| error.to_string())?;
        let host_ports = HostPorts::open(&request.host_ports, &request.ips, &self.fabric)?;
        let netns = self.join(&request, &tag, egress)?;
        let spec = engine::SandboxSpec {
            netns: netns.clone(),
            memory_limit_bytes: request.memory_limit_bytes,
            cpu_millis: request.cpu_millis,
        };
        let sandbox = self.sandbox(&request.handler, spec).inspect_err(|_| {
            self.part(request.host_network, &netns);
        })?;
        let uid = key.uid.clone();
        let pod = PodSandbox {
            sandbox,
            request,
            quotas: Mutex::default(),
            netns,
            tag,
            containers: Mutex::default(),
            _host_ports: host_ports,
        };
        let pod = Arc::new(pod);
        if let Some(telemetry) = &self.telemetry {
            let resource = measures::pod_resource(&pod.request.pod);
            telemetry.measure(&resource, measures::pod_source(Arc::downgrade(&pod)));
        }
        self.pods.lock().insert(uid, pod);
        Ok(())
    }

    /// Makes the network that a pod asks for, or lets it into the host's.
    fn join(
        &self,
        request: &SandboxRequest,
        tag: &NsTag,
        egress: Egress,
    ) -> Result<Arc<NetNs>, String> {
        if request.host_network && !request.handler.is_empty() {
            return Err(format!(
                "hostNetwork: a pod of the handler \"{}\" has no part in the host's network; leave out its runtimeClassName",
                request.handler
            ));
        }
        if request.host_network {
            let parts = (&self.fabric, &*self.network);
            return self.host_network.enter(&request.ips, &request.kernel_name, parts);
        }
        let full = request.full_name.iter();
        let full = full.flat_map(|name| request.ips.iter().map(move |ip| (*ip, name.clone())));
        let netns = self.fabric.add(NetNsSpec {
            hostname: request.kernel_name.clone(),
            hosts: full.chain(request.host_aliases.iter().cloned()).collect(),
            ..NetNsSpec::new(tag.clone(), request.ips.clone())
        });
        let netns = netns.map_err(|error| error.to_string())?;
        self.network.grant(tag, egress);
        if let (Some(text), Some(ip)) = (&request.resolv_conf, request.ips.first()) {
            let machine = std::fs::read_to_string(MACHINE_RESOLV_CONF).unwrap_or_default();
            let is_cluster = |ip| self.network.read(|table| table.is_dns(ip));
            let machine = name_servers(&machine);
            let dns = PodDns::of_resolv_conf(*ip, text, is_cluster, &machine);
            self.network.set_lookups(tag, dns);
        }
        Ok(netns)
    }

    /// Takes a pod's network away.
    fn part(&self, is_of_host: bool, netns: &Arc<NetNs>) {
        if is_of_host {
            self.host_network.leave(&self.fabric, &self.network);
        } else {
            self.fabric.remove(netns);
            self.network.forget(netns.tag());
        }
    }

    async fn run(&self, request: StartRequest) -> Result<Started, Fault> {
        let image = self.prepared.image(&request.image, &request.plugs).await?;
        let pod = self.pod(&request.pod.uid);
        let pod = pod.ok_or_else(|| fault("RunContainerError", "the pod has no sandbox".into()))?;
        let last_words = spec::last_words(&request)?;
        let programs = ContainerPrograms {
            prepared: self.prepared.clone(),
            image: request.image.clone(),
            own: image.clone(),
        };
        let mut spec = spec::container(&request, image, &pod, &self.surroundings)?;
        spec.programs = Some(Arc::new(programs));
        let telemetry = self.telemetry.as_ref();
        spec.tracer = telemetry.map(|telemetry| telemetry.tracer(&request.resource));
        spec.logger = telemetry.and_then(|telemetry| telemetry.logger(&request.resource));
        let by = Arc::new(By::Container(Box::new(request.noted.clone())));
        spec.requests = Some(sink(&self.requests, &by, self.host_ip));
        spec.log = spec.log.map(|log| engine::LogSpec {
            request_lines: Some(line_sink(&self.requests, by)),
            ..log
        });
        let container = pod.sandbox.start(spec).await.map_err(|error| start_fault(&error))?;
        let container = Arc::new(container);
        if let Some(telemetry) = telemetry {
            let source = measures::source(Arc::downgrade(&container));
            telemetry.measure(&request.resource, source);
        }
        pod.containers.lock().insert(request.container.clone(), container.clone());
        let exit = async move {
            let exit = container.wait().await;
            drop(container);
            last_words.report(exit).await
        };
        Ok(Started { exit: exit.boxed() })
    }
}

/// Keeps requests with who answered them; but not this host's own probes, which come all the time.
fn sink(requests: &Requests<By>, by: &Arc<By>, host_ip: IpAddr) -> RequestSink {
    let (requests, by) = (requests.clone(), by.clone());
    RequestSink::new(move |seen| {
        let is_own = seen.peer.is_some_and(|peer| peer.ip() == host_ip);
        if !(seen.is_probe && is_own) {
            requests.keep(seen, &by);
        }
    })
}

/// Keeps lines that were written for requests with who wrote them.
fn line_sink(requests: &Requests<By>, by: Arc<By>) -> RequestLineSink {
    let requests = requests.clone();
    RequestLineSink::new(move |id, line| requests.keep_line(id, line, &by))
}

/// *Source:* the kubelet's words for a handler that its runtime does not have.
fn no_handler(handler: &str) -> String {
    format!(
        "no runtime for \"{handler}\" is configured; this host has the handler \
         \"{HANDLER_PROCESS}\", and pods without a runtimeClassName run in the host's own process"
    )
}

pub(super) fn source(image: &LocalImage) -> engine::ImageSource {
    engine::ImageSource {
        wasm: engine::Wasm::Path(image.wasm.clone()),
        digest: image.wasm_digest.clone(),
    }
}

pub(super) fn fault(reason: &str, message: String) -> Fault {
    Fault { reason: reason.into(), message }
}

fn with_hint(error: &dyn std::error::Error, hint: Option<&str>) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    hint.map_or(text.clone(), |hint| format!("{text}; {hint}"))
}

pub(super) fn prepare_fault(error: &engine::PrepareError) -> Fault {
    use engine::PrepareError as E;
    let reason = if matches!(error, E::NotWasm { .. } | E::NoEntry { .. }) {
        "ErrImageNotWasm"
    } else if matches!(error, E::Unsatisfied { .. }) {
        "ErrImportsUnsatisfied"
    } else if error.is_transient() {
        "ErrImagePrepare"
    } else {
        "ErrImageInvalid"
    };
    fault(reason, with_hint(error, error.hint()))
}

fn start_fault(error: &engine::StartError) -> Fault {
    if let engine::StartError::NotGranted { container, service, .. } = error {
        let annotation = kept::annotation(*service, container);
        let how = format!("name a volume of the pod in its annotation {annotation}");
        return fault("ErrImportsUnsatisfied", format!("{error}; {how}"));
    }
    fault("RunContainerError", with_hint(error, error.hint()))
}

impl Runtime for WasmRuntime {
    fn create_sandbox(&self, request: SandboxRequest) -> BoxFuture<'_, Result<(), String>> {
        futures::future::ready(self.add(request)).boxed()
    }

    fn grant(&self, pod: &PodKey, egress: Option<&str>) -> Result<(), String> {
        let egress = Egress::parse(egress.unwrap_or_default());
        let egress = egress.map_err(|error| error.to_string())?;
        if let Some(pod) = self.pod(&pod.uid).filter(|pod| !pod.request.host_network) {
            self.network.grant(&pod.tag, egress);
        }
        Ok(())
    }

    fn remove_sandbox<'a>(&'a self, pod: &'a PodKey) -> BoxFuture<'a, ()> {
        async move {
            let Some(pod) = self.pods.lock().remove(&pod.uid) else { return };
            let containers: Vec<_> = pod.containers.lock().drain().collect();
            for (_, container) in &containers {
                container.kill();
            }
            for (_, container) in containers {
                container.wait().await;
            }
            self.part(pod.request.host_network, &pod.netns);
        }
        .boxed()
    }

    fn prepare<'a>(
        &'a self,
        image: &'a LocalImage,
        plugs: &'a [LocalImage],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move { self.prepared.image(image, plugs).await.map(drop) }.boxed()
    }

    fn start(&self, request: StartRequest) -> BoxFuture<'_, Result<Started, Fault>> {
        self.run(request).boxed()
    }

    fn stop(&self, pod: &PodKey, container: &str, grace: Duration) {
        let Some(pod) = self.pod(&pod.uid) else { return };
        if let Some(container) = pod.containers.lock().get(container) {
            container.stop(grace);
        }
    }

    fn dial(&self, pod: &PodKey, to: SocketAddr) -> io::Result<Box<dyn Duplex>> {
        let own = self.pod(&pod.uid).ok_or(io::ErrorKind::HostUnreachable)?;
        let is_own = own.request.ips.contains(&to.ip()) || to.ip().is_loopback();
        let pod = if is_own { own } else { self.pod_at(to.ip()).unwrap_or(own) };
        let port = PORT_FIRST | self.next_port.fetch_add(1, Ordering::Relaxed);
        let stream = pod.netns.deliver(to, SocketAddr::new(self.host_ip, port))?;
        Ok(Box::new(stream))
    }

    fn exec<'a>(
        &'a self,
        pod: &'a PodKey,
        container: &'a str,
        spec: ExecSpec,
    ) -> BoxFuture<'a, Result<Exec, ExecError>> {
        async move {
            let container = self.container(pod, container).ok_or(ExecError::NotRunning)?;
            container.exec(spec).await
        }
        .boxed()
    }

    fn attach(&self, pod: &PodKey, container: &str) -> Result<Attached, ExecError> {
        self.container(pod, container).ok_or(ExecError::NotRunning)?.attach()
    }

    fn resize_volume(&self, pod: &PodKey, volume: &str, bytes_max: u64) {
        let Some(pod) = self.pod(&pod.uid) else { return };
        if let Some(quota) = pod.quotas.lock().get(volume) {
            quota.resize(bytes_max);
        }
    }

    fn measure(&self) -> BoxFuture<'_, ()> {
        let pods: Vec<_> = self.pods.lock().values().cloned().collect();
        async move {
            let all = pods.iter().map(|pod| pod.sandbox.measure());
            let all = futures::future::join_all(all);
            // Those that did not answer in time keep what they said before.
            let _ = tokio::time::timeout(MEASURE_TIME_MAX, all).await;
        }
        .boxed()
    }

    fn components(&self) -> usize {
        self.prepared.components()
    }

    fn usage(&self, pod: &PodKey, container: &str) -> Option<Usage> {
        let pod = self.pod(&pod.uid)?;
        Some(pod.containers.lock().get(container)?.usage())
    }

    fn traffic(&self, pod: &PodKey) -> Option<TrafficCounts> {
        self.pod(&pod.uid)?.traffic()
    }

    fn trace<'a>(&'a self, pod: &'a PodKey, question: &'a Question) -> BoxFuture<'a, Trace> {
        let found = self.pod(&pod.uid);
        async move {
            match found {
                None => Trace::not_begun("the pod has no sandbox on this host now"),
                Some(found) if found.request.host_network => Trace::not_begun(
                    "the pod has the host's network: its connections are the machine's own",
                ),
                Some(found) => trace(&self.network, &self.fabric, &found.netns, question).await,
            }
        }
        .boxed()
    }

    fn requests(&self) -> Option<&Requests<By>> {
        Some(&self.requests)
    }

    fn network_metrics(&self) -> String {
        self.network.metrics()
    }
}
