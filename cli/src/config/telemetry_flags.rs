//! Flags about traces, metrics and logs. The environment variables are OpenTelemetry's.

use std::time::Duration;

use clap::Args;
use coracle_telemetry::{Config, Endpoint, Sampling, Signal};

/// Where spans of requests, what is measured, and containers' logs go.
#[derive(Debug, Clone, Args)]
pub(crate) struct TelemetryFlags {
    /// Send spans of requests, metrics and containers' logs to this OpenTelemetry collector, by OTLP
    /// over HTTP, such as http://localhost:4318 [default: nothing is sent]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Endpoint>,

    /// Share of the traces that begin here and are sent, from 0 to 1; a request that comes with a
    /// trace's decision keeps it
    #[arg(long, value_name = "RATIO", env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = Sampling::ALL)]
    trace_sampling: Sampling,

    /// What is sent to the collector: traces, metrics, logs, with commas between
    #[arg(long, value_name = "SIGNALS", value_delimiter = ',', default_values_t = Signal::ALL)]
    otlp_signals: Vec<Signal>,

    /// How often metrics are sent to the collector, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", env = "OTEL_METRIC_EXPORT_INTERVAL",
        default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(100..))]
    otlp_metrics_interval: u64,
}

impl TelemetryFlags {
    /// What tracing is started with, if it is.
    pub(crate) fn config(&self) -> Option<Config> {
        let endpoint = self.otlp_endpoint.clone()?;
        let mut config = Config::new(endpoint, self.trace_sampling);
        config.signals.clone_from(&self.otlp_signals);
        config.metrics_interval = Duration::from_millis(self.otlp_metrics_interval);
        Some(config)
    }

    /// The same as arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let endpoint = self.otlp_endpoint.iter().map(|url| format!("--otlp-endpoint={url}"));
        let signals = self.otlp_signals.iter().map(|signal| signal.as_str());
        let rest = [
            format!("--trace-sampling={}", self.trace_sampling),
            format!("--otlp-signals={}", signals.collect::<Vec<_>>().join(",")),
            format!("--otlp-metrics-interval={}", self.otlp_metrics_interval),
        ];
        endpoint.chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        telemetry: TelemetryFlags,
    }

    #[test]
    fn flags_stay_what_they_are_when_passed_on() {
        let read = |arguments: &[String]| {
            let name = "host".to_owned();
            Line::try_parse_from([&name].into_iter().chain(arguments)).map(|line| line.telemetry)
        };
        let given = [
            "--otlp-endpoint=http://otel:4318",
            "--trace-sampling=0.25",
            "--otlp-signals=logs,metrics",
            "--otlp-metrics-interval=5000",
        ]
        .map(String::from);
        let first = read(&given).unwrap();
        let again = read(&first.arguments()).unwrap();
        assert_eq!(first.config(), again.config());
        let config = again.config().unwrap();
        assert_eq!(config.endpoint.to_string(), "http://otel:4318/v1/traces");
        assert_eq!(config.sampling.to_string(), "0.25");
        assert_eq!(config.signals, [Signal::Logs, Signal::Metrics]);
        assert_eq!(config.metrics_interval, Duration::from_secs(5));
        for (wrong, word) in [
            ("--otlp-endpoint=otel:4318", "http://"),
            ("--trace-sampling=2", "0 to 1"),
            ("--otlp-signals=profiles", "traces, metrics and logs"),
        ] {
            let error = read(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
