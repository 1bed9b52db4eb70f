//! How a write is let into the cluster: it is filled in, then approved, then charged to its namespace's quotas.
//!
//! An edge: webhooks are asked, and writes that are charged to the same quotas take turns.

use std::hash::{DefaultHasher, Hash, Hasher};

use coracle_api::meta;
use coracle_api::status::Status;
use coracle_store::{Guard, Write};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::admission::matching::Written;
use crate::admission::{self, Operation, Request, quota};
use crate::cache;
use crate::context::Context;
use crate::query::Query;
use crate::server::Core;
use crate::streams;

/// Turns for writes that are charged: namespaces share them by hash, so that their number is bounded.
const TURNS: usize = 64;

/// How often a write is charged anew when a quota changes meanwhile; only its controller writes it beside us.
pub(crate) const CHARGE_TRIES_MAX: usize = 16;

/// The turns of writes that are charged to quotas.
#[derive(Debug)]
pub(crate) struct QuotaTurns(Box<[Mutex<()>]>);

impl Default for QuotaTurns {
    fn default() -> QuotaTurns {
        QuotaTurns((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl QuotaTurns {
    async fn take(&self, namespace: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % 64).unwrap_or(0);
        match self.0.get(index) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

/// What a write is charged: the quotas to store with it. Others wait until it is dropped.
pub(crate) struct Charge<'a> {
    /// The writes of the quotas, after that of the object.
    pub(crate) writes: Vec<Write>,
    _turn: Option<MutexGuard<'a, ()>>,
}

/// The object that a write is about.
struct Subject {
    namespace: String,
    name: String,
}

impl Subject {
    fn of(context: &Context, operation: Operation, object: &Value) -> Subject {
        let name = match operation {
            Operation::Create | Operation::Delete => meta::name(object).to_owned(),
            Operation::Update | Operation::Connect => context.path.name.clone(),
        };
        Subject { namespace: meta::namespace(object).to_owned(), name }
    }

    /// The write, as admission sees it.
    fn request<'a>(&'a self, context: &'a Context, operation: Operation) -> Request<'a> {
        Request {
            user: &context.user,
            operation,
            kind: context.kind,
            subresource: &context.path.subresource,
            namespace: &self.namespace,
            name: &self.name,
            notes: &context.notes,
        }
    }
}

/// Whether the write is only tried.
fn is_dry_run(context: &Context) -> bool {
    context.query.get("dryRun") == Some("All")
}

impl Core {
    /// Lets a write in, or not; may change the new object.
    ///
    /// `object` is the new object, for a deletion the stored one; `old` is the stored object of an update.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn admit(
        &self,
        context: &Context,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let subject = Subject::of(context, operation, object);
        let request = subject.request(context, operation);
        self.authorizer.check_escalation(&request, object, old)?;
        admission::certificate::check_approval(&request, object, &self.authorizer)?;
        if operation == Operation::Delete {
            return admission::admit(&request, None, Some(object), &self.caches);
        }
        admission::admit(&request, Some(object), old, &self.caches)?;
        if self.mutate(&request, object, old, is_dry_run(context), warnings).await? {
            context.kind.fill(object);
        }
        admission::capability::stamp(&request, object, old, &self.caches);
        Ok(())
    }

    /// Looks at a write as it would be stored, and refuses it or warns.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn approve(
        &self,
        context: &Context,
        operation: Operation,
        object: &Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let subject = Subject::of(context, operation, object);
        let request = subject.request(context, operation);
        admission::approve(&request, object, old, &self.caches, warnings)?;
        let written = Written::new(&request, object, old);
        let dry_run = is_dry_run(context);
        self.policies.check(&written, &self.around(dry_run), warnings)?;
        // After the policies: of images that they do not let its author use nothing is told.
        self.check_capabilities(&request, object, old, warnings).await?;
        self.validate_by_webhooks(&written, dry_run, warnings).await
    }

    /// Judges what the images of a pod import, as far as they are known here.
    ///
    /// # Errors
    /// 403 when a `CapabilityPolicy` forbids it.
    async fn check_capabilities(
        &self,
        request: &Request<'_>,
        object: &Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let Some(asked) = admission::capability::asked(request, object, old, &self.caches) else {
            return Ok(());
        };
        let known = self.images.names(asked.images()).await;
        asked.judge(request, &known, &self.caches, warnings)
    }

    /// Lets a stream to a pod, a Service or a node be opened, or not: policies and webhooks see its options as the
    /// object of the operation `CONNECT`. Gives the query that it has then, as they may change what is asked for, and
    /// what they warn of.
    ///
    /// # Errors
    /// The first refusal; 500 when one changes the path of a proxy, whose request has begun already.
    pub(crate) async fn admit_stream(
        &self,
        context: &Context,
    ) -> Result<(Query, Vec<String>), Status> {
        let asked = streams::connect_options(&context.path, &context.query);
        let request = Request {
            user: &context.user,
            operation: Operation::Connect,
            kind: context.kind,
            subresource: &context.path.subresource,
            namespace: &context.path.namespace,
            name: &context.path.name,
            notes: &context.notes,
        };
        let (mut options, mut warnings) = (asked.clone(), Vec::new());
        self.mutate(&request, &mut options, None, false, &mut warnings).await?;
        let written = Written::new(&request, &options, None);
        self.policies.check(&written, &self.around(false), &mut warnings)?;
        self.validate_by_webhooks(&written, false, &mut warnings).await?;
        if options == asked {
            return Ok((context.query.clone(), warnings));
        }
        if context.path.subresource == "proxy" {
            let why = "an admission webhook or policy changed the path of a proxy, which may only be let in or refused";
            return Err(Status::internal(why));
        }
        Ok((streams::query_of(&options), warnings))
    }

    /// Charges a write to the quotas of its namespace.
    ///
    /// # Errors
    /// 403 when it goes beyond one.
    pub(crate) async fn charge(
        &self,
        context: &Context,
        operation: Operation,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Charge<'_>, Status> {
        let subject = Subject::of(context, operation, object);
        let request = subject.request(context, operation);
        if !quota::may_charge(&request, &self.caches) {
            return Ok(Charge { writes: Vec::new(), _turn: None });
        }
        let turn = self.quota_turns.take(request.namespace).await;
        let charged = quota::charge(&request, object, old, &self.caches)?;
        let put = |charged: quota::Charged| {
            let kind = coracle_api::registry::by_kind("", "v1", "ResourceQuota")?;
            let (key, guard) = (charged.stored.key.clone(), Guard::At(charged.stored.revision));
            Some(Write::put(key, cache::encode(kind, &charged.fresh), guard))
        };
        Ok(Charge { writes: charged.into_iter().filter_map(put).collect(), _turn: turn })
    }
}
