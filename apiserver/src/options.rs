//! The options of each verb, read from the query (and a delete's body) and checked.
//!
//! *Source:* `ListOptions`, `CreateOptions`, `UpdateOptions`, `PatchOptions` and `DeleteOptions` of `meta.k8s.io/v1`
//! and their validation; errors name the options kind as upstream does.

use coracle_api::decode::FieldValidation;
use coracle_api::field_error::FieldError;
use coracle_api::key::GroupKind;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use serde_json::Value;

use crate::query::Query;

/// How exactly a list must meet `resourceVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// The state at that very revision.
    Exact,
    /// That revision or a later one.
    NotOlderThan,
}

/// What a list or watch asks for.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Labels that objects must have.
    pub labels: LabelSelector,
    /// Fields that objects must have.
    pub fields: FieldSelector,
    /// Revision asked for; `None` means "the latest", 0 means "any".
    pub resource_version: Option<u64>,
    /// How exactly; `None` when not said.
    pub version_match: Option<VersionMatch>,
    /// Most items in one answer, 0 for no limit.
    pub limit: usize,
    /// Token of the page before.
    pub continue_token: Option<String>,
    /// Whether to send `BOOKMARK` events.
    pub bookmarks: bool,
    /// Whether to begin a watch with the current state and an annotated bookmark.
    pub send_initial_events: Option<bool>,
    /// Seconds after which the server ends a watch or gives up a list.
    pub timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads the options of a list (`watch` false) or a watch.
    ///
    /// # Errors
    /// 400 for selectors and numbers that cannot be parsed, 422 for combinations that make no sense.
    pub fn parse(query: &Query, watch: bool) -> Result<ListOptions, Status> {
        let text = |name: &str| query.get(name).unwrap_or("");
        let mut errors = Vec::new();
        let version_match = version_match(text("resourceVersionMatch"), &mut errors);
        let options = ListOptions {
            labels: LabelSelector::parse(text("labelSelector")).map_err(bad)?,
            fields: FieldSelector::parse(text("fieldSelector")).map_err(bad)?,
            resource_version: resource_version(text("resourceVersion"))?,
            version_match,
            limit: non_negative(query, "limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
            continue_token: query.get("continue").map(str::to_owned),
            bookmarks: query.is_true("allowWatchBookmarks"),
            send_initial_events: query.flag("sendInitialEvents"),
            timeout_seconds: non_negative(query, "timeoutSeconds")?,
        };
        if watch {
            options.check_watch(&mut errors);
        } else {
            options.check_list(&mut errors);
        }
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", errors))
        }
    }

    fn check_list(&self, errors: &mut Vec<FieldError>) {
        let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
        if let Some(version_match) = self.version_match {
            if self.resource_version.is_none() {
                forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if self.continue_token.is_some() {
                forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if version_match == VersionMatch::Exact && self.resource_version == Some(0) {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                forbid("resourceVersionMatch", why);
            }
        }
        if self.send_initial_events.is_some() {
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
    }

    fn check_watch(&self, errors: &mut Vec<FieldError>) {
        let mut forbid = |field: &str, why: &str| errors.push(FieldError::forbidden(field, why));
        match (self.send_initial_events, self.version_match) {
            (None, Some(_)) => forbid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
            (Some(_), None | Some(VersionMatch::Exact)) => forbid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (None, None) | (Some(_), Some(VersionMatch::NotOlderThan)) => {}
        }
        if self.continue_token.is_some() {
            forbid("continue", "continue is forbidden for watch");
        }
    }
}

fn version_match(text: &str, errors: &mut Vec<FieldError>) -> Option<VersionMatch> {
    match text {
        "" => None,
        "Exact" => Some(VersionMatch::Exact),
        "NotOlderThan" => Some(VersionMatch::NotOlderThan),
        other => {
            errors.push(FieldError::not_supported(
                "resourceVersionMatch",
                other,
                &["Exact", "NotOlderThan"],
            ));
            None
        }
    }
}

/// Parses a resource version as clients send it; empty means that none was given.
///
/// # Errors
/// 400 when it is no unsigned decimal number.
pub fn resource_version(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |_| {
        let error =
            FieldError::invalid("resourceVersion", text, "strconv.ParseUint: invalid syntax");
        Status::bad_request(error.to_string())
    };
    text.parse().map(Some).map_err(invalid)
}

fn non_negative(query: &Query, name: &str) -> Result<Option<u64>, Status> {
    let bad = |text: String| {
        Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
    };
    let value = query.integer(name).map_err(bad)?;
    Ok(value.and_then(|n| u64::try_from(n).ok()))
}

fn bad(error: impl std::fmt::Display) -> Status {
    Status::bad_request(error.to_string())
}

/// What every write takes besides its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Do all but the write.
    pub dry_run: bool,
    /// What to do about unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Whether a server-side apply takes fields that others own.
    pub force: bool,
}

impl WriteOptions {
    /// Reads `dryRun`, `fieldValidation` and `fieldManager`; `kind` is `CreateOptions`, `UpdateOptions` or
    /// `PatchOptions`, for the error.
    ///
    /// # Errors
    /// 422 for values that are none of the allowed ones.
    pub fn parse(query: &Query, kind: &'static str) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        if kind == "PatchOptions" && query.flag("force").is_some() {
            let why = "may not be specified for non-apply patch";
            errors.push(FieldError::forbidden("force", why));
        }
        Self::parse_with(query, kind, errors)
    }

    /// Reads the options of a server-side apply, `force` among them.
    ///
    /// # Errors
    /// As [`WriteOptions::parse`], and without `fieldManager`, because fields need an owner.
    pub fn parse_apply(query: &Query) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        if query.get("fieldManager").is_none() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        Self::parse_with(query, "PatchOptions", errors)
    }

    fn parse_with(
        query: &Query,
        kind: &'static str,
        mut errors: Vec<FieldError>,
    ) -> Result<WriteOptions, Status> {
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let field_validation = match query.get("fieldValidation").unwrap_or("") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, &supported));
                FieldValidation::Warn
            }
        };
        let manager = query.get("fieldManager").unwrap_or("");
        if manager.len() > FIELD_MANAGER_BYTES_MAX {
            errors.push(FieldError::too_long("fieldManager", FIELD_MANAGER_BYTES_MAX));
        }
        if manager.chars().any(char::is_control) {
            let why = "should only contain printable characters";
            errors.push(FieldError::invalid("fieldManager", manager, why));
        }
        let force = query.is_true("force");
        let options = WriteOptions { dry_run, field_validation, force };
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid(&GroupKind::new("meta.k8s.io", kind), "", errors))
        }
    }
}

/// Longest `fieldManager`, upstream's limit.
pub const FIELD_MANAGER_BYTES_MAX: usize = 128;

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Vec<FieldError>) -> bool {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value == "All" {
            dry = true;
        } else {
            errors.push(FieldError::not_supported("dryRun", [value], &["All"]));
        }
    }
    dry
}

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without their owner reference.
    Orphan,
    /// The garbage collector deletes them afterwards.
    Background,
    /// The garbage collector deletes them first.
    Foreground,
}

/// What a delete asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds that the object may take to end; `None` means the kind's own default.
    pub grace_period_seconds: Option<i64>,
    /// Delete only if the object has this uid.
    pub uid: Option<String>,
    /// Delete only if the object is at this revision.
    pub resource_version: Option<String>,
    /// What becomes of dependents; `None` leaves the object's finalizers as they are.
    pub propagation: Option<Propagation>,
    /// Do all but the write.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads the options from a body, or from the query when there is no body.
    ///
    /// # Errors
    /// 422 for values that are none of the allowed ones, and when both `orphanDependents` and `propagationPolicy`
    /// are given.
    pub fn parse(body: Option<&Value>, query: &Query) -> Result<DeleteOptions, Status> {
        let text = |name: &str| match body {
            Some(body) => body.get(name).and_then(Value::as_str),
            None => query.get(name),
        };
        let precondition = |name: &str| match body {
            Some(body) => {
                body.get("preconditions").and_then(|p| p.get(name)).and_then(Value::as_str)
            }
            None => query.get(name).filter(|_| name == "uid"),
        };
        let mut errors = Vec::new();
        let orphan = match body {
            Some(body) => body.get("orphanDependents").and_then(Value::as_bool),
            None => query.flag("orphanDependents"),
        };
        let grace_period_seconds = match body {
            Some(body) => body.get("gracePeriodSeconds").and_then(Value::as_i64),
            None => query.integer("gracePeriodSeconds").map_err(|text| {
                Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
            })?,
        };
        let options = DeleteOptions {
            grace_period_seconds,
            uid: precondition("uid").map(str::to_owned),
            resource_version: precondition("resourceVersion").map(str::to_owned),
            propagation: propagation(text("propagationPolicy").unwrap_or(""), orphan, &mut errors),
            dry_run: dry_run_of(body, query, &mut errors),
        };
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid(&GroupKind::new("meta.k8s.io", "DeleteOptions"), "", errors))
        }
    }
}

fn dry_run_of(body: Option<&Value>, query: &Query, errors: &mut Vec<FieldError>) -> bool {
    let in_body = body
        .and_then(|b| b.get("dryRun"))
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    dry_run(in_body.iter().filter_map(Value::as_str).chain(query.all("dryRun")), errors)
}

fn propagation(
    text: &str,
    orphan: Option<bool>,
    errors: &mut Vec<FieldError>,
) -> Option<Propagation> {
    if orphan.is_some() && !text.is_empty() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid("propagationPolicy", text, why));
        return None;
    }
    match (text, orphan) {
        ("", None) => None,
        ("", Some(true)) | ("Orphan", _) => Some(Propagation::Orphan),
        ("", Some(false)) | ("Background", _) => Some(Propagation::Background),
        ("Foreground", _) => Some(Propagation::Foreground),
        (other, _) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            errors.push(FieldError::not_supported("propagationPolicy", other, &supported));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check_list(query: &str, watch: bool, expected: Expect) {
        let text = match ListOptions::parse(&Query::parse(query), watch) {
            Ok(options) => format!("rv={:?} limit={}", options.resource_version, options.limit),
            Err(status) => format!("{} {status}", status.code()),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn lists() {
        check_list("limit=500&resourceVersion=0", false, expect!["rv=Some(0) limit=500"]);
        check_list(
            "resourceVersionMatch=Exact",
            false,
            expect![[
                r#"422 ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#
            ]],
        );
        check_list(
            "sendInitialEvents=true",
            false,
            expect![[
                r#"422 ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"#
            ]],
        );
    }

    #[test]
    fn watches() {
        check_list(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            true,
            expect!["rv=None limit=0"],
        );
        check_list(
            "sendInitialEvents=true",
            true,
            expect![[
                r#"422 ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"#
            ]],
        );
    }

    #[test]
    fn deletes() {
        let body = serde_json::json!({"propagationPolicy": "Foreground", "gracePeriodSeconds": 0,
            "preconditions": {"uid": "u"}});
        let options = DeleteOptions::parse(Some(&body), &Query::default()).unwrap();
        assert_eq!(
            options,
            DeleteOptions {
                grace_period_seconds: Some(0),
                uid: Some("u".to_owned()),
                propagation: Some(Propagation::Foreground),
                ..DeleteOptions::default()
            }
        );
        let status =
            DeleteOptions::parse(None, &Query::parse("propagationPolicy=Never")).unwrap_err();
        assert_eq!(status.code(), 422);
    }
}
