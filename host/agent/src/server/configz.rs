//! `/configz`: the settings that the agent runs with, in the kubelet's words. Pure.
//!
//! *Source:* `KubeletConfiguration` of `k8s.io/kubelet/config/v1beta1`; what has no meaning here is left out.

use std::time::Duration;

use coracle_runtime::LogSpec;
use serde_json::{Map, Value, json};

use crate::eviction::thresholds::Amount;
use crate::node::keep::LEASE_SECONDS;
use crate::pods::container_status::go_duration;
use crate::settings::AgentConfig;

/// Writes the settings.
pub(crate) fn configz(config: &AgentConfig) -> Value {
    let logs = LogSpec::new("");
    let mut shown = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "maxPods": config.pods_max,
        "registerNode": config.register,
        "clusterDomain": config.cluster_domain,
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        "imageMinimumGCAge": duration(config.images.min_age.unsigned_abs()),
        "imageGCHighThresholdPercent": config.images.gc_high_percent,
        "imageGCLowThresholdPercent": config.images.gc_low_percent,
        "evictionHard": thresholds(config),
        "evictionPressureTransitionPeriod": duration(config.eviction.transition.unsigned_abs()),
        "shutdownGracePeriod": duration(config.shutdown.total),
        "shutdownGracePeriodCriticalPods": duration(config.shutdown.critical),
        "containerLogMaxSize": logs.bytes_max.to_string(),
        "containerLogMaxFiles": logs.files_max,
    });
    if let Some(path) = &config.pod_manifest_path {
        shown["staticPodPath"] = json!(path);
    }
    if let Some(ip) = config.dns_ip {
        shown["clusterDNS"] = json!([ip]);
    }
    if !config.reserved.is_empty() {
        shown["systemReserved"] = json!(config.reserved);
    }
    if !config.taints.is_empty() {
        shown["registerWithTaints"] = json!(config.taints);
    }
    json!({ "kubeletconfig": shown })
}

fn thresholds(config: &AgentConfig) -> Value {
    let all = config.eviction.thresholds.0.iter().map(|(signal, amount)| {
        let text = match amount {
            Amount::Absolute(amount) => amount.to_string(),
            Amount::Share(share) if share % 100 == 0 => format!("{}%", share / 100),
            Amount::Share(share) => format!("{}.{:02}%", share / 100, share % 100),
        };
        (signal.word().to_owned(), Value::from(text))
    });
    all.collect::<Map<String, Value>>().into()
}

fn duration(time: Duration) -> String {
    go_duration(time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn settings_have_the_kubelets_names() {
        let ip = "192.0.2.1".parse().unwrap();
        let mut config = AgentConfig::new("h1", "/data".into(), "/memory".into(), ip);
        config.dns_ip = Some("10.96.0.10".parse().unwrap());
        config.reserved.insert("cpu".into(), "100m".into());
        config.pod_manifest_path = Some("/manifests".into());
        let shown = configz(&config);
        let lines = shown["kubeletconfig"].as_object().unwrap().iter();
        let lines: Vec<String> = lines.map(|(name, value)| format!("{name} {value}")).collect();
        expect![[r#"
            apiVersion "kubelet.config.k8s.io/v1beta1"
            clusterDNS ["10.96.0.10"]
            clusterDomain "cluster.local"
            containerLogMaxFiles 5
            containerLogMaxSize "10485760"
            evictionHard {"memory.available":"104857600","nodefs.available":"1073741824","nodefs.inodesFree":"2%","pid.available":"1%"}
            evictionPressureTransitionPeriod "5m0s"
            imageGCHighThresholdPercent 85
            imageGCLowThresholdPercent 80
            imageMinimumGCAge "2m0s"
            kind "KubeletConfiguration"
            maxPods 16000
            nodeLeaseDurationSeconds 40
            registerNode true
            shutdownGracePeriod "30s"
            shutdownGracePeriodCriticalPods "10s"
            staticPodPath "/manifests"
            systemReserved {"cpu":"100m"}"#]].assert_eq(&lines.join("\n"));
    }
}
