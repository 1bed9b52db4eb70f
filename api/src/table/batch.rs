//! Jobs, CronJobs, HorizontalPodAutoscalers, PodDisruptionBudgets.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::workload::{selector, template};
use super::{
    AGE, CONTAINERS, Column, IMAGES, NAME, Printer, SELECTOR, age, items, number, or, since, text,
};
use crate::meta;
use crate::text::human_duration;

pub(super) const JOB: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Status", "How far it is."),
        Column::text("Completions", "Pods that succeeded, of those wanted."),
        Column::text("Duration", "Time from its start to its end, or until now."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let mut cells = vec![
            json!(meta::name(object)),
            json!(job_status(object)),
            json!(completions(spec, status)),
            json!(duration(status, now)),
            age(object, now),
        ];
        cells.extend(template(spec));
        cells.push(json!(or(&selector(spec), "<none>")));
        cells
    },
};

fn job_status(object: &Value) -> &'static str {
    let has = |name: &str| {
        let conditions = items(&object["status"], "conditions");
        conditions.iter().any(|c| c["type"] == name && c["status"] == "True")
    };
    let terminating = meta::deletion_timestamp(object).is_some();
    [
        (has("Complete"), "Complete"),
        (has("Failed"), "Failed"),
        (terminating, "Terminating"),
        (has("Suspended"), "Suspended"),
        (has("FailureTarget"), "FailureTarget"),
        (has("SuccessCriteriaMet"), "SuccessCriteriaMet"),
    ]
    .into_iter()
    .find_map(|(is, word)| is.then_some(word))
    .unwrap_or("Running")
}

fn completions(spec: &Value, status: &Value) -> String {
    let succeeded = number(status, "succeeded");
    match (spec["completions"].as_i64(), number(spec, "parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &Value, now: Timestamp) -> String {
    let time = |field: &str| text(status, field).parse::<Timestamp>().ok();
    let Some(start) = time("startTime") else { return String::new() };
    human_duration(time("completionTime").unwrap_or(now).duration_since(start).as_secs())
}

pub(super) const CRON_JOB: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Schedule", "When it runs, as cron writes it."),
        Column::text("Timezone", "Zone of the schedule."),
        Column::boolean("Suspend", "Whether no further Jobs are made."),
        Column::integer("Active", "Jobs that run."),
        Column::text("Last Schedule", "Time since a Job was last made."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let last = match text(status, "lastScheduleTime") {
            "" => "<none>".to_owned(),
            moment => since(moment, now),
        };
        let suspend = match spec["suspend"].as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let job = &spec["jobTemplate"]["spec"];
        let mut cells = vec![
            json!(meta::name(object)),
            json!(text(spec, "schedule")),
            json!(or(text(spec, "timeZone"), "<none>")),
            json!(suspend),
            json!(items(status, "active").len()),
            json!(last),
            age(object, now),
        ];
        cells.extend(template(job));
        cells.push(json!(or(&selector(job), "<none>")));
        cells
    },
};

pub(super) const DISRUPTION_BUDGET: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Min Available", "Pods that must stay."),
        Column::text("Max Unavailable", "Pods that may be missing."),
        Column::integer("Allowed Disruptions", "Pods that may be evicted now."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let amount = |field: &str| match (&spec[field], spec[field].as_str()) {
            (Value::Null, _) => "N/A".to_owned(),
            (_, Some(text)) => text.to_owned(),
            (number, None) => number.to_string(),
        };
        vec![
            json!(meta::name(object)),
            json!(amount("minAvailable")),
            json!(amount("maxUnavailable")),
            json!(number(&object["status"], "disruptionsAllowed")),
            age(object, now),
        ]
    },
};

pub(super) const AUTOSCALER: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Reference", "What is scaled."),
        Column::text("Targets", "Each metric, as it is and as it should be."),
        Column::text("MinPods", "Least number of pods."),
        Column::text("MaxPods", "Greatest number of pods."),
        Column::text("Replicas", "Pods that exist."),
        AGE,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let target = &spec["scaleTargetRef"];
        let least = spec["minReplicas"].as_i64().map(|number| number.to_string());
        vec![
            json!(meta::name(object)),
            json!(format!("{}/{}", text(target, "kind"), text(target, "name"))),
            json!(targets(spec, status)),
            json!(least.unwrap_or_else(|| "<unset>".to_owned())),
            json!(number(spec, "maxReplicas")),
            json!(number(status, "currentReplicas")),
            age(object, now),
        ]
    },
};

/// Most metrics that are written out.
const METRICS_SHOWN_MAX: usize = 2;

fn targets(spec: &Value, status: &Value) -> String {
    let metrics = items(spec, "metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current = items(status, "currentMetrics");
    let written: Vec<String> = metrics
        .iter()
        .enumerate()
        .take(METRICS_SHOWN_MAX)
        .map(|(index, metric)| target(metric, current.get(index).unwrap_or(&Value::Null)))
        .collect();
    let joined = written.join(", ");
    match metrics.len().saturating_sub(METRICS_SHOWN_MAX) {
        0 => joined,
        more => format!("{joined} + {more} more..."),
    }
}

fn target(metric: &Value, current: &Value) -> String {
    let kind = text(metric, "type");
    let field = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, found) = (&metric[field]["target"], &current[field]["current"]);
    let amount = |place: &Value| -> Option<String> {
        if let Some(percent) = place["averageUtilization"].as_i64() {
            return Some(format!("{percent}%"));
        }
        let average = ["averageValue", "value"].iter().find_map(|name| place[*name].as_str());
        average.map(str::to_owned)
    };
    let shown = |place: &Value| amount(place).unwrap_or_else(|| "<unknown>".to_owned());
    let average = matches!(kind, "Object" | "External") && wanted["averageValue"].is_string();
    let suffix = if average { " (avg)" } else { "" };
    let pair = format!("{}/{}{suffix}", shown(found), shown(wanted));
    match kind {
        "Resource" | "ContainerResource" => format!("{}: {pair}", text(&metric[field], "name")),
        _ => pair,
    }
}
