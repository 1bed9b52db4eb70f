//! The network between a peer and the server: delays, lost answers, partitions, broken streams.
//!
//! A [`Link`] is the service under a peer's client. The server behind it is the real one; what the network adds is drawn
//! from the dice. A server that crashes breaks every request and stream that it has open.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::body::{Body, BoxError};
use coracle_client::Client;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, sleep_until};
use tower::Service;

use crate::metrics;
use crate::server::Incarnation;
use crate::world::{Tampering, World};

/// After so long without an answer a connection counts as dead, as TCP's timeouts have it.
const CONNECTION_DEAD_AFTER: Duration = Duration::from_secs(20);

/// Share of the changed objects in a tampered watch that do not arrive as they were sent.
const TAMPERED_SHARE: f64 = 0.1;

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the server's own process: short delays, no losses, and it dies with it.
    Inside,
    /// On another machine.
    Outside,
}

/// A peer's way to the server.
#[derive(Clone)]
pub struct Link {
    world: Arc<World>,
    peer: Arc<str>,
    user: UserInfo,
    place: Place,
    /// For a peer inside: the process that it is part of.
    process: Option<Arc<Incarnation>>,
}

impl Link {
    /// The way of a peer on another machine to whichever server runs.
    pub fn outside(world: &Arc<World>, peer: &str, user: UserInfo) -> Link {
        let world = Arc::clone(world);
        Link { world, peer: peer.into(), user, place: Place::Outside, process: None }
    }

    /// The way of a part of the server to its own server.
    pub fn inside(world: &Arc<World>, peer: &str, process: &Arc<Incarnation>) -> Link {
        let user = UserInfo::component(peer);
        let process = Some(Arc::clone(process));
        Link { world: Arc::clone(world), peer: peer.into(), user, place: Place::Inside, process }
    }

    /// A client over this link.
    pub fn client(&self) -> Client {
        Client::in_process(self.clone())
    }

    fn delay(&self) -> Duration {
        match self.place {
            Place::Inside => self.world.millis(0.01..3.0),
            Place::Outside => self.world.millis(0.2..60.0),
        }
    }

    fn is_cut_off(&self) -> bool {
        self.world.weather.borrow().cut_off.contains(&*self.peer)
    }

    /// Waits while the peer is cut off; an error when that takes too long.
    async fn pass(&self) -> io::Result<()> {
        sleep(self.delay()).await;
        if !self.is_cut_off() {
            return Ok(());
        }
        let mut weather = self.world.weather.subscribe();
        let open = weather.wait_for(|weather| !weather.cut_off.contains(&*self.peer));
        match tokio::time::timeout(CONNECTION_DEAD_AFTER, open).await {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn server(&self) -> io::Result<Arc<Incarnation>> {
        let server = match &self.process {
            Some(process) => Some(Arc::clone(process)),
            None => self.world.server.borrow().clone(),
        };
        server.filter(|server| server.is_alive()).ok_or(io::ErrorKind::ConnectionRefused.into())
    }

    async fn exchange(self, request: Request<kube::client::Body>) -> io::Result<Response<Body>> {
        let what = format!("{} {} {}", self.peer, request.method(), request.uri());
        self.pass().await?;
        let server = self.server()?;
        note!(self.world, "-> {what}");
        if let Some(answer) = metrics::answer(&self.world, request.uri().path()) {
            return Ok(answer);
        }
        let answering = server.api.in_process(self.user.clone()).call(request);
        let answer = tokio::select! {
            biased;
            () = server.died() => return Err(io::ErrorKind::ConnectionReset.into()),
            answer = answering => answer.unwrap_or_else(|never: Infallible| match never {}),
        };
        if !server.is_alive() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        note!(self.world, "<- {} {what}", answer.status().as_u16());
        if self.place == Place::Outside && self.loses_answer() {
            note!(self.world, "answer lost: {what}");
            sleep(self.delay()).await;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.pass().await?;
        if !server.is_alive() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        // What is whole has come with its answer.
        if answer.body().size_hint().exact().is_some() {
            return Ok(answer);
        }
        Ok(answer.map(|body| self.carry(body, server)))
    }

    fn loses_answer(&self) -> bool {
        let share = self.world.weather.borrow().answers_lost;
        self.world.chance(share)
    }

    /// The body as it arrives: frame by frame, until it ends or the stream breaks.
    fn carry(self, body: Body, server: Arc<Incarnation>) -> Body {
        let ends_at = Instant::now() + self.world.millis(10_000.0..600_000.0);
        let cut = self.world.weather.borrow().streams_cut;
        let carried = Carried { link: self, body, server, ends_at, cut, again: None, over: false };
        coracle_apiserver::body::stream(stream::unfold(carried, |mut carried| async move {
            let frame = carried.next().await?;
            Some((frame, carried))
        }))
    }
}

/// A body on its way.
struct Carried {
    link: Link,
    body: Body,
    server: Arc<Incarnation>,
    /// The stream is broken at this time, if it is still open.
    ends_at: Instant,
    /// The count of general breaks when it began.
    cut: u64,
    /// A frame that is sent once more.
    again: Option<Bytes>,
    over: bool,
}

impl Carried {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if self.over {
            return None;
        }
        if let Some(again) = self.again.take() {
            return Some(Ok(again));
        }
        let mut weather = self.link.world.weather.subscribe();
        let began = self.cut;
        let frame = tokio::select! {
            biased;
            () = self.server.died() => return self.broken(),
            _ = weather.wait_for(|weather| weather.streams_cut > began) => return self.broken(),
            frame = self.body.frame() => frame?,
            () = sleep_until(self.ends_at) => return self.broken(),
        };
        let data = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_)) => Bytes::new(),
            Err(error) => return Some(Err(error)),
        };
        if self.link.pass().await.is_err() || !self.server.is_alive() {
            return self.broken();
        }
        if self.is_tampered_with(&data) {
            return Some(Ok(Bytes::new()));
        }
        // A stream may also break within a frame.
        if Instant::now() >= self.ends_at {
            self.over = true;
            return Some(Ok(data.slice(..data.len() / 2)));
        }
        Some(Ok(data))
    }

    /// Gives true when the frame is to be left out.
    fn is_tampered_with(&mut self, data: &Bytes) -> bool {
        if self.is_lost(data) {
            note!(self.link.world, "a frame to {} is lost", self.link.peer);
            return true;
        }
        let Some((peer, how)) = self.link.world.weather.borrow().tampered else { return false };
        let chosen = &*self.link.peer == peer && data.starts_with(br#"{"type":"MOD"#);
        if !chosen || !self.link.world.chance(TAMPERED_SHARE) {
            return false;
        }
        if how == Tampering::Doubled {
            self.again = Some(data.clone());
        }
        how == Tampering::LeftOut
    }

    fn is_lost(&self, data: &Bytes) -> bool {
        let weather = self.link.world.weather.borrow();
        data.starts_with(br#"{"type":"#)
            && weather.lost.iter().any(|(peer, text)| {
                *self.link.peer == **peer
                    && data.windows(text.len().max(1)).any(|part| part == text.as_bytes())
            })
    }

    fn broken(&mut self) -> Option<Result<Bytes, BoxError>> {
        self.over = true;
        if self.link.world.chance(0.5) {
            return None;
        }
        Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()))
    }
}

impl Service<Request<kube::client::Body>> for Link {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Response<Body>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
