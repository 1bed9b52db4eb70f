//! A fabric with two or three namespaces and a router made of a table.

use coracle_vnet::{
    BoxFuture, Fabric, Flow, NetNs, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router,
};
use futures::FutureExt;
use futures::future::ready;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// Routes what it has an entry for, and everything else to where it wants to go.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) table: Mutex<HashMap<SocketAddr, Route>>,
    pub(crate) asked: Mutex<Vec<Flow>>,
    /// Where a flow goes that was refused where the table leads it.
    pub(crate) others: Mutex<Vec<SocketAddr>>,
    /// What a refused flow may wait for, once.
    pub(crate) awaited: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Routes {
    pub(crate) fn set(&self, destination: &str, route: Route) {
        self.table.lock().expect("lock").insert(addr(destination), route);
    }
}

impl Router for Routes {
    fn route(&self, flow: &Flow) -> Route {
        self.asked.lock().expect("lock").push(flow.clone());
        let table = self.table.lock().expect("lock");
        table.get(&flow.destination).cloned().unwrap_or(Route::Pod(flow.destination))
    }

    fn another(&self, flow: &Flow, refused: &[SocketAddr]) -> Route {
        self.asked.lock().expect("lock").push(flow.clone());
        let others = self.others.lock().expect("lock");
        let next = others.iter().find(|other| !refused.contains(other));
        next.map_or_else(|| Route::Refused("no other".to_owned()), |other| Route::Pod(*other))
    }

    fn starting(&self, _flow: &Flow, _refused: &[SocketAddr]) -> Option<BoxFuture<'static, ()>> {
        self.awaited.lock().expect("lock").take()
    }
}

/// Knows one name.
pub(crate) struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let found = (name == "db" && from.namespace() == "default")
            .then(|| vec![IpAddr::from([10, 96, 0, 7])]);
        ready(found.ok_or_else(|| ResolveError::NotFound(name.to_owned()))).boxed()
    }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) struct World {
    pub(crate) routes: Arc<Routes>,
    pub(crate) fabric: Arc<Fabric>,
    pub(crate) a: Arc<NetNs>,
    pub(crate) b: Arc<NetNs>,
}

/// Pods `a` at 10.128.0.1 and fd00::1, `b` at 10.128.0.2 and fd00::2.
pub(crate) fn world() -> World {
    let routes = Arc::new(Routes::default());
    let fabric = Fabric::new(routes.clone(), Arc::new(Names));
    let pod = |name: &str, last: u8| {
        let tag = NsTag::new(name, &format!("default/{name}"));
        let ips = vec![
            IpAddr::from([10, 128, 0, last]),
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)]),
        ];
        let mut spec = NetNsSpec::new(tag, ips);
        spec.hostname = name.to_owned();
        spec.hosts = vec![(IpAddr::from([1, 2, 3, 4]), "alias.example".to_owned())];
        fabric.add(spec).expect("the addresses are free")
    };
    let (a, b) = (pod("a", 1), pod("b", 2));
    World { routes, fabric, a, b }
}

pub(crate) fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The outcome of something that needs no waiting.
pub(crate) fn now<T>(mut future: BoxFuture<'static, T>) -> T {
    match future.as_mut().poll(&mut noop()) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it would wait"),
    }
}
