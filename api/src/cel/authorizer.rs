//! The `authorizer` variable: expressions ask whether the sender of a request may do something else.
//!
//! A query is built step by step (`authorizer.group('apps').resource('deployments').check('create')`) and put to an
//! [`Authorize`] that the caller brings; nothing here decides. Selectors of fields and labels are read and narrow
//! nothing, as in an authorizer that does not look at them.
//! *Source:* `k8s.io/apiserver/pkg/cel/library/authz.go` in behaviour.

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{Context, ExecutionError, ResolveResult, Value as Cel};

/// The variable's name.
pub(super) const AUTHORIZER: &str = "authorizer";
/// The name of the variable for the request's own resource.
pub(super) const REQUEST_RESOURCE: &str = "authorizer.requestResource";
/// How expressions select it.
pub(super) const REQUEST_RESOURCE_FIELD: &str = "requestResource";

/// What an expression asks about; empty fields are not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// A path, for a question that is not about a resource.
    pub path: String,
    /// The API group.
    pub group: String,
    /// The plural of the resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// A service account (namespace, name) about whom it is asked, instead of the request's user.
    pub account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

/// Answers queries for the user of one request.
pub trait Authorize: Send + Sync {
    /// Answers.
    fn answer(&self, query: &Query) -> Answer;
}

/// A step on the way to an answer; all steps have one type, and each function says what it needs.
#[derive(Clone)]
struct Step {
    by: Arc<dyn Authorize>,
    kind: StepKind,
    query: Query,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    Authorizer,
    Path,
    Group,
    Resource,
}

impl PartialEq for Step {
    fn eq(&self, other: &Step) -> bool {
        self.kind == other.kind && self.query == other.query
    }
}

impl Eq for Step {}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.query)
    }
}

impl Opaque for Step {
    fn runtime_type_name(&self) -> &str {
        match self.kind {
            StepKind::Authorizer => "kubernetes.authorization.Authorizer",
            StepKind::Path => "kubernetes.authorization.PathCheck",
            StepKind::Group => "kubernetes.authorization.GroupCheck",
            StepKind::Resource => "kubernetes.authorization.ResourceCheck",
        }
    }
}

/// An answer as a value.
#[derive(Debug, PartialEq, Eq)]
struct Decided(Answer);

impl Opaque for Decided {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

/// The values of both variables for a request about `resource`.
pub(super) fn values(by: Arc<dyn Authorize>, resource: Query) -> [(&'static str, Cel); 2] {
    let whole = Step { by: Arc::clone(&by), kind: StepKind::Authorizer, query: Query::default() };
    let own = Step { by, kind: StepKind::Resource, query: resource };
    [(AUTHORIZER, Cel::Opaque(Arc::new(whole))), (REQUEST_RESOURCE, Cel::Opaque(Arc::new(own)))]
}

fn wrong(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, "no such overload")
}

/// Takes one step further: from one kind to another, with one part of the query said.
fn step(
    this: &Arc<dyn Opaque>,
    function: &str,
    (from, to): (&[StepKind], Option<StepKind>),
    say: impl FnOnce(&mut Query),
) -> ResolveResult {
    let old = this.downcast_ref::<Step>().filter(|step| from.contains(&step.kind));
    let mut new = old.ok_or_else(|| wrong(function))?.clone();
    new.kind = to.unwrap_or(new.kind);
    say(&mut new.query);
    Ok(Cel::Opaque(Arc::new(new)))
}

type Whole = This<Arc<dyn Opaque>>;
type Text = Arc<String>;

const RESOURCE: &[StepKind] = &[StepKind::Resource];

/// Adds the functions.
pub(super) fn register(context: &mut Context<'_>) {
    let start: &[StepKind] = &[StepKind::Authorizer];
    context.add_function("path", move |This(this): Whole, path: Text| {
        step(&this, "path", (start, Some(StepKind::Path)), |q| q.path = path.to_string())
    });
    context.add_function("group", move |This(this): Whole, group: Text| {
        step(&this, "group", (start, Some(StepKind::Group)), |q| q.group = group.to_string())
    });
    context.add_function(
        "serviceAccount",
        move |This(this): Whole, namespace: Text, name: Text| {
            let account = Some((namespace.to_string(), name.to_string()));
            step(&this, "serviceAccount", (start, None), |query| query.account = account)
        },
    );
    context.add_function("resource", |This(this): Whole, resource: Text| {
        let way = (&[StepKind::Group][..], Some(StepKind::Resource));
        step(&this, "resource", way, |query| query.resource = resource.to_string())
    });
    context.add_function("subresource", |This(this): Whole, part: Text| {
        step(&this, "subresource", (RESOURCE, None), |query| query.subresource = part.to_string())
    });
    context.add_function("namespace", |This(this): Whole, namespace: Text| {
        step(&this, "namespace", (RESOURCE, None), |query| query.namespace = namespace.to_string())
    });
    context.add_function("name", |This(this): Whole, name: Text| {
        step(&this, "name", (RESOURCE, None), |query| query.name = name.to_string())
    });
    for function in ["fieldSelector", "labelSelector"] {
        context.add_function(function, move |This(this): Whole, _selector: Text| {
            step(&this, function, (RESOURCE, None), |_| {})
        });
    }
    register_answers(context);
}

fn register_answers(context: &mut Context<'_>) {
    context.add_function("check", |This(this): Whole, verb: Text| -> ResolveResult {
        let ready = [StepKind::Path, StepKind::Resource];
        let step = this.downcast_ref::<Step>().filter(|step| ready.contains(&step.kind));
        let step = step.ok_or_else(|| wrong("check"))?;
        let query = Query { verb: verb.to_string(), ..step.query.clone() };
        Ok(Cel::Opaque(Arc::new(Decided(step.by.answer(&query)))))
    });
    context.add_function("allowed", |This(this): Whole| -> ResolveResult {
        let decided = this.downcast_ref::<Decided>().ok_or_else(|| wrong("allowed"))?;
        Ok(Cel::Bool(decided.0.allowed))
    });
    context.add_function("reason", |This(this): Whole| -> ResolveResult {
        let decided = this.downcast_ref::<Decided>().ok_or_else(|| wrong("reason"))?;
        Ok(Cel::String(Arc::new(decided.0.reason.clone())))
    });
    // An authorizer that looks at its caches cannot fail.
    context.add_function("errored", |This(this): Whole| -> ResolveResult {
        this.downcast_ref::<Decided>().ok_or_else(|| wrong("errored"))?;
        Ok(Cel::Bool(false))
    });
    context.add_function("error", |This(this): Whole| -> ResolveResult {
        this.downcast_ref::<Decided>().ok_or_else(|| wrong("error"))?;
        Ok(Cel::String(Arc::default()))
    });
}
