//! Costs to the last unit, and what is said of those over the budget.

use serde_json::{Value, json};

use super::*;
use crate::cel::{Expression, OldSelf};

#[test]
fn costs_are_those_of_upstream() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    let mut place: Option<Form> = None;
    for line in include_str!("costs.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some((first, rest)) = line.split_once(' ') else { continue };
        if let "whole" | "part" = first {
            let (times, schema) = rest.split_once(' ').unwrap();
            let schema: Value = serde_json::from_str(schema).unwrap();
            let at = if first == "whole" { Place::Root } else { Place::Below };
            let form = form(&Structural::read(&schema).unwrap(), at).unwrap();
            assert_eq!(form.times_max().to_string(), times, "{schema}");
            place = Some(form);
            continue;
        }
        let (old, first, rule) = match rest.split_once(' ') {
            Some((cost, rule)) if first == "optional" => (OldSelf::Optional, cost, rule),
            Some(_) | None => (OldSelf::Value, first, rest),
        };
        let expression = Expression::compile(rule, &["self", "oldSelf"]).unwrap();
        let cost = expression.cost_max(place.as_ref().unwrap(), old).to_string();
        seen += 1;
        if cost != first {
            wrong.push(format!("{rule}: {cost}, not {first}"));
        }
    }
    assert!(seen > 120, "{seen}");
    assert_eq!(wrong, [""; 0]);
}

fn check(schema: Value, budgets: Budgets, expected: &[&str]) {
    let schema = Structural::read(&schema).unwrap();
    let found: Vec<String> =
        schema.costs_of_rules("root", budgets).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

/// A list of lists of texts with a rule on each text; `None` is no bound.
fn nested(outer: Option<u64>, inner: Option<u64>, rule: &str) -> Value {
    let mut text = json!({"type": "string", "x-kubernetes-validations": [{"rule": rule}]});
    for most in [inner, outer] {
        text = json!({"type": "array", "items": text});
        if let Some(most) = most {
            text["maxItems"] = json!(most);
        }
    }
    json!({"type": "object", "properties": {"a": text}})
}

#[test]
fn a_rule_counts_as_often_as_its_place_can_be_there() {
    let all = Budgets::All;
    check(nested(Some(10), Some(10), "self == 'a'"), all, &[]);
    // Without a bound around it, as often as it fits into a request; 2 each here.
    check(nested(None, Some(10), "self == 'a'"), all, &[]);
    // One look through the longest text costs 314,573 and a little.
    let place = "root.properties[a].items.items.x-kubernetes-validations[0].rule: Forbidden:";
    let factor = |factor: &str| {
        format!("{place} estimated rule cost exceeds budget by factor of {factor} {HINT}")
    };
    check(nested(Some(5), Some(5), "self.contains('a')"), all, &[]);
    check(nested(Some(4), Some(8), "self.contains('a')"), all, &[&factor("1.006637x")]);
    check(nested(Some(10), Some(10), "self.contains('a')"), all, &[&factor("3.1x")]);
    check(nested(Some(10), Some(10), "self.contains('a')"), Budgets::Schema, &[]);
}

#[test]
fn all_rules_together_have_a_budget() {
    let place = "root.properties[a].items.items.x-kubernetes-validations[0].rule: Forbidden:";
    let each =
        format!("{place} estimated rule cost exceeds budget by factor of more than 100x {HINT}");
    let part = format!(
        "{place} contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
    );
    let total = format!(
        "root: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {HINT}"
    );
    let schema = nested(None, None, "self.contains('a')");
    check(schema.clone(), Budgets::All, &[&each, &part, &total]);
    check(schema, Budgets::Schema, &[&part, &total]);
}

#[test]
fn words_of_a_message_have_a_budget() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self > 1", "messageExpression": "'not ' + string(self)"}]}}});
    let place = "root.properties[n].x-kubernetes-validations[0].messageExpression: Forbidden:";
    let each = format!(
        "{place} estimated messageExpression cost exceeds budget by factor of more than 100x {HINT}"
    );
    let part = format!(
        "{place} contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
    );
    let total = format!(
        "root: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {HINT}"
    );
    check(schema, Budgets::All, &[&each, &part, &total]);
}

#[test]
fn definitions_that_people_use_keep_the_budgets() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../network/crds/gateway.json");
    let text = std::fs::read_to_string(file).unwrap();
    let definitions: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!definitions.is_empty());
    for definition in definitions {
        let versions = definition["spec"]["versions"].as_array().unwrap();
        for version in versions {
            check(version["schema"]["openAPIV3Schema"].clone(), Budgets::All, &[]);
        }
    }
}
