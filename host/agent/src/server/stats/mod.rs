//! What containers, pods and the node use: for `kubectl top`, autoscaling and Prometheus.
//!
//! Counters come from the runtime and the kernel when somebody asks (`take`, an edge); a rate is the
//! difference of two samples (`rates`). `summary`, `exposition`, `cadvisor` and `kubelet` write them as the
//! kubelet does.
//! Nobody asking costs nothing: there is no timer here.

mod cadvisor;
mod exposition;
mod kubelet;
mod rates;
mod sample;
mod summary;
mod take;

pub(crate) use cadvisor::cadvisor;
pub(crate) use exposition::{Wanted, resource};
pub(crate) use kubelet::kubelet;
pub(crate) use rates::Rates;
pub(crate) use summary::summary;
pub(crate) use take::{sample, with_rates};
