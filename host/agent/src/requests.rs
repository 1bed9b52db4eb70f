//! The requests that this host answered lately, found by their ids: who answered, and what was written meanwhile.
//!
//! The host's runtime keeps them, and the lines that were written for them ([`crate::runtime::Runtime::requests`]): in
//! memory, so that a host that has started again knows none. The host's server answers with [`Found`] at
//! `/requests?id=ID`, and the API server leads there by `nodes/NAME/proxy`, with the right that takes.

use std::sync::Arc;

use coracle_telemetry::{Reach, Requests, Seen};
use serde::{Deserialize, Serialize};

use crate::effects::Shared;

/// Who answered a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The host's way in, for an Ingress, a Gateway or a load balancer.
    WayIn,
    /// A container.
    Container(Box<Noted>),
}

/// What is noted of a container with each of its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Noted {
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub pod: String,
    /// UID of its pod.
    pub uid: String,
    /// Its name.
    pub container: String,
    /// Its image, as its pod says.
    pub image: String,
    /// Repository and digest of what was really run.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// How often it had been started again.
    pub restart_count: u32,
    /// The controller that made the pod.
    pub owner: Option<Owner>,
}

/// An object that made another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID, which another with its name does not have; empty where it is not known.
    #[serde(default)]
    pub uid: String,
}

/// What a host knows of an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The host's node.
    pub node: String,
    /// How far back it remembers.
    pub reach: Reach,
    /// Requests with this id, or of the trace with it, the oldest first.
    pub requests: Vec<FoundRequest>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundRequest {
    /// What was asked, and how it ended.
    pub seen: Seen,
    /// Who answered.
    pub by: By,
    /// What the container wrote for its id: time, stream and text of at most
    /// [`coracle_telemetry::REQUEST_LINES_FOUND_MAX`] lines. The first of its requests with one id has those of all.
    pub lines: Vec<String>,
    /// So many lines came meanwhile that some of its own may be forgotten; the container's log has them.
    #[serde(default)]
    pub may_lack_lines: bool,
}

/// Finds the requests with an id; `None` if this host remembers none at all.
pub(crate) fn find(shared: &Shared, id: &str) -> Option<Found> {
    let remembered = shared.runtime.requests()?;
    let node = shared.config.node_name.clone();
    Some(Found { node, reach: remembered.reach(), requests: answered(remembered, id) })
}

/// The requests with an id and their lines, which are looked for once however many requests share them.
fn answered(remembered: &Requests<By>, id: &str) -> Vec<FoundRequest> {
    let found = remembered.find(id);
    let is_told = |(seen, by): &(Seen, Arc<By>), before: &[(Seen, Arc<By>)]| {
        before.iter().any(|(other, its)| Arc::ptr_eq(its, by) && other.id == seen.id)
    };
    let one = |(place, one): (usize, &(Seen, Arc<By>))| {
        let (seen, by) = one;
        let is_first = !is_told(one, found.get(..place).unwrap_or_default());
        let lines = if is_first { remembered.lines(&seen.id, by) } else { Vec::new() };
        let may_lack_lines = match **by {
            By::WayIn => false,
            By::Container(_) => seen.began_micros <= remembered.lines_since_micros(),
        };
        FoundRequest { seen: seen.clone(), by: (**by).clone(), lines, may_lack_lines }
    };
    found.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use coracle_telemetry::RequestId;
    use http::header::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn a_requests_lines_are_its_containers_own_and_told_once() {
        let requests = Requests::default();
        let of = || Arc::new(By::Container(Box::default()));
        // Two lives of one container, and who let the request in.
        let (first, second, door) = (of(), of(), Arc::new(By::WayIn));
        let keep = |id: &str, by: &Arc<By>| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::try_from(id).unwrap());
            let uri = http::Uri::from_static("/");
            requests.keep(Seen::begin((&http::Method::GET, &uri), &mut headers, None), by);
        };
        let write = |id: &str, line: &str, by: &Arc<By>| {
            requests.keep_line(RequestId::try_from(id.to_owned()).unwrap(), line, by);
        };
        for by in [&door, &first, &first, &second] {
            keep("a", by);
        }
        keep("b", &first);
        write("a", "one", &first);
        write("b", "two", &first);
        write("a", "three", &second);
        write("a", "four", &first);
        let lines: Vec<_> = answered(&requests, "a").into_iter().map(|one| one.lines).collect();
        assert_eq!(lines, [vec![], vec!["one", "four"], vec![], vec!["three"]]);
        assert_eq!(answered(&requests, "b")[0].lines, ["two"]);
    }

    #[test]
    fn it_is_said_when_lines_may_be_forgotten() {
        let requests = Requests::default();
        let by = Arc::new(By::Container(Box::default()));
        let uri = http::Uri::from_static("/");
        let seen = Seen::begin((&http::Method::GET, &uri), &mut HeaderMap::new(), None);
        let id = seen.id.clone();
        requests.keep(seen, &by);
        let other = RequestId::try_from("other".to_owned()).unwrap();
        let line = "x".repeat(16 << 10);
        for _ in 0..=coracle_telemetry::REQUEST_LINES_BYTES_MAX / line.len() {
            requests.keep_line(other.clone(), &line, &by);
        }
        assert!(answered(&requests, id.as_str())[0].may_lack_lines);
        let later = Seen { began_micros: u64::MAX, ..requests.find(id.as_str()).remove(0).0 };
        requests.keep(later, &by);
        assert!(!answered(&requests, id.as_str())[1].may_lack_lines);
    }
}
