//! What an expression may cost at most, said before there is an object: from the bounds of the schema that its variables
//! have (`maxItems`, `maxProperties`, `maxLength`, `enum`), or from what a request can hold at all.
//!
//! Definitions are refused by it, so the numbers are those of upstream, its oddities included: what is right there to the
//! last unit is written down in `estimate/costs.txt` and tested.
//! *Source:* `checker.Cost` of `cel-go` 0.26 and `library.CostEstimator` of `k8s.io/apiserver` 1.35, in behaviour.

mod call;
mod size;
mod walk;

use std::collections::BTreeMap;

use super::Expression;
use walk::Walk;

/// Most bytes of a request. *Source:* `MaxRequestSizeBytes` in `k8s.io/apiserver/pkg/apis/cel`.
const REQUEST_BYTES_MAX: u64 = 3 << 20;

/// The form of a value as far as costs depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// What it is.
    pub kind: FormKind,
    /// Most items of a list, members of a map, or bytes of a text; 0 for what has no such size.
    pub elements_max: u64,
    /// Least bytes of its JSON.
    pub bytes_min: u64,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum FormKind {
    /// A number or a text.
    Dyn,
    /// A truth value, number, time or duration.
    Scalar,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// A list of items.
    List(Box<Form>),
    /// A map of texts to values.
    Map(Box<Form>),
    /// An object with these fields, by their names in CEL.
    Object(BTreeMap<String, Form>),
}

impl Form {
    /// A form of fixed size.
    pub fn scalar(bytes_min: u64) -> Form {
        Form { kind: FormKind::Scalar, elements_max: 0, bytes_min }
    }

    /// A text of so many bytes at most; without a bound, as many as a request can hold.
    pub fn text(elements_max: Option<u64>) -> Form {
        // The quotes are no part of it.
        let elements_max = elements_max.unwrap_or(REQUEST_BYTES_MAX - 2);
        Form { kind: FormKind::Text, elements_max, bytes_min: 2 }
    }

    /// A list of so many items at most.
    pub fn list(item: Form, elements_max: Option<u64>) -> Form {
        let room = || (REQUEST_BYTES_MAX - 2) / item.bytes_min.saturating_add(1);
        let elements_max = elements_max.unwrap_or_else(room);
        Form { kind: FormKind::List(Box::new(item)), elements_max, bytes_min: 2 }
    }

    /// A map of so many members at most.
    pub fn map(value: Form, elements_max: Option<u64>) -> Form {
        // Six bytes for the shortest key with its quotes, the colon and the comma.
        let room = || (REQUEST_BYTES_MAX - 2) / value.bytes_min.saturating_add(6);
        let elements_max = elements_max.unwrap_or_else(room);
        Form { kind: FormKind::Map(Box::new(value)), elements_max, bytes_min: 2 }
    }

    /// How often a value of this form fits into a request.
    pub fn times_max(&self) -> u64 {
        REQUEST_BYTES_MAX / self.bytes_min.saturating_add(1)
    }

    /// The form behind a step of a path: a field's name, or one of the words for items, keys and values.
    fn step(&self, name: &str) -> Option<&Form> {
        match (&self.kind, name) {
            (FormKind::List(item), walk::ITEMS | walk::VALUES) => Some(item),
            (FormKind::Map(value), walk::ITEMS | walk::VALUES) => Some(value),
            (FormKind::Map(_), walk::KEYS) => Some(&KEY),
            (FormKind::Object(fields), name) => fields.get(name),
            (
                FormKind::Dyn
                | FormKind::Scalar
                | FormKind::Text
                | FormKind::Bytes
                | FormKind::List(_)
                | FormKind::Map(_),
                _,
            ) => None,
        }
    }
}

/// Keys of maps: upstream gives them no size.
static KEY: Form = Form { kind: FormKind::Text, elements_max: 0, bytes_min: 2 };

/// What `oldSelf` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldSelf {
    /// A value as `self`.
    Value,
    /// One that may be missing.
    Optional,
}

impl Expression {
    /// Gives what the expression may cost at most when `self` has a form; `u64::MAX` when it has no bound.
    pub fn cost_max(&self, form: &Form, old: OldSelf) -> u64 {
        Walk::new(form, old).visit(&self.program).cost
    }
}
