//! `serviceaccounts/token`: a token for an account, for some audiences, for a while, bound to an object.
//!
//! *Source:* `authentication.k8s.io/v1 TokenRequest`; the limits are kube-apiserver's.

use coracle_api::field_error::FieldError;
use coracle_api::key::{GroupKind, GroupResource};
use coracle_api::meta;
use coracle_api::status::Status;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::authn::{Bound, Claims, ISSUER, Reference};
use crate::body::Body;
use crate::cache::Object;
use crate::clock;
use crate::context::Context;
use crate::metadata;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;

/// Seconds that a token is valid when nothing is said.
const SECONDS_DEFAULT: i64 = 3600;
/// Shortest time of a token.
const SECONDS_MIN: i64 = 600;
/// Longest time of a token.
const SECONDS_MAX: i64 = 1 << 32;

/// A request that names an account names that of its path.
fn check_name(request: &Value, account: &str) -> Result<(), Status> {
    let name = meta::name(request);
    if name.is_empty() || name == account {
        return Ok(());
    }
    let words = "must match the service account name if specified";
    let error = FieldError::invalid("metadata.name", name, words);
    let kind = GroupKind::new("authentication.k8s.io", "TokenRequest");
    Err(Status::invalid(&kind, account, vec![error]))
}

impl Core {
    /// Issues a token.
    ///
    /// # Errors
    /// 404 when the account or the object that it is to be bound to is not there, 409 when that has another uid, 400 when
    /// it belongs to another account, 422 for a time out of bounds.
    pub(super) async fn token(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "CreateOptions")?;
        let ty = coracle_api::schema::lookup("authentication.k8s.io", "v1", "TokenRequest")
            .ok_or_else(|| Status::internal("no schema of TokenRequest"))?;
        let mut request = context.decode(body, ty, options.field_validation).await?.value;
        let account = self.current(context)?;
        let seconds = seconds(&request)?;
        check_name(&request, &context.path.name)?;
        if request["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
            request["spec"]["audiences"] = json!([ISSUER]);
        }
        request["spec"]["expirationSeconds"] = json!(seconds);
        let kubernetes = self.bound(context, &account, &request["spec"]["boundObjectRef"])?;
        self.restrict_token(context, &kubernetes)?;
        let claims = claims(kubernetes, &request, context.now, seconds);
        let token = self.authenticator.accounts().sign(&claims).map_err(Status::internal)?;
        let end = context.now + SignedDuration::from_secs(seconds);
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["kind"] = json!("TokenRequest");
        request["metadata"] = json!({
            "name": context.path.name, "namespace": context.path.namespace, "uid": account.header.uid(),
            "creationTimestamp": metadata::time(context.now),
        });
        request["status"] = json!({"token": token, "expirationTimestamp": metadata::time(end)});
        Ok(respond::value(StatusCode::CREATED, &request, context.plain()))
    }

    /// What the token is bound to, checked against what is there.
    fn bound(&self, context: &Context, account: &Object, wanted: &Value) -> Result<Bound, Status> {
        let namespace = context.path.namespace.clone();
        let serviceaccount = reference(account);
        let mut bound = Bound { namespace, serviceaccount, pod: None, secret: None, node: None };
        if wanted.is_null() {
            return Ok(bound);
        }
        let text = |field: &str| wanted[field].as_str().unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => {
                let pod = self.bound_object("pods", &bound.namespace, wanted)?;
                let value = pod.value();
                if value["spec"]["serviceAccountName"].as_str() != Some(&context.path.name) {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                        context.path.name
                    )));
                }
                bound.pod = Some(reference(&pod));
                let node = value["spec"]["nodeName"].as_str().filter(|name| !name.is_empty());
                bound.node = node.map(|name| {
                    let node = self.caches.get("", "nodes", "", name);
                    let uid = node.map(|node| node.header.uid().to_owned()).unwrap_or_default();
                    Reference { name: name.to_owned(), uid }
                });
            }
            ("v1", "Secret") => {
                bound.secret =
                    Some(reference(&*self.bound_object("secrets", &bound.namespace, wanted)?));
            }
            ("v1", "Node") => {
                bound.node = Some(reference(&*self.bound_object("nodes", "", wanted)?));
            }
            (version, kind) => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {version}, Kind={kind}: must be Pod, Secret or Node of v1"
                )));
            }
        }
        Ok(bound)
    }

    fn bound_object(
        &self,
        resource: &'static str,
        namespace: &str,
        wanted: &Value,
    ) -> Result<std::sync::Arc<Object>, Status> {
        let name = wanted["name"].as_str().unwrap_or_default();
        let resource_name = GroupResource::new("", resource);
        let found = self.caches.get("", resource, namespace, name);
        let object = found.ok_or_else(|| Status::not_found(&resource_name, name))?;
        let (asked, uid) = (wanted["uid"].as_str().unwrap_or_default(), object.header.uid());
        if !asked.is_empty() && asked != uid {
            let why = format!(
                "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            return Err(Status::conflict(&resource_name, name, why));
        }
        Ok(object)
    }

    /// A node asks for the tokens of its own pods alone. *Source:* the `NodeRestriction` admission plugin.
    fn restrict_token(&self, context: &Context, bound: &Bound) -> Result<(), Status> {
        let Some(node) = context.user.node() else { return Ok(()) };
        let refuse = |why: String| {
            Err(Status::forbidden_because(&context.kind.group_resource(), &context.path.name, why))
        };
        match (&bound.pod, &bound.node) {
            (None, _) => {
                refuse(format!("node requested token not bound to a pod by node \"{node}\""))
            }
            (Some(_), Some(own)) if own.name == node => Ok(()),
            (Some(_), _) => refuse(format!(
                "node requested token bound to a pod scheduled on a different node than \"{node}\""
            )),
        }
    }
}

fn reference(object: &Object) -> Reference {
    Reference { name: object.header.name().to_owned(), uid: object.header.uid().to_owned() }
}

fn seconds(request: &Value) -> Result<i64, Status> {
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(SECONDS_DEFAULT);
    let why = if seconds < SECONDS_MIN {
        "may not specify a duration less than 10 minutes"
    } else if seconds > SECONDS_MAX {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(seconds);
    };
    let error = FieldError::invalid("spec.expirationSeconds", json!(seconds), why);
    let kind = GroupKind::new("authentication.k8s.io", "TokenRequest");
    Err(Status::invalid(&kind, meta::name(request), vec![error]))
}

fn claims(kubernetes: Bound, request: &Value, now: Timestamp, seconds: i64) -> Claims {
    let audiences = request["spec"]["audiences"].as_array().into_iter().flatten();
    let (namespace, name) = (&kubernetes.namespace, &kubernetes.serviceaccount.name);
    Claims {
        iss: ISSUER.to_owned(),
        sub: format!("system:serviceaccount:{namespace}:{name}"),
        aud: audiences.filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        exp: now.as_second().saturating_add(seconds),
        iat: now.as_second(),
        nbf: now.as_second(),
        jti: clock::uuid(),
        kubernetes,
    }
}
