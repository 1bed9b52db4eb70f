//! Flags about traces. The environment variables are OpenTelemetry's.

use clap::Args;
use coracle_telemetry::{Config, Endpoint, Sampling};

/// Where spans of requests go.
#[derive(Debug, Clone, Args)]
pub(crate) struct TelemetryFlags {
    /// Send spans of requests to this OpenTelemetry collector, by OTLP over HTTP, such as
    /// http://localhost:4318 [default: no spans are made]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Endpoint>,

    /// Share of the traces that begin here and are sent, from 0 to 1; a request that comes with a
    /// trace's decision keeps it
    #[arg(long, value_name = "RATIO", env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = Sampling::ALL)]
    trace_sampling: Sampling,
}

impl TelemetryFlags {
    /// What tracing is started with, if it is.
    pub(crate) fn config(&self) -> Option<Config> {
        let endpoint = self.otlp_endpoint.clone()?;
        Some(Config { endpoint, sampling: self.trace_sampling })
    }

    /// The same as arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let endpoint = self.otlp_endpoint.iter().map(|url| format!("--otlp-endpoint={url}"));
        endpoint.chain([format!("--trace-sampling={}", self.trace_sampling)]).collect()
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
        let given = ["--otlp-endpoint=http://otel:4318", "--trace-sampling=0.25"].map(String::from);
        let first = read(&given).unwrap();
        let again = read(&first.arguments()).unwrap();
        assert_eq!(first.config(), again.config());
        let config = again.config().unwrap();
        assert_eq!(config.endpoint.to_string(), "http://otel:4318/v1/traces");
        assert_eq!(config.sampling.to_string(), "0.25");
        for (wrong, word) in
            [("--otlp-endpoint=otel:4318", "http://"), ("--trace-sampling=2", "0 to 1")]
        {
            let error = read(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
