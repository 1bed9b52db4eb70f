//! OTLP's messages for logs and metrics, as JSON: pure.
//!
//! *Source:* OTLP/HTTP, "JSON Protobuf Encoding": 64-bit numbers are texts, ids are hexadecimal.

use serde_json::{Value, json};

use crate::logs::{LogRecord, Stream};
use crate::metrics::{Data, Metric};
use crate::telemetry::{Resource, SDK};

/// *Source:* OTLP, `AggregationTemporality`: since the start, not since the last time.
const CUMULATIVE: u8 = 2;

fn text(value: &str) -> Value {
    json!({"stringValue": value})
}

fn pairs<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    all.into_iter().map(|(key, value)| json!({"key": key, "value": text(value)})).collect()
}

fn resource(resource: &Resource) -> Value {
    let own = resource.attributes.iter();
    let own = own.map(|(key, value)| (key.as_ref(), value.as_str()));
    json!({"attributes": pairs(SDK.into_iter().chain(own))})
}

fn scope() -> Value {
    json!({"name": "coracle", "version": env!("CARGO_PKG_VERSION")})
}

/// A request with logs; each resource with its own.
pub(crate) fn logs<'a>(all: impl IntoIterator<Item = (&'a Resource, Vec<&'a LogRecord>)>) -> Value {
    let one = |(of, records): (&Resource, Vec<&LogRecord>)| {
        let records: Vec<Value> = records.into_iter().map(record).collect();
        json!({"resource": resource(of),
            "scopeLogs": [{"scope": scope(), "logRecords": records}]})
    };
    json!({"resourceLogs": all.into_iter().map(one).collect::<Vec<_>>()})
}

fn record(record: &LogRecord) -> Value {
    let time = record.unix_nanos.to_string();
    let stream = match record.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let mut made = json!({"timeUnixNano": time, "observedTimeUnixNano": time,
        "body": text(&record.body), "attributes": pairs([("log.iostream", stream)])});
    let Some(fields) = made.as_object_mut() else { return made };
    if let Some((number, word)) = &record.severity {
        fields.insert("severityNumber".to_owned(), (*number).into());
        fields.insert("severityText".to_owned(), word.as_str().into());
    }
    if let Some((trace, span)) = &record.within {
        fields.insert("traceId".to_owned(), trace.as_str().into());
        fields.insert("spanId".to_owned(), span.as_str().into());
    }
    made
}

/// A request with metrics of one moment; each resource with its own, and since when it counts.
pub(crate) fn metrics(all: &[(Resource, u64, Vec<Metric>)], now_nanos: u64) -> Value {
    let one = |(of, since, metrics): &(Resource, u64, Vec<Metric>)| {
        let metrics: Vec<Value> =
            metrics.iter().map(|metric| measured(metric, *since, now_nanos)).collect();
        json!({"resource": resource(of),
            "scopeMetrics": [{"scope": scope(), "metrics": metrics}]})
    };
    json!({"resourceMetrics": all.iter().map(one).collect::<Vec<_>>()})
}

fn measured(metric: &Metric, since: u64, now: u64) -> Value {
    let (since, now) = (since.to_string(), now.to_string());
    let attributes = pairs(metric.attributes.iter().copied());
    let point = |value: Value| {
        let mut point = json!({"startTimeUnixNano": since, "timeUnixNano": now,
            "attributes": attributes});
        if let (Some(point), Value::Object(value)) = (point.as_object_mut(), value) {
            point.extend(value);
        }
        point
    };
    let (kind, data) = match &metric.data {
        Data::Counter(value) => {
            let points = [point(json!({"asDouble": value}))];
            let sum = json!({"aggregationTemporality": CUMULATIVE, "isMonotonic": true,
                "dataPoints": points});
            ("sum", sum)
        }
        Data::Amount(value) => {
            let points = [point(json!({"asInt": value.to_string()}))];
            ("gauge", json!({"dataPoints": points}))
        }
        Data::Histogram { bounds, buckets, sum } => {
            let count: u64 = buckets.iter().sum();
            let buckets: Vec<String> = buckets.iter().map(u64::to_string).collect();
            let points = [point(json!({"count": count.to_string(), "sum": sum,
                "bucketCounts": buckets, "explicitBounds": bounds}))];
            ("histogram", json!({"aggregationTemporality": CUMULATIVE, "dataPoints": points}))
        }
    };
    json!({"name": metric.name, "unit": metric.unit, kind: data})
}
