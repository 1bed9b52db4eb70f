//! The requests that this host answered lately, found by their ids: who answered, and what was written meanwhile.
//!
//! The host's runtime keeps them ([`crate::runtime::Runtime::requests`]), and each line of a container's log names the
//! request that it was written for. The host's server answers with [`Found`] at `/requests?id=ID`, and the API server leads
//! there by `nodes/NAME/proxy`, with the right that takes.
//!
//! An edge: it reads logs.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use coracle_telemetry::{Reach, Seen};
use serde::{Deserialize, Serialize};

use crate::effects::Shared;
use crate::effects::start::log_path;
use crate::pods::plan::PodKey;
use crate::server::lines::Line;
use crate::server::logs::rotated;

/// Lines of the log that are given for one request, the first ones.
pub const LINES_MAX: usize = 200;

/// Bytes of them, so that an answer stays small whatever a guest writes.
const LINES_BYTES_MAX: usize = 64 << 10;

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
    /// What the container's log has of it, at most [`LINES_MAX`] lines: time, stream and text.
    pub lines: Vec<String>,
    /// The container's log is gone, with its pod.
    pub log_is_gone: bool,
}

/// Finds the requests with an id; `None` if this host remembers none at all.
pub(crate) async fn find(shared: &Shared, id: &str) -> Option<Found> {
    let remembered = shared.runtime.requests()?;
    let mut requests = Vec::new();
    for (seen, by) in remembered.find(id) {
        let (lines, log_is_gone) = match &*by {
            By::WayIn => (Vec::new(), false),
            By::Container(noted) => lines(shared, noted, seen.id.as_str().to_owned()).await,
        };
        requests.push(FoundRequest { seen, by: (*by).clone(), lines, log_is_gone });
    }
    let node = shared.config.node_name.clone();
    Some(Found { node, reach: remembered.reach(), requests })
}

async fn lines(shared: &Shared, noted: &Noted, id: String) -> (Vec<String>, bool) {
    let key = PodKey {
        namespace: noted.namespace.clone(),
        name: noted.pod.clone(),
        uid: noted.uid.clone(),
    };
    let path = log_path(&shared.config.data_dir, &key, &noted.container, noted.restart_count);
    if !path.exists() {
        return (Vec::new(), true);
    }
    let mut files = rotated(&path);
    files.push(path);
    let read = tokio::task::spawn_blocking(move || read(files, &id)).await;
    (read.unwrap_or_default(), false)
}

/// The lines of log files that were written for a request; a file that goes away meanwhile has none.
fn read(files: Vec<PathBuf>, id: &str) -> Vec<String> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for file in files.into_iter().filter_map(|path| std::fs::File::open(path).ok()) {
        for raw in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            let Some(line) = Line::parse(&raw).filter(|line| line.request == Some(id)) else {
                continue;
            };
            let text = String::from_utf8_lossy(line.text);
            bytes += text.len();
            if found.len() == LINES_MAX || bytes > LINES_BYTES_MAX {
                return found;
            }
            found.push(format!("{} {} {text}", line.timestamp, line.stream));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requests_lines_are_those_that_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let line =
            |id: &str, text: &str| format!("2026-01-01T00:00:01Z stdout F:req={id} {text}\n");
        let old = write("0.log.1", line("a", "one") + "damaged\n" + &line("b", "two"));
        let plain = "2026-01-01T00:00:02Z stdout F a\n";
        let new = write("0.log", plain.to_owned() + &line("a", "three"));
        let gone = folder.path().join("0.log.2");
        let found = read(vec![gone, old, new], "a");
        assert_eq!(found, ["2026-01-01T00:00:01Z stdout one", "2026-01-01T00:00:01Z stdout three"]);
        let many = write("many", line("a", "x").repeat(LINES_MAX + 1));
        assert_eq!(read(vec![many], "a").len(), LINES_MAX);
        let long = write("long", line("a", &"x".repeat(LINES_BYTES_MAX)).repeat(2));
        assert_eq!(read(vec![long], "a").len(), 1);
    }
}
