//! What extends the API: `admissionregistration.k8s.io`, `apiextensions.k8s.io`,
//! `apiregistration.k8s.io`.

use super::*;

pub(super) const KINDS: &[Kind] = &[
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
    VALIDATING_WEBHOOK_CONFIGURATION,
    MUTATING_ADMISSION_POLICY,
    MUTATING_ADMISSION_POLICY_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    API_SERVICE,
];

const MUTATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    group: "admissionregistration.k8s.io",
    kind: "MutatingWebhookConfiguration",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
    categories: &["api-extensions"],
    storage_version_hash: "Sqi0GUgDaX0=",
    rules: &Rules {
        default: defaults::admission::set_mutating,
        validate: validate::policy::validate_webhooks,
        validate_update: validate::policy::validate_webhooks_update,
        ..CONFIGURATION
    },
    ..CLUSTER
};

const VALIDATING_ADMISSION_POLICY: Kind = Kind {
    group: "admissionregistration.k8s.io",
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    categories: &["api-extensions"],
    subresources: &[status("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")],
    storage_version_hash: "6OxvlMmQ6is=",
    rules: &Rules {
        default: defaults::admission::set_policy,
        unconditional_update: false,
        validate: validate::policy::validate_validating,
        validate_update: validate::policy::validate_validating_update,
        ..WORKLOAD
    },
    ..CLUSTER
};

const VALIDATING_ADMISSION_POLICY_BINDING: Kind = Kind {
    group: "admissionregistration.k8s.io",
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    categories: &["api-extensions"],
    storage_version_hash: "v9715VZqakg=",
    rules: &Rules {
        default: defaults::admission::set_binding,
        validate: validate::policy::validate_binding,
        validate_update: validate::policy::validate_binding_update,
        ..CONFIGURATION
    },
    ..CLUSTER
};

const VALIDATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    group: "admissionregistration.k8s.io",
    kind: "ValidatingWebhookConfiguration",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    categories: &["api-extensions"],
    storage_version_hash: "B0wHjQmsGNk=",
    rules: &Rules {
        default: defaults::admission::set_validating,
        validate: validate::policy::validate_webhooks,
        validate_update: validate::policy::validate_webhooks_update,
        ..CONFIGURATION
    },
    ..CLUSTER
};

/// Served in the version that Kubernetes 1.35 has for it, although kube-apiserver keeps that off by default.
const MUTATING_ADMISSION_POLICY: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1beta1",
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    categories: &["api-extensions"],
    storage_version_hash: "LYmCf+UMVdg=",
    rules: &Rules {
        default: defaults::admission::set_mutating_policy,
        validate: validate::policy::validate_mutating,
        validate_update: validate::policy::validate_mutating_update,
        ..CONFIGURATION
    },
    ..CLUSTER
};

const MUTATING_ADMISSION_POLICY_BINDING: Kind = Kind {
    group: "admissionregistration.k8s.io",
    version: "v1beta1",
    kind: "MutatingAdmissionPolicyBinding",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    categories: &["api-extensions"],
    storage_version_hash: "90V5FRZZ3Zg=",
    rules: &Rules {
        default: defaults::admission::set_binding,
        validate: validate::policy::validate_mutating_binding,
        validate_update: validate::policy::validate_mutating_binding_update,
        ..CONFIGURATION
    },
    ..CLUSTER
};

const CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    subresources: &[status("apiextensions.k8s.io", "CustomResourceDefinition")],
    storage_version_hash: "jfWCUB31mvA=",
    rules: &Rules {
        prepare_create: strategy::definition::create,
        prepare_update: strategy::definition::update,
        prepare_status_update: strategy::status_only,
        default: defaults::extension::set_definition,
        unconditional_update: false,
        validate: validate::definition::validate,
        validate_update: validate::definition::validate_update,
        ..WORKLOAD
    },
    ..CLUSTER
};

const API_SERVICE: Kind = Kind {
    group: "apiregistration.k8s.io",
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    categories: &["api-extensions"],
    subresources: &[status("apiregistration.k8s.io", "APIService")],
    storage_version_hash: "InPBPD7+PqM=",
    rules: &Rules {
        default: defaults::extension::set_service,
        prepare_status_update: strategy::status_only,
        unconditional_update: false,
        validate: validate::apiservice::validate,
        validate_update: validate::apiservice::validate_update,
        validate_status_update: validate::apiservice::validate_status_update,
        ..STATUS
    },
    ..CLUSTER
};
