//! What the rules of a definition may cost at most; definitions over the budget are refused.
//!
//! A rule counts as often as its place can be there: as the bounds of the lists and maps around it say, or, where one of
//! them has none, as often as it fits into a request.
//! *Source:* `ValidateCustomResourceDefinitionOpenAPISchema` and `CELSchemaContext` in apiextensions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::schema::{Additional, Structural};
use crate::cel::{Form, FormKind, escape};
use crate::field_error::FieldError;

/// Most that one rule may cost. *Source:* `StaticEstimatedCostLimit`.
const RULE_COST_MAX: u64 = 10_000_000;
/// Most that all rules of a schema may cost. *Source:* `StaticEstimatedCRDCostLimit`.
const SCHEMA_COST_MAX: u64 = 100_000_000;
/// A rule that is named for a schema that costs too much, when it costs this much itself.
const NAMED_COST_MIN: u64 = SCHEMA_COST_MAX / 100;
/// How many rules are named for a schema that costs too much.
const NAMED_RULES_MAX: usize = 4;
/// Bytes of the shortest and most of the longest text of times. *Source:* `k8s.io/apiserver/pkg/cel/limits.go`.
const DATE_BYTES: u64 = 12;
const TIME_BYTES: (u64, u64) = (21, 32);
const DURATION_BYTES: (u64, u64) = (3, 32);

/// Which budgets a schema must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budgets {
    /// That of each rule, and that of the schema.
    All,
    /// That of the schema alone: it is as it was, and what was taken once stays.
    Schema,
}

/// Says which rules of a whole object's schema cost too much. `path` is that of the schema.
pub(super) fn complaints(schema: &Structural, path: &str, budgets: Budgets) -> Vec<FieldError> {
    let mut count = Count { budgets, errors: Vec::new(), total: 0, dearest: Vec::new() };
    count.look(schema, (path, Place::Root), Some(1));
    if count.total > SCHEMA_COST_MAX {
        let words = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let named = count.dearest.into_iter().map(|(_, path)| FieldError::forbidden(path, words));
        count.errors.extend(named);
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let words = over(what, count.total, SCHEMA_COST_MAX);
        count.errors.push(FieldError::forbidden(path, words));
    }
    count.errors
}

/// Where a schema stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Below,
}

/// What was found so far.
struct Count {
    budgets: Budgets,
    errors: Vec<FieldError>,
    total: u64,
    /// The dearest rules and their paths, the dearest first.
    dearest: Vec<(u64, String)>,
}

impl Count {
    /// `times` is how often the place can be there; `None` when nothing bounds it.
    fn look(&mut self, schema: &Structural, (path, place): (&str, Place), times: Option<u64>) {
        let below = times.zip(items_max(schema)).map(|(times, items)| times.saturating_mul(items));
        for (name, property) in &schema.properties {
            let path = format!("{path}.properties[{name}]");
            self.look(property, (&path, Place::Below), below);
        }
        if let Additional::Schema(values) = &schema.additional {
            self.look(values, (&format!("{path}.additionalProperties"), Place::Below), below);
        }
        if let Some(items) = &schema.items {
            self.look(items, (&format!("{path}.items"), Place::Below), below);
        }
        self.rules(schema, (path, place), times);
    }

    fn rules(&mut self, schema: &Structural, (path, place): (&str, Place), times: Option<u64>) {
        if schema.rules.is_empty() {
            return;
        }
        let Some(form) = form(schema, place) else { return };
        let times = times.unwrap_or_else(|| form.times_max());
        for (index, rule) in schema.rules.iter().enumerate() {
            let (once, message) = rule.costs_max(&form);
            let path = format!("{path}.x-kubernetes-validations[{index}]");
            self.rule(format!("{path}.rule"), "estimated rule cost", once.saturating_mul(times));
            if let Some(message) = message {
                let path = format!("{path}.messageExpression");
                self.rule(path, "estimated messageExpression cost", message);
            }
        }
    }

    fn rule(&mut self, path: String, what: &str, cost: u64) {
        if self.budgets == Budgets::All && cost > RULE_COST_MAX {
            let words = over(what, cost, RULE_COST_MAX);
            self.errors.push(FieldError::forbidden(path.clone(), words));
        }
        self.total = self.total.saturating_add(cost);
        if cost < NAMED_COST_MIN {
            return;
        }
        self.dearest.push((cost, path));
        self.dearest.sort_by_key(|(cost, _)| Reverse(*cost));
        self.dearest.truncate(NAMED_RULES_MAX);
    }
}

/// How many of what is in it a place can have; `None` when it has no bound.
fn items_max(schema: &Structural) -> Option<u64> {
    let has_members = !matches!(schema.additional, Additional::None);
    let most = match schema.ty.as_ref() {
        "object" if has_members => schema.limits.max_properties,
        "array" => schema.limits.max_items,
        _ => Some(1),
    };
    most.map(|most| most as u64)
}

fn over(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let shown = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// The form of the values of a place; `None` for one that rules do not see.
///
/// *Source:* `SchemaDeclType` in `k8s.io/apiserver/pkg/cel/common`.
fn form(schema: &Structural, place: Place) -> Option<Form> {
    let limits = &schema.limits;
    let bound = |most: Option<usize>| most.map(|most| most as u64);
    // A letter may take four bytes.
    let letters = bound(limits.max_length).map(|most| most.saturating_mul(4));
    if schema.int_or_string {
        return Some(Form { kind: FormKind::Dyn, bytes_min: 1, ..Form::text(letters) });
    }
    if place == Place::Root || schema.embedded {
        return Some(object(schema, true));
    }
    Some(match schema.ty.as_ref() {
        "array" => {
            let item = form(schema.items.as_deref()?, Place::Below)?;
            Form::list(item, bound(limits.max_items))
        }
        "object" => match &schema.additional {
            Additional::Schema(values) => {
                Form::map(form(values, Place::Below)?, bound(limits.max_properties))
            }
            Additional::None | Additional::Any => object(schema, false),
        },
        "string" => text(schema, letters),
        "boolean" => Form::scalar(4),
        "number" | "integer" => Form::scalar(1),
        _ => return None,
    })
}

fn object(schema: &Structural, is_whole: bool) -> Form {
    let mut fields: BTreeMap<String, Form> = BTreeMap::new();
    // The braces.
    let mut bytes_min = 2_u64;
    for (name, property) in &schema.properties {
        let Some(form) = form(property, Place::Below) else { continue };
        // What has a default is filled in by the server.
        if schema.limits.required.contains(name) && property.default.is_none() {
            let size = (name.len() as u64).saturating_add(form.bytes_min).saturating_add(4);
            bytes_min = bytes_min.saturating_add(size);
        }
        if let Some(escaped) = escape(name) {
            fields.insert(escaped, form);
        }
    }
    if is_whole {
        let whole = |fields| Form { kind: FormKind::Object(fields), elements_max: 0, bytes_min: 2 };
        let names = ["name", "generateName"].map(|name| (name.to_owned(), Form::text(None)));
        fields.insert("metadata".to_owned(), whole(names.into()));
        for name in ["apiVersion", "kind"] {
            fields.insert(name.to_owned(), Form::text(None));
        }
    }
    Form { kind: FormKind::Object(fields), elements_max: 0, bytes_min }
}

fn text(schema: &Structural, letters: Option<u64>) -> Form {
    let limits = &schema.limits;
    let time = |elements_max, bytes_min| Form { kind: FormKind::Scalar, elements_max, bytes_min };
    match limits.format.as_ref() {
        "byte" => {
            let most = limits.max_length.map(|most| most as u64);
            Form { kind: FormKind::Bytes, ..Form::text(most) }
        }
        "duration" => time(DURATION_BYTES.1, DURATION_BYTES.0),
        "date" => time(DATE_BYTES, DATE_BYTES),
        "date-time" => time(TIME_BYTES.1, TIME_BYTES.0),
        _ => {
            let words = limits.enumeration.iter().flatten().filter_map(|word| word.as_str());
            let longest = words.map(|word| word.len() as u64).max();
            let has_words = limits.enumeration.as_ref().is_some_and(|words| !words.is_empty());
            let by_words = has_words.then(|| longest.unwrap_or(0));
            Form::text(letters.or(by_words))
        }
    }
}

#[cfg(test)]
mod tests;
