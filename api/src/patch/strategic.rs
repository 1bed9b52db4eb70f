//! Strategic merge patch: a merge patch that knows which lists are sets of things with a key.
//!
//! Directives: `$patch: replace|delete|merge` in an object or a list item, `$retainKeys`,
//! `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`. Which lists merge, and by which
//! key, is in the schema table.
//! *Source:* `k8s.io/apimachinery/pkg/util/strategicpatch`, sig-api-machinery "strategic merge
//! patch".

use serde_json::{Map, Value};

use super::order::{MergeKey, arrange, identity, position};
use crate::schema::{Field, FieldType, Type};
use crate::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Applies a strategic merge patch to an object of a type.
///
/// # Errors
/// 400 when the patch is no object, a directive has a wrong form or value, or an item of a list of
/// objects lacks the key by which the list merges; the message names the field. 422 when it sets a
/// field that its `$retainKeys` does not name, or holds a list of lists.
pub fn apply(target: &Value, patch: &Value, ty: &Type) -> Result<Value, Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request("a strategic merge patch must be a JSON object"));
    };
    let original = target.as_object().cloned().unwrap_or_default();
    let merged = merge_object(original, patch.clone(), Some(ty)).map_err(|why| match why {
        BadPatch::Malformed(why) => Status::bad_request(why),
        BadPatch::Contradictory(why) => Status::unprocessable(why),
    })?;
    Ok(Value::Object(merged))
}

/// What is wrong with a patch.
enum BadPatch {
    /// Its form.
    Malformed(String),
    /// Its form is right, and what it says cannot be done.
    Contradictory(&'static str),
}

fn bad<T>(message: impl Into<String>) -> Result<T, BadPatch> {
    Err(BadPatch::Malformed(message.into()))
}

/// How one field merges. Where no type is known, objects merge and lists are replaced.
struct Plan<'t> {
    item: Option<&'t Type>,
    merge_list: bool,
    replace: bool,
    key: MergeKey<'t>,
}

fn plan<'t>(ty: Option<&'t Type>, field: &str) -> Plan<'t> {
    let Some(field) = ty.and_then(|ty| ty.field(field)) else {
        return Plan { item: None, merge_list: false, replace: false, key: "" };
    };
    Plan {
        item: item_type(&field.ty),
        merge_list: field.patch_strategy.merge,
        replace: field.patch_strategy.replace,
        key: merge_key(field),
    }
}

fn merge_key(field: &Field) -> &'static str {
    field.merge_key.unwrap_or_default()
}

/// Gives the structure behind a field, looking through lists and maps.
fn item_type(ty: &FieldType) -> Option<&'static Type> {
    match ty {
        FieldType::Ref(ty) => Some(*ty),
        FieldType::List(item) => item_type(item),
        FieldType::Map(_)
        | FieldType::String
        | FieldType::Bool
        | FieldType::Int32
        | FieldType::Int64
        | FieldType::Double
        | FieldType::Bytes
        | FieldType::Time
        | FieldType::MicroTime
        | FieldType::Duration
        | FieldType::Quantity
        | FieldType::IntOrString
        | FieldType::RawExtension
        | FieldType::FieldsV1
        | FieldType::Json
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => None,
    }
}

fn merge_object(
    mut original: Object,
    mut patch: Object,
    ty: Option<&Type>,
) -> Result<Object, BadPatch> {
    match patch.remove(DIRECTIVE) {
        None => {}
        Some(Value::String(word)) if word == "replace" => {
            return Ok(without_directives(patch));
        }
        Some(Value::String(word)) if word == "delete" => return Ok(Object::new()),
        Some(Value::String(word)) if word == "merge" => {}
        Some(other) => return bad(format!("unknown patch type: {other}")),
    }
    retain_keys(&mut original, &mut patch)?;
    merge_ordered_lists(&mut original, &mut patch, ty)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            delete_from_list(&mut original, list, &value)?;
        } else {
            merge_field(&mut original, name, value, ty)?;
        }
    }
    Ok(original)
}

fn merge_field(
    original: &mut Object,
    name: String,
    value: Value,
    ty: Option<&Type>,
) -> Result<(), BadPatch> {
    if value.is_null() {
        original.remove(&name);
        return Ok(());
    }
    let plan = plan(ty, &name);
    let merged = match (original.remove(&name), value) {
        (Some(Value::Object(old)), Value::Object(new)) if !plan.replace => {
            Value::Object(merge_object(old, new, plan.item)?)
        }
        (Some(Value::Array(old)), Value::Array(new)) if plan.merge_list => {
            Value::Array(merge_list(&name, old, new, &plan)?)
        }
        (_, new) => match settled(new) {
            Some(new) => new,
            None => return Ok(()),
        },
    };
    original.insert(name, merged);
    Ok(())
}

/// Clears what `$retainKeys` does not name. Everything in the patch must be named.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), BadPatch> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(list) = list else {
        return bad("invalid patch format of retainKeys");
    };
    let retained = |name: &str| list.iter().any(|item| item.as_str() == Some(name));
    let unnamed = patch.iter().any(|(name, value)| {
        !value.is_null()
            && !name.starts_with(DELETE_FROM_PRIMITIVE_LIST)
            && !name.starts_with(SET_ELEMENT_ORDER)
            && !retained(name)
    });
    if unnamed {
        return Err(BadPatch::Contradictory("patch content doesn't match retainKeys list"));
    }
    original.retain(|name, _| retained(name));
    Ok(())
}

/// Merges each list that has a `$setElementOrder` and takes both out of the patch.
fn merge_ordered_lists(
    original: &mut Object,
    patch: &mut Object,
    ty: Option<&Type>,
) -> Result<(), BadPatch> {
    let directives: Vec<String> =
        patch.keys().filter(|name| name.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let name = directive[SET_ELEMENT_ORDER.len()..].to_owned();
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return bad("invalid patch format of setElementOrder list");
        };
        let plan = plan(ty, &name);
        let new = take_list(patch, &name)?;
        let old = take_list(original, &name)?;
        if let Some(new) = &new {
            check_order(new, &order, plan.key)?;
        }
        let before = old.clone().unwrap_or_default();
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => settled_list(new),
            (Some(old), Some(new)) if plan.merge_list => merge_list(&name, old, new, &plan)?,
            (Some(_), Some(new)) => new,
        };
        check_keys(&name, &merged, plan.key)?;
        let arranged = arrange(merged, &order, &before, plan.key);
        original.insert(name, Value::Array(arranged));
    }
    Ok(())
}

fn take_list(object: &mut Object, name: &str) -> Result<Option<Vec<Value>>, BadPatch> {
    match object.get_mut(name) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(std::mem::take(list))),
        Some(Value::Null) => return Ok(None),
        Some(_) => bad(format!("expected a slice in field {name:?}, as $setElementOrder names it")),
    }
    .inspect(|_| {
        object.remove(name);
    })
}

/// Checks that the items of the patch stand in the wanted order and are all part of it.
fn check_order(new: &[Value], order: &[Value], key: MergeKey<'_>) -> Result<(), BadPatch> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in new.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = identity(item, key);
        if !rest.any(|ordered| identity(ordered, key) == wanted) {
            return bad(format!(
                "the order in patch list does not match $setElementOrder list: {wanted} is \
                 missing there or stands earlier"
            ));
        }
    }
    Ok(())
}

fn merge_list(
    name: &str,
    old: Vec<Value>,
    new: Vec<Value>,
    plan: &Plan<'_>,
) -> Result<Vec<Value>, BadPatch> {
    if old.is_empty() && new.is_empty() {
        return Ok(old);
    }
    let mut all = old.iter().chain(&new);
    let objects = all.clone().any(Value::is_object);
    if objects && !all.clone().all(Value::is_object) {
        return bad(format!("list element types are not identical: {name}"));
    }
    if all.any(Value::is_array) {
        return Err(BadPatch::Contradictory("lists of lists are not supported"));
    }
    if objects { merge_objects(name, old, new, plan) } else { Ok(merge_scalars(old, new)) }
}

fn merge_scalars(old: Vec<Value>, new: Vec<Value>) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::with_capacity(old.len() + new.len());
    for item in old.iter().chain(&new) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    arrange(merged, &new, &old, "")
}

fn merge_objects(
    name: &str,
    old: Vec<Value>,
    new: Vec<Value>,
    plan: &Plan<'_>,
) -> Result<Vec<Value>, BadPatch> {
    if plan.key.is_empty() {
        return bad(format!("cannot merge lists without merge key for {name}"));
    }
    let (old, new) = obey_items(name, old, new, plan.key)?;
    check_keys(name, &new, plan.key)?;
    let mut merged = old.clone();
    for item in &new {
        match position(&merged, item, plan.key) {
            None => merged.extend(settled(item.clone())),
            Some(index) => {
                let (Value::Object(before), Value::Object(change)) =
                    (merged[index].take(), item.clone())
                else {
                    return bad(format!("list element types are not identical: {name}"));
                };
                merged[index] = Value::Object(merge_object(before, change, plan.item)?);
            }
        }
    }
    Ok(arrange(merged, &new, &old, plan.key))
}

/// Carries out `$patch` in list items: `delete` removes the item with that key, `replace` drops the
/// whole old list. Gives what is left of the old list and the items without directive.
fn obey_items(
    name: &str,
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: MergeKey<'_>,
) -> Result<(Vec<Value>, Vec<Value>), BadPatch> {
    let mut plain = vec![];
    let mut replace = false;
    for item in new {
        match item.get(DIRECTIVE) {
            None => plain.push(item),
            Some(Value::String(word)) if word == "delete" => {
                check_keys(name, std::slice::from_ref(&item), key)?;
                old.retain(|candidate| identity(candidate, key) != identity(&item, key));
            }
            Some(Value::String(word)) if word == "replace" => replace = true,
            Some(Value::String(word)) if word == "merge" => {
                return bad("merging lists cannot yet be specified in the patch");
            }
            Some(other) => return bad(format!("unknown patch type: {other} in list {name}")),
        }
    }
    Ok(if replace { (settled_list(plain), vec![]) } else { (old, plain) })
}

fn check_keys(name: &str, items: &[Value], key: MergeKey<'_>) -> Result<(), BadPatch> {
    let missing = |item: &&Value| !key.is_empty() && item.get(key).is_none();
    match items.iter().find(missing) {
        None => Ok(()),
        Some(item) => {
            bad(format!("{name}: map: {item} does not contain declared merge key: {key}"))
        }
    }
}

fn delete_from_list(original: &mut Object, list: &str, gone: &Value) -> Result<(), BadPatch> {
    let Value::Array(gone) = gone else {
        return bad("invalid patch format of primitive list");
    };
    if let Some(Value::Array(items)) = original.get_mut(list) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Gives a value as it is stored when there was nothing to merge with: without nulls and
/// directives. `None` when it is itself a directive.
fn settled(value: Value) -> Option<Value> {
    match value {
        Value::Object(mut map) => match map.remove(DIRECTIVE) {
            None => Some(Value::Object(without_directives(map))),
            Some(word) if word == "replace" || word == "merge" => {
                Some(Value::Object(without_directives(map)))
            }
            Some(_) => None,
        },
        Value::Array(list) => Some(Value::Array(settled_list(list))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value),
    }
}

fn settled_list(list: Vec<Value>) -> Vec<Value> {
    list.into_iter().filter(|item| item.get(DIRECTIVE).is_none()).filter_map(settled).collect()
}

fn without_directives(map: Object) -> Object {
    let is_directive = |name: &str| {
        name == RETAIN_KEYS
            || name.starts_with(SET_ELEMENT_ORDER)
            || name.starts_with(DELETE_FROM_PRIMITIVE_LIST)
    };
    map.into_iter()
        .filter(|(name, value)| !value.is_null() && !is_directive(name))
        .filter_map(|(name, value)| Some((name, settled(value)?)))
        .collect()
}

#[cfg(test)]
mod tests;
