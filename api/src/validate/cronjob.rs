//! Rules for CronJobs. *Source:* `ValidateCronJobSpec` in `pkg/apis/batch/validation`.

use serde_json::Value;

use super::{Errors, has, job, metadata, non_negative, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::meta;
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Most letters of a name: eleven are kept for the number of the Job.
const NAME_BYTES_MAX: usize = 52;

/// Checks a new CronJob.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    if meta::name(object).len() > NAME_BYTES_MAX {
        let words = format!("must be no more than {NAME_BYTES_MAX} characters");
        errors.push(FieldError::invalid("metadata.name", meta::name(object), words));
    }
    errors
}

/// Checks a changed CronJob.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    let schedule = text(spec, "schedule");
    let path = SPEC.child("schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if schedule.contains("TZ") {
        let words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(FieldError::invalid(path, schedule, words));
    } else if let Some(words) = complaint(schedule) {
        errors.push(FieldError::invalid(path, schedule, words));
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"]
    {
        non_negative(errors, SPEC.child(field), number(spec, field));
    }
    if has(spec, "timeZone") {
        check_zone(errors, text(spec, "timeZone"));
    }
    let policies = ["Allow", "Forbid", "Replace"];
    one_of(errors, SPEC.child("concurrencyPolicy"), text(spec, "concurrencyPolicy"), &policies);
    let template = SPEC.child("jobTemplate");
    let job = &spec["jobTemplate"]["spec"];
    if job["manualSelector"] == true {
        let path = template.child("spec");
        let words = ["true"];
        errors.push(FieldError::not_supported(path.child("manualSelector"), "true", &words[1..]));
    }
    job::check_spec(errors, &template.child("spec"), job);
}

fn check_zone(errors: &mut Errors, zone: &str) {
    let path = SPEC.child("timeZone");
    if zone.is_empty() {
        let words = "timeZone must be nil or non-empty string";
        errors.push(FieldError::invalid(path, zone, words));
    } else if zone.eq_ignore_ascii_case("local") {
        let words =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(FieldError::invalid(path, zone, words));
    } else if jiff::tz::TimeZone::get(zone).is_err() {
        errors.push(FieldError::invalid(path, zone, format!("unknown time zone {zone}")));
    }
}

/// Names of the five fields, with their least and greatest value.
const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const DESCRIPTORS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Says what is wrong with a schedule, in the words of the parser that upstream uses.
fn complaint(schedule: &str) -> Option<String> {
    if schedule.starts_with('@') {
        let every = schedule.strip_prefix("@every ");
        let known = DESCRIPTORS.contains(&schedule);
        return match every {
            Some(length) if length.parse::<jiff::SignedDuration>().is_err() => Some(format!(
                "failed to parse duration {schedule}: time: invalid duration {length:?}"
            )),
            Some(_) => None,
            None => (!known).then(|| format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let shown = format!("[{}]", fields.join(" "));
        let number = fields.len();
        return Some(format!("expected exactly 5 fields, found {number}: {shown}"));
    }
    let mut parts = FIELDS.iter().zip(fields);
    parts.find_map(|((name, low, high), field)| {
        field.split(',').find_map(|range| range_complaint(range, name, *low, *high))
    })
}

fn range_complaint(range: &str, name: &str, low: u32, high: u32) -> Option<String> {
    let mut steps = range.split('/');
    let bounds = steps.next().unwrap_or_default();
    let (step, too_many) = (steps.next(), steps.next().is_some());
    let mut ends = bounds.split('-');
    let (first, last) = (ends.next().unwrap_or_default(), ends.next());
    if too_many {
        return Some(format!("too many slashes: {range}"));
    }
    if ends.next().is_some() {
        return Some(format!("too many hyphens: {range}"));
    }
    let star = matches!(first, "*" | "?");
    let start = if star { Ok(low) } else { value(first, name) };
    let end = match last {
        Some(last) => value(last, name),
        None if star || step.is_some() => Ok(high),
        None => start.clone(),
    };
    let step = step.map_or(Ok(1), |step| value(step, ""));
    match (start, end, step) {
        (Err(words), _, _) | (_, Err(words), _) | (_, _, Err(words)) => Some(words),
        (Ok(start), _, _) if start < low => {
            Some(format!("beginning of range ({start}) below minimum ({low}): {range}"))
        }
        (_, Ok(end), _) if end > high => {
            Some(format!("end of range ({end}) above maximum ({high}): {range}"))
        }
        (Ok(start), Ok(end), _) if start > end => {
            Some(format!("beginning of range ({start}) beyond end of range ({end}): {range}"))
        }
        (_, _, Ok(0)) => Some(format!("step of range should be a positive number: {range}")),
        (Ok(_), Ok(_), Ok(_)) => None,
    }
}

fn value(text: &str, field: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let named = |names: &[&str]| names.iter().position(|name| *name == lower);
    let found = match field {
        "month" => named(&MONTHS).map(|index| index + 1),
        "day of week" => named(&DAYS),
        _ => None,
    };
    let found = found.and_then(|index| u32::try_from(index).ok()).or_else(|| text.parse().ok());
    found.ok_or_else(|| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, workload};
    use super::*;
    use serde_json::json;

    #[test]
    fn schedules() {
        for good in
            ["* * * * *", "*/5 0-6/2 1,15 jan-mar MON", "@hourly", "@every 1h30m", "0 0 ? * 0"]
        {
            assert_eq!(complaint(good), None, "{good}");
        }
        let bad =
            |schedule: &str, words: &str| assert_eq!(complaint(schedule).as_deref(), Some(words));
        bad("* * * *", "expected exactly 5 fields, found 4: [* * * *]");
        bad("60 * * * *", "end of range (60) above maximum (59): 60");
        bad("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        bad("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
        bad("*/0 * * * *", "step of range should be a positive number: */0");
        bad("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
        bad("@never", "unrecognized descriptor: @never");
    }

    #[test]
    fn specs() {
        let mut template = workload(json!({}));
        template["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        let cron = |schedule: &str, zone: Value| {
            json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {
                "schedule": schedule, "timeZone": zone, "concurrencyPolicy": "Allow",
                "jobTemplate": {"spec": template["spec"]}}})
        };
        check(validate(&cron("* * * * *", json!("Europe/Zurich"))), &[]);
        check(
            validate(&cron("TZ=UTC * * * * *", json!("local"))),
            &[
                "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ],
        );
        check(validate(&cron("", Value::Null)), &["spec.schedule: Required value"]);
    }
}
