//! Rules for what devices are asked for and offered: `resource.k8s.io`.
//!
//! What only fields of features that are off by default say is not looked at.
//! *Source:* `pkg/apis/resource/validation`; KEP-4381.

pub mod claim;
pub mod class;
pub mod slice;
mod status;

pub(crate) use status::{Identity, identity};

use std::collections::HashSet;

use serde_json::Value;

use super::csinode::check_driver_name;
use super::{Errors, complain, has, text};
use crate::cel::Expression;
use crate::field_error::{FieldError, Path};
use crate::names;

/// Most requests of a claim, results of an allocation, and names that a constraint or configuration is for.
const REQUESTS_MAX: usize = 32;

/// Most constraints of a claim.
const CONSTRAINTS_MAX: usize = 32;

/// Most configurations of a claim or class.
const CONFIGURATIONS_MAX: usize = 32;

/// Most selectors of a request or class.
const SELECTORS_MAX: usize = 32;

/// Most alternatives of a request.
const ALTERNATIVES_MAX: usize = 8;

/// Most bytes of the expression of a selector.
const EXPRESSION_BYTES_MAX: usize = 10 << 10;

/// Most bytes of what a driver alone understands.
const PARAMETERS_BYTES_MAX: usize = 10 << 10;

/// Most bytes of the identifier of an attribute or capacity.
const IDENTIFIER_BYTES_MAX: usize = 32;

const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
     alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is \
     '[A-Za-z_][A-Za-z0-9_]*')";

/// Whether something is checked for the first time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    /// It was accepted before, so that limits which came later do not apply.
    Stored,
}

/// Checks each item of a list that is not too long.
fn each(
    errors: &mut Errors,
    path: &Path<'_>,
    list: &[Value],
    max: usize,
    check: impl Fn(&mut Errors, &Path<'_>, &Value),
) {
    if list.len() > max {
        return errors.push(FieldError::too_many(path, list.len(), max));
    }
    for (index, item) in list.iter().enumerate() {
        check(errors, &path.index(index), item);
    }
}

/// Refuses items of a list whose keys are the same.
fn once<'a>(
    errors: &mut Errors,
    path: &Path<'_>,
    list: &'a [Value],
    key: impl Fn(&'a Value) -> &'a str,
) {
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        if !seen.insert(key(item)) {
            errors.push(FieldError::duplicate(path.index(index), key(item)));
        }
    }
}

fn named(item: &Value) -> &str {
    text(item, "name")
}

fn own(item: &Value) -> &str {
    item.as_str().unwrap_or_default()
}

/// Checks a name of one label: of a request, a device or a set of counters.
fn check_label(errors: &mut Errors, path: &Path<'_>, name: &str) {
    complain(errors, path, name, names::dns1123_label(name));
}

/// Checks the name of a pool: subdomains with slashes between them.
fn check_pool(errors: &mut Errors, path: &Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    if name.len() > names::DNS1123_SUBDOMAIN_BYTES_MAX {
        errors.push(FieldError::too_long(path, names::DNS1123_SUBDOMAIN_BYTES_MAX));
    }
    for part in name.split('/') {
        complain(errors, path, part, names::dns1123_subdomain(part));
    }
}

/// Checks the selectors of a request or class.
fn check_selectors(errors: &mut Errors, path: &Path<'_>, list: &[Value], age: Age) {
    each(errors, path, list, SELECTORS_MAX, |errors, path, selector| {
        let path = path.child("cel");
        if !has(selector, "cel") {
            return errors.push(FieldError::required(path, ""));
        }
        let expression = text(&selector["cel"], "expression");
        let path = path.child("expression");
        if expression.len() > EXPRESSION_BYTES_MAX {
            errors.push(FieldError::too_long(path, EXPRESSION_BYTES_MAX));
        } else if age == Age::New
            && let Err(error) = Expression::compile(expression, &["device"])
        {
            errors.push(FieldError::invalid(path, expression, error.to_string()));
        }
    });
}

/// Checks a configuration, which is for one driver.
fn check_configuration(errors: &mut Errors, path: &Path<'_>, configuration: &Value, age: Age) {
    let path = path.child("opaque");
    if !has(configuration, "opaque") {
        return errors.push(FieldError::required(path, ""));
    }
    let opaque = &configuration["opaque"];
    check_driver_name(errors, &path.child("driver"), text(opaque, "driver"));
    check_object(errors, &path.child("parameters"), &opaque["parameters"], age);
}

/// Checks an object of which nobody here knows more.
fn check_object(errors: &mut Errors, path: &Path<'_>, value: &Value, age: Age) {
    if value.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if age == Age::New && value.to_string().len() > PARAMETERS_BYTES_MAX {
        errors.push(FieldError::too_long(path, PARAMETERS_BYTES_MAX));
    } else if !value.is_object() {
        let words = "must be a valid JSON object";
        errors.push(FieldError::invalid(path, "<value omitted>", words));
    }
}

/// Checks the name of an attribute or capacity: an identifier, with the domain of whose it is.
fn check_qualified(errors: &mut Errors, path: &Path<'_>, name: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [identifier] => check_identifier(errors, path, identifier),
        [domain, identifier] => {
            if domain.is_empty() {
                errors.push(FieldError::invalid(path, "", "the domain must not be empty"));
            } else {
                check_driver_name(errors, path, domain);
            }
            if identifier.is_empty() {
                errors.push(FieldError::invalid(path, "", "the name must not be empty"));
            } else {
                check_identifier(errors, path, identifier);
            }
        }
        // Upstream looks no further.
        _ => {}
    }
}

fn check_identifier(errors: &mut Errors, path: &Path<'_>, identifier: &str) {
    if identifier.len() > IDENTIFIER_BYTES_MAX {
        errors.push(FieldError::too_long(path, IDENTIFIER_BYTES_MAX));
    }
    let is_fine = !identifier.is_empty()
        && !identifier.starts_with(|c: char| c.is_ascii_digit())
        && identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_fine {
        errors.push(FieldError::invalid(path, identifier, IDENTIFIER));
    }
}
