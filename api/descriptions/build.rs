//! Writes the description table: a compressed text, in the form that `src/lib.rs` reads.
//!
//! The texts are those of `k8s-openapi`'s schemas, so none of them is kept in this repository.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use k8s_openapi::schemars::SchemaGenerator;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut generator = SchemaGenerator::default();
    add_roots(&mut generator);
    let types: BTreeMap<String, Value> = generator.take_definitions(true).into_iter().collect();
    let mut text = String::new();
    for (name, schema) in &types {
        write_type(&mut text, name, schema);
    }
    let directory = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let file = std::fs::File::create(PathBuf::from(directory).join("descriptions.zlib"))?;
    let mut encoder = ZlibEncoder::new(file, Compression::best());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()?;
    Ok(())
}

/// Writes `=type<TAB>description`, then a line `field<TAB>description` for each field, sorted.
fn write_type(text: &mut String, name: &str, schema: &Value) {
    text.push_str(&format!("={name}\t{}\n", description(schema)));
    let properties = schema.get("properties").and_then(Value::as_object);
    let sorted: BTreeMap<&String, &Value> = properties.into_iter().flatten().collect();
    for (field, property) in sorted {
        let description = description(property);
        if !description.is_empty() {
            text.push_str(&format!("{field}\t{description}\n"));
        }
    }
}

/// Line breaks become U+0001, because a description is one line of the table.
fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace('\n', "\u{1}").replace('\t', " ")
}

macro_rules! roots {
    ($generator:ident: $($module:path => $($kind:ident)*;)*) => {
        $({
            use $module as module;
            $( let _ = $generator.subschema_for::<module::$kind>(); )*
        })*
    };
}

/// Every kind that kube-apiserver serves by default; what they refer to comes along.
fn add_roots(generator: &mut SchemaGenerator) {
    roots!(generator:
        k8s_openapi::api::admissionregistration::v1 =>
            MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
            ValidatingWebhookConfiguration;
        k8s_openapi::api::apps::v1 => ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet;
        k8s_openapi::api::authentication::v1 => SelfSubjectReview TokenRequest TokenReview;
        k8s_openapi::api::authorization::v1 =>
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview
            SubjectAccessReview;
        k8s_openapi::api::autoscaling::v1 => HorizontalPodAutoscaler Scale;
        k8s_openapi::api::autoscaling::v2 => HorizontalPodAutoscaler;
        k8s_openapi::api::batch::v1 => CronJob Job;
        k8s_openapi::api::certificates::v1 => CertificateSigningRequest;
        k8s_openapi::api::coordination::v1 => Lease;
        k8s_openapi::api::core::v1 =>
            Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node
            PersistentVolume PersistentVolumeClaim Pod PodTemplate ReplicationController
            ResourceQuota Secret Service ServiceAccount;
        k8s_openapi::api::discovery::v1 => EndpointSlice;
        k8s_openapi::api::events::v1 => Event;
        k8s_openapi::api::flowcontrol::v1 => FlowSchema PriorityLevelConfiguration;
        k8s_openapi::api::networking::v1 =>
            IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR;
        k8s_openapi::api::node::v1 => RuntimeClass;
        k8s_openapi::api::policy::v1 => Eviction PodDisruptionBudget;
        k8s_openapi::api::rbac::v1 => ClusterRole ClusterRoleBinding Role RoleBinding;
        k8s_openapi::api::resource::v1 =>
            DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice;
        k8s_openapi::api::scheduling::v1 => PriorityClass;
        k8s_openapi::api::storage::v1 =>
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment
            VolumeAttributesClass;
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 =>
            CustomResourceDefinition;
        k8s_openapi::apimachinery::pkg::apis::meta::v1 =>
            APIGroup APIVersions DeleteOptions LabelSelector ListMeta Status;
        k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 => APIService;
    );
}
