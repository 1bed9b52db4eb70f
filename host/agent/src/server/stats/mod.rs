//! What containers, pods and the node use: for `kubectl top`, autoscaling and Prometheus.
//!
//! Counters come from the runtime and the kernel when somebody asks (`take`, an edge); a rate is the
//! difference of two samples (`rates`). What is on disk is measured by `disk` (an edge) into a `space`, when `pace` says so;
//! `walks` (an edge) keeps what was measured last. `places` knows what not to ask. `summary`, `exposition`, `cadvisor` and
//! `kubelet` write all this as the kubelet does.
//! Nobody asking costs nothing: there is no timer here.

mod cadvisor;
mod disk;
mod exposition;
mod kubelet;
mod pace;
mod places;
mod rates;
mod sample;
mod space;
mod summary;
mod take;
mod walks;

pub(crate) use cadvisor::cadvisor;
pub(crate) use exposition::{Wanted, resource};
pub(crate) use kubelet::kubelet;
pub(crate) use rates::Rates;
pub(crate) use space::volumes;
pub(crate) use summary::summary;
pub(crate) use take::{disk, disk_seen, sample, with_rates};
pub(crate) use walks::Walks;
