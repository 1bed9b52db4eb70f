//! Subresources: parts of an object with a path of their own, and actions on it.
//!
//! An edge: writes are committed, nodes are dialled (`streams`).

mod approval;
mod binding;
mod eviction;
mod log;
mod scale;
mod token;

use coracle_api::registry::Subresource;
use coracle_api::status::Status;
use http::Method;

use crate::body::Body;
use crate::context::Context;
use crate::request_info::Verb;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::write::Part;

impl Core {
    /// Answers a request on a subresource; the verb is one of the subresource's.
    pub(crate) async fn subresource(
        &self,
        context: &Context,
        subresource: &Subresource,
        body: Body,
        method: Method,
    ) -> Result<Answer, Status> {
        match (subresource.name, context.verb) {
            ("status", Verb::Get) => self.get(context).await,
            ("status", Verb::Update) => self.update(context, Part::Status, body).await,
            ("status", Verb::Patch) => self.patch(context, Part::Status, body).await,
            ("finalize", Verb::Update) => self.update(context, Part::Finalize, body).await,
            ("ephemeralcontainers", Verb::Get) => self.get(context).await,
            ("ephemeralcontainers", Verb::Update) => {
                self.update(context, Part::EphemeralContainers, body).await
            }
            ("ephemeralcontainers", Verb::Patch) => {
                self.patch(context, Part::EphemeralContainers, body).await
            }
            ("scale", Verb::Get) => self.get_scale(context),
            ("scale", Verb::Update) => self.update_scale(context, body).await,
            ("scale", Verb::Patch) => self.patch_scale(context, body).await,
            ("binding", Verb::Create) => self.bind(context, body).await,
            ("eviction", Verb::Create) => self.evict(context, body).await,
            ("approval", Verb::Get) => self.get(context).await,
            ("approval", Verb::Update) => self.update(context, Part::Approval, body).await,
            ("approval", Verb::Patch) => self.patch(context, Part::Approval, body).await,
            ("token", Verb::Create) => self.token(context, body).await,
            ("log", Verb::Get) => self.log(context).await,
            ("exec" | "attach" | "portforward" | "proxy", _) => {
                self.connect(context, method, body).await
            }
            _ => Err(Status::unknown_path()),
        }
    }

    /// Opens a stream to a pod, a Service or a node, if admission lets it.
    async fn connect(
        &self,
        context: &Context,
        method: Method,
        body: Body,
    ) -> Result<Answer, Status> {
        let (query, warnings) = self.admit_stream(context).await?;
        let mut answer = if context.path.subresource == "proxy" {
            self.proxy(context, method, body).await?
        } else {
            self.pod_stream(context, &query, method, body).await?
        };
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }
}
