//! Expressions of the Common Expression Language, with Kubernetes' libraries.
//!
//! One environment for the rules of custom resources (`x-kubernetes-validations`) and for admission
//! policies: an [`Expression`] is compiled once, a [`Scope`] binds its variables, and the outcome is
//! a value or an error; nothing here does IO. The interpreter is `kube-cel` on `cel`; it checks no
//! types before it runs, so a mistake of types shows when a rule is first evaluated, and fails it.
//! *Source:* Kubernetes documentation, "Common Expression Language in Kubernetes".

mod authorizer;
mod check;
mod cost;
mod escape;
mod estimate;
mod parse;
mod rewrite;
mod value;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt as _;
use kube_cel::cel::{Context, IdedExpr};

pub use authorizer::{Answer, Authorize, Query};
pub use check::Known;
pub use escape::escape;
pub use estimate::{Form, FormKind, OldSelf};
pub use kube_cel::cel;
pub use parse::DEPTH_MAX;
pub use rewrite::Makes;
pub use value::{Shape, of_json, to_json};

use cost::Cost;

/// Most bytes of one expression: far above what people write, and below what would let a parser
/// work for long.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// Most steps of one evaluation. *Source:* `PerCallLimit` in `k8s.io/apiserver/pkg/apis/cel`.
pub const STEPS_MAX: u64 = 1_000_000;

/// Most steps of all evaluations in one [`Scope`], which is that of a policy, or of a place of an object.
/// *Source:* `RuntimeCELCostBudget` in `k8s.io/apiserver/pkg/apis/cel`.
pub const SCOPE_STEPS_MAX: u64 = 10 * STEPS_MAX;

/// Why an expression gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CelError {
    /// It is not an expression, or speaks of what is not there.
    #[error("compilation failed: {0}")]
    Compile(String),
    /// Its evaluation failed; the text is the interpreter's.
    #[error("{0}")]
    Evaluate(String),
    /// Its evaluation could take too many steps for the size of its variables.
    #[error("cost limit exceeded: call cost exceeds limit")]
    Cost,
    /// Those before it, with the same variables, have left it too few steps.
    #[error(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )]
    Budget,
    /// Its value is not of the kind that is needed.
    #[error("expression must evaluate to {wanted}")]
    Type {
        /// The kind that is needed: `bool`, `string`.
        wanted: &'static str,
    },
}

/// The functions that every expression may call; made once, because there are more than a hundred.
static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = Context::default().with_all();
    authorizer::register(&mut context);
    context
});

/// An expression that was compiled.
#[derive(Debug)]
pub struct Expression {
    text: String,
    program: IdedExpr,
    depth: usize,
    cost: Cost,
}

impl Expression {
    /// Compiles an expression that may speak of the variables in `variables` only.
    ///
    /// # Errors
    /// [`CelError::Compile`] with what is wrong and where.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Expression, CelError> {
        Expression::compile_making(text, variables, Makes::Nothing)
    }

    /// Compiles an expression that may also make certain structures; they become maps.
    ///
    /// # Errors
    /// As [`Expression::compile`].
    pub fn compile_making(
        text: &str,
        variables: &[&str],
        makes: Makes,
    ) -> Result<Expression, CelError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let words = format!("must not be longer than {EXPRESSION_BYTES_MAX} bytes");
            return Err(CelError::Compile(words));
        }
        let program = parse::parse(text, makes)?;
        let cost = Cost::of(&program);
        let references = program.references();
        let known: HashSet<&str> = variables.iter().copied().chain(cost.variables()).collect();
        let mut unknown: Vec<&str> = references.variables();
        let is_known = |name: &str| {
            known.contains(name.strip_suffix(".requestResource").unwrap_or(name))
                || TYPES.contains(&name)
        };
        unknown.retain(|name| !is_known(name));
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            let words = format!("undeclared reference to '{name}' (in container '')");
            return Err(CelError::Compile(words));
        }
        let depth = parse::depth(&program);
        Ok(Expression { text: text.to_owned(), program, depth, cost })
    }

    /// Returns the expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether the expression speaks of a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.program.references().has_variable(variable)
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// Before it begins, [`CelError::Cost`] when it could take too long, and [`CelError::Budget`] when it and all that
    /// were evaluated in this scope before could; and [`CelError::Evaluate`].
    pub fn evaluate(&self, scope: &Scope) -> Result<cel::Value, CelError> {
        let steps = self.cost.steps(scope.largest);
        if steps > STEPS_MAX {
            return Err(CelError::Cost);
        }
        if scope.spent.fetch_add(steps, Ordering::Relaxed) + steps > SCOPE_STEPS_MAX {
            return Err(CelError::Budget);
        }
        // The interpreter panics at a few things, such as sums beyond its numbers; nothing of it is used afterwards.
        let resolve = || cel::Value::resolve(&self.program, &scope.context);
        let value = parse::with_room(self.depth, resolve).map_err(CelError::Evaluate)?;
        value.map_err(|error| CelError::Evaluate(error.to_string()))
    }

    /// Evaluates the expression to a truth value.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and [`CelError::Type`] for another value.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, CelError> {
        let cel::Value::Bool(value) = self.evaluate(scope)? else {
            return Err(CelError::Type { wanted: "bool" });
        };
        Ok(value)
    }

    /// Evaluates the expression to text.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and [`CelError::Type`] for another value.
    pub fn text_value(&self, scope: &Scope) -> Result<String, CelError> {
        let cel::Value::String(text) = self.evaluate(scope)? else {
            return Err(CelError::Type { wanted: "string" });
        };
        Ok(text.to_string())
    }
}

/// Names of types, which expressions may compare with.
const TYPES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "dyn",
    "optional",
    "math",
    "strings",
    "sets",
    "lists",
    "base64",
    "format",
    "jsonpatch",
    "ip",
    "cidr",
    "semver",
    "quantity",
    "url",
];

/// The variables of an evaluation.
pub struct Scope {
    context: Context<'static>,
    /// Size of the largest list, map or text in a variable.
    largest: u64,
    /// Steps of the evaluations so far, each as many as it could take.
    spent: AtomicU64,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope::new()
    }
}

impl Scope {
    /// Makes a scope with the functions of all libraries and no variables.
    pub fn new() -> Scope {
        Scope { context: FUNCTIONS.new_inner_scope(), largest: 1, spent: AtomicU64::new(0) }
    }

    /// Binds a variable to a JSON value whose form is `shape`.
    pub fn bind(&mut self, name: &str, value: &serde_json::Value, shape: Shape<'_>) {
        self.largest = self.largest.max(cost::largest(value));
        self.context.add_variable_from_value(name, of_json(value, shape));
    }

    /// Binds `authorizer`, and `authorizer.requestResource` to the resource of the request.
    pub fn bind_authorizer(&mut self, by: Arc<dyn Authorize>, resource: Query) {
        for (name, value) in authorizer::values(by, resource) {
            self.context.add_variable_from_value(name, value);
        }
    }

    /// Binds a variable to a value that is ready.
    pub fn bind_value(&mut self, name: &str, value: cel::Value) {
        self.context.add_variable_from_value(name, value);
    }
}

#[cfg(test)]
mod tests;
