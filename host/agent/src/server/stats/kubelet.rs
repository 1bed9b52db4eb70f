//! `/metrics`: the agent itself. Pure.
//!
//! *Source:* the kubelet's names, where the meaning is the same, and Prometheus' for a process.

use super::exposition::{Page, containers, escaped, seconds};
use super::sample::Sample;

/// Writes the page.
pub(crate) fn kubelet(sample: &Sample, version: &str) -> String {
    let mut page = Page::at(sample.at);
    let one = |labels: String, value: String| [(labels, value)].into_iter();
    page.metric(
        ("kubernetes_build_info", "gauge"),
        "[BETA] A metric with a constant '1' value labeled by the version.",
        one(format!("git_version=\"{}\"", escaped(version)), "1".to_owned()),
    );
    page.metric(
        ("kubelet_node_name", "gauge"),
        "[ALPHA] The node's name. The count is always 1.",
        one(format!("node=\"{}\"", escaped(&sample.node_name)), "1".to_owned()),
    );
    page.metric(
        ("kubelet_running_pods", "gauge"),
        "[BETA] Number of pods that have a running container",
        one(String::new(), running_pods(sample).to_string()),
    );
    page.metric(
        ("kubelet_running_containers", "gauge"),
        "[BETA] Number of containers currently running",
        one("container_state=\"running\"".to_owned(), containers(&sample.pods).count().to_string()),
    );
    page.metric(
        ("coracle_components_mapped", "gauge"),
        "[ALPHA] Number of components whose compiled code is mapped, each once for all containers that run it",
        one(String::new(), sample.components.to_string()),
    );
    process(&mut page, sample);
    page.text
}

fn running_pods(sample: &Sample) -> usize {
    sample.pods.iter().filter(|pod| !pod.containers.is_empty()).count()
}

fn process(page: &mut Page<'_>, sample: &Sample) {
    let own = &sample.process;
    let metrics = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            seconds(own.cpu_nanos),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            own.resident_bytes.to_string(),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            own.virtual_bytes.to_string(),
        ),
        ("process_open_fds", "gauge", "Number of open file descriptors.", own.open_fds.to_string()),
    ];
    for (name, kind, help, value) in metrics {
        page.metric((name, kind), help, [(String::new(), value)].into_iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::stats::sample::example;
    use expect_test::expect;

    #[test]
    fn the_agent_tells_of_itself_as_a_kubelet_does() {
        let text = kubelet(&example(), "v1.35.4+coracle");
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        expect![[r#"
            kubernetes_build_info{git_version="v1.35.4+coracle"} 1 100000
            kubelet_node_name{node="h1"} 1 100000
            kubelet_running_pods 1 100000
            kubelet_running_containers{container_state="running"} 1 100000
            coracle_components_mapped 2 100000
            process_cpu_seconds_total 3.000000000 100000
            process_resident_memory_bytes 1048576 100000
            process_virtual_memory_bytes 1073741824 100000
            process_open_fds 7 100000"#]]
        .assert_eq(&lines.join("\n"));
    }
}
