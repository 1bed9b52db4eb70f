//! `pods/exec`, `pods/attach` and `pods/portforward`.
//!
//! An edge: nodes are called.

use coracle_api::meta;
use coracle_api::status::Status;
use http::Method;
use http::header::UPGRADE;
use serde_json::Value;

use super::container;
use super::forward::Outgoing;
use super::options::{command_path, forward_path};
use crate::authz::Attributes;
use crate::body::Body;
use crate::context::Context;
use crate::query::Query;
use crate::request_info::Verb;
use crate::respond::Answer;
use crate::server::Core;

impl Core {
    /// Passes a stream of a pod to its node; `query` is what it asks for as admission let it in.
    ///
    /// # Errors
    /// 400 for a request that makes no sense, 403 for who may only read, 404, and what calling the
    /// node gives.
    pub(crate) async fn pod_stream(
        &self,
        context: &Context,
        query: &Query,
        method: Method,
        body: Body,
    ) -> Result<Answer, Status> {
        self.may_create(context)?;
        let pod = self.current(context)?.value();
        let action = context.path.subresource.as_str();
        let path = if action == "portforward" {
            forward_path(&pod, query)
        } else {
            let container = container(&pod, query.get("container"))?;
            command_path(action, &pod, &container, query)
        };
        let node = node(&pod)?;
        if !context.headers.contains_key(UPGRADE) || context.upgrade.is_none() {
            return Err(Status::bad_request("Upgrade request required"));
        }
        self.call_node(node, Outgoing::of(context, method, path, body)).await
    }

    /// Checks that who asks by `GET`, as WebSockets must, might ask by `POST` as well: running a
    /// command is more than reading.
    ///
    /// *Source:* feature gate `AuthorizePodWebsocketUpgradeCreatePermission`.
    fn may_create(&self, context: &Context) -> Result<(), Status> {
        if context.verb == Verb::Create {
            return Ok(());
        }
        let path = &context.path;
        let attributes = Attributes {
            verb: Verb::Create.as_str(),
            group: &path.group,
            resource: &path.resource,
            subresource: &path.subresource,
            namespace: &path.namespace,
            name: &path.name,
            ..Attributes::default()
        };
        self.authorizer.check(&context.user, &attributes)
    }
}

/// The node that a pod runs on.
///
/// # Errors
/// 400 when it has none yet.
pub(crate) fn node(pod: &Value) -> Result<&str, Status> {
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    let why = || format!("pod {} does not have a host assigned", meta::name(pod));
    node.ok_or_else(|| Status::bad_request(why()))
}
