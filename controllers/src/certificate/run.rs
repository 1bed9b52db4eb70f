//! The edge of the controller of requests for certificates.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Outcome, Queue, drive};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use super::{Action, Asked, Observed, Purpose, reconcile};
use crate::context::{Context, Running};
use crate::objects::name;
use crate::write::{self, WriteError, failed, settle};

struct Controller {
    context: Context,
    requests: Cache<CertificateSigningRequest>,
    nodes: Cache<Node>,
}

/// Starts the controller; its keys are names of requests.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        requests: context.caches.get(),
        nodes: context.caches.get(),
    });
    let feeds = vec![controller.requests.observe({
        let queue = queue.clone();
        move |change| queue.add(change.key.name.clone())
    })];
    let drive = drive("csrapproving", queue, 1, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&name).await) }
    });
    Running { drive, feeds }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &str) -> Result<Outcome, WriteError> {
        self.requests.wait_synced().await;
        self.nodes.wait_synced().await;
        let Some(request) = self.requests.get(None, key) else { return Ok(Outcome::Done) };
        let observed = self.observe(request).await?;
        match reconcile(&observed, Timestamp::now()) {
            Action::Approve(message) => {
                self.decide(&observed.request, "Approved", "AutoApproved", message).await?;
            }
            Action::Deny(message) => {
                self.decide(&observed.request, "Denied", "NodeRefused", message).await?;
            }
            Action::Delete => {
                let api = self.context.client.cluster();
                let meta = &observed.request.metadata;
                let how = PropagationPolicy::Background;
                write::delete(&api, &self.requests, meta, how, None).await?;
            }
            Action::RequeueAfter(wait) => {
                let wait = Duration::try_from(wait).unwrap_or_default();
                return Ok(Outcome::RequeueAfter(wait));
            }
        }
        Ok(Outcome::Done)
    }

    async fn observe(
        &self,
        request: Arc<CertificateSigningRequest>,
    ) -> Result<Observed, WriteError> {
        let asked = Asked::read(&request.spec.request.0);
        let permission = asked.as_ref().and_then(|asked| Purpose::of(&request, asked).permission());
        let decided = request.status.as_ref().is_some_and(|status| status.conditions.is_some());
        let permitted = match permission {
            Some(permission) if !decided => self.may(&request, permission).await?,
            Some(_) | None => false,
        };
        let node = asked.as_ref().and_then(|asked| self.nodes.get(None, asked.node()?));
        Ok(Observed { request, asked, permitted, node })
    }

    /// Asks the API server whether the asker may ask for such a certificate.
    async fn may(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
    ) -> Result<bool, WriteError> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: request.spec.username.clone(),
                uid: request.spec.uid.clone(),
                groups: request.spec.groups.clone(),
                extra: request.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".to_owned()),
                    resource: Some("certificatesigningrequests".to_owned()),
                    subresource: Some(subresource.to_owned()),
                    verb: Some("create".to_owned()),
                    version: Some("*".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = self.context.client.cluster();
        let made = api.create(&PostParams::default(), &review).await;
        let made = made.map_err(failed::<SubjectAccessReview>("create", &request.metadata))?;
        Ok(made.status.is_some_and(|status| status.allowed))
    }

    async fn decide(
        &self,
        request: &CertificateSigningRequest,
        kind: &str,
        reason: &str,
        message: String,
    ) -> Result<(), WriteError> {
        tracing::info!(request = name(&request.metadata), kind, message, "decided a request");
        let api: Api<CertificateSigningRequest> = self.context.client.cluster();
        let condition =
            json!({"type": kind, "status": "True", "reason": reason, "message": message});
        let body = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        let meta = &request.metadata;
        let made = api.patch_approval(name(meta), &PatchParams::default(), &body).await;
        self.requests.assume(made.map_err(failed::<CertificateSigningRequest>("approve", meta))?);
        Ok(())
    }
}
