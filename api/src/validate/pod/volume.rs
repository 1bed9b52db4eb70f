//! Rules for volumes. Sources that Coracle does not mount are stored as they are, so only their
//! shape as one source per volume is checked.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{Errors, FILE_MODE_MAX, complain, has, items, number, one_of, resources, text};
use super::container::{check_local_path, check_no_climb};
use super::env::{check_resource_ref, check_volume_field_ref};
use crate::field_error::{FieldError, Path};
use crate::names;

const MODE_WORDS: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Shortest life of a projected token in seconds.
const TOKEN_SECONDS_MIN: i64 = 600;

/// Checks volumes and gives their names.
pub(super) fn check<'a>(
    errors: &mut Errors,
    path: &Path<'_>,
    volumes: &'a [Value],
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let name = text(volume, "name");
        check_source(errors, &path, volume);
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
            continue;
        }
        complain(errors, path.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
    }
    seen
}

fn check_source(errors: &mut Errors, path: &Path<'_>, volume: &Value) {
    let fields = volume.as_object().into_iter().flatten();
    let sources: Vec<_> =
        fields.filter(|(field, value)| *field != "name" && !value.is_null()).collect();
    if sources.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for (index, (field, source)) in sources.into_iter().enumerate() {
        let path = path.child(field);
        if index > 0 {
            let words = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(path, words));
            continue;
        }
        check_kind(errors, &path, field, source);
    }
}

fn check_kind(errors: &mut Errors, path: &Path<'_>, field: &str, source: &Value) {
    match field {
        "emptyDir" => {
            let limit = resources::quantity(&source["sizeLimit"]);
            if limit.is_some_and(|limit| limit.is_negative()) {
                let words = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(path.child("sizeLimit"), words));
            }
        }
        "hostPath" => check_host_path(errors, path, source),
        "secret" => check_files(errors, path, source, "secretName"),
        "configMap" => check_files(errors, path, source, "name"),
        "downwardAPI" => {
            check_mode(errors, path, source, "defaultMode");
            check_downward(errors, &path.child("items"), items(source, "items"));
        }
        "projected" => check_projected(errors, path, source),
        "persistentVolumeClaim" => {
            if text(source, "claimName").is_empty() {
                errors.push(FieldError::required(path.child("claimName"), ""));
            }
        }
        "nfs" => {
            for field in ["server", "path"] {
                if text(source, field).is_empty() {
                    errors.push(FieldError::required(path.child(field), ""));
                }
            }
        }
        _ => {}
    }
}

fn check_host_path(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let host = text(source, "path");
    if host.is_empty() {
        errors.push(FieldError::required(path.child("path"), ""));
    }
    check_no_climb(errors, &path.child("path"), host);
    let kind = text(source, "type");
    if !kind.is_empty() {
        let kinds = [
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ];
        one_of(errors, path.child("type"), kind, &kinds);
    }
}

fn check_mode(errors: &mut Errors, path: &Path<'_>, source: &Value, field: &str) {
    let mode = number(source, field).filter(|mode| !(0..=FILE_MODE_MAX).contains(mode));
    if let Some(mode) = mode {
        errors.push(FieldError::invalid(path.child(field), mode, MODE_WORDS));
    }
}

/// Checks a ConfigMap or Secret as files; `name` is the field that names the object.
fn check_files(errors: &mut Errors, path: &Path<'_>, source: &Value, name: &str) {
    if text(source, name).is_empty() {
        errors.push(FieldError::required(path.child(name), ""));
    }
    check_mode(errors, path, source, "defaultMode");
    check_key_paths(errors, &path.child("items"), items(source, "items"));
}

fn check_key_paths(errors: &mut Errors, path: &Path<'_>, items: &[Value]) {
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        for field in ["key", "path"] {
            if text(item, field).is_empty() {
                errors.push(FieldError::required(path.child(field), ""));
            }
        }
        check_file_path(errors, &path.child("path"), text(item, "path"));
        check_mode(errors, &path, item, "mode");
    }
}

/// Refuses file paths that leave the volume or hide behind its internal names.
fn check_file_path(errors: &mut Errors, path: &Path<'_>, value: &str) {
    check_local_path(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

fn check_downward(errors: &mut Errors, path: &Path<'_>, files: &[Value]) {
    for (index, file) in files.iter().enumerate() {
        let path = path.index(index);
        let target = text(file, "path");
        if target.is_empty() {
            errors.push(FieldError::required(path.child("path"), ""));
        }
        check_file_path(errors, &path.child("path"), target);
        match (has(file, "fieldRef"), has(file, "resourceFieldRef")) {
            (true, true) => {
                let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", words));
            }
            (true, false) => {
                check_volume_field_ref(errors, &path.child("fieldRef"), &file["fieldRef"]);
            }
            (false, true) => {
                let source = &file["resourceFieldRef"];
                let path = path.child("resourceFieldRef");
                if text(source, "containerName").is_empty() {
                    errors.push(FieldError::required(path.child("containerName"), ""));
                } else {
                    check_resource_ref(errors, &path, source);
                }
            }
            (false, false) => {
                let words = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(path, words));
            }
        }
        check_mode(errors, &path, file, "mode");
    }
}

fn check_projected(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    check_mode(errors, path, source, "defaultMode");
    let sources_path = path.child("sources");
    let mut taken = BTreeSet::new();
    for (index, source) in items(source, "sources").iter().enumerate() {
        let source_path = sources_path.index(index);
        let parts = source.as_object().into_iter().flatten().filter(|(_, part)| !part.is_null());
        for (index, (field, part)) in parts.enumerate() {
            if index > 0 {
                let words = "may not specify more than 1 volume type per source";
                errors.push(FieldError::forbidden(source_path, words));
                continue;
            }
            check_projection(errors, &source_path.child(field), field, part);
            for target in targets(field, part) {
                if !taken.insert(target) {
                    let words = "conflicting duplicate paths";
                    errors.push(FieldError::invalid(path, target, words));
                }
            }
        }
    }
}

fn check_projection(errors: &mut Errors, path: &Path<'_>, field: &str, part: &Value) {
    match field {
        "secret" | "configMap" => {
            if text(part, "name").is_empty() {
                errors.push(FieldError::required(path.child("name"), ""));
            }
            check_key_paths(errors, &path.child("items"), items(part, "items"));
        }
        "downwardAPI" => check_downward(errors, &path.child("items"), items(part, "items")),
        "serviceAccountToken" => {
            let seconds = number(part, "expirationSeconds").unwrap_or(TOKEN_SECONDS_MIN);
            let field = path.child("expirationSeconds");
            if seconds < TOKEN_SECONDS_MIN {
                let words = "may not specify a duration less than 10 minutes";
                errors.push(FieldError::invalid(field, seconds, words));
            }
            if seconds > 1 << 32 {
                let words = "may not specify a duration larger than 2^32 seconds";
                errors.push(FieldError::invalid(field, seconds, words));
            }
            if text(part, "path").is_empty() {
                errors.push(FieldError::required(path.child("path"), ""));
            }
            check_file_path(errors, &path.child("path"), text(part, "path"));
        }
        _ => {}
    }
}

/// Gives the file paths that a projection names.
fn targets<'a>(field: &str, part: &'a Value) -> Vec<&'a str> {
    if field == "serviceAccountToken" || field == "clusterTrustBundle" {
        return Some(text(part, "path")).filter(|path| !path.is_empty()).into_iter().collect();
    }
    items(part, "items").iter().map(|item| text(item, "path")).collect()
}
