//! Who may do what: `rbac.authorization.k8s.io`, `certificates.k8s.io`.

use super::*;

pub(super) const KINDS: &[Kind] =
    &[CLUSTER_ROLE_BINDING, CLUSTER_ROLE, ROLE_BINDING, ROLE, CERTIFICATE_SIGNING_REQUEST];

const CLUSTER_ROLE_BINDING: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    storage_version_hash: "48tpQ8gZHFc=",
    rules: &Rules {
        default: defaults::rolebinding::set,
        create_on_update: true,
        validate: validate::rbac::validate_cluster_binding,
        validate_update: validate::rbac::validate_cluster_binding_update,
        ..PLAIN
    },
    ..CLUSTER
};

const CLUSTER_ROLE: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    storage_version_hash: "bYE5ZWDrJ44=",
    rules: &Rules {
        create_on_update: true,
        validate: validate::rbac::validate_cluster_role,
        validate_update: validate::rbac::validate_cluster_role_update,
        ..PLAIN
    },
    ..CLUSTER
};

const ROLE_BINDING: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    storage_version_hash: "eGsCzGH6b1g=",
    rules: &Rules {
        default: defaults::rolebinding::set,
        create_on_update: true,
        validate: validate::rbac::validate_binding,
        validate_update: validate::rbac::validate_binding_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const ROLE: Kind = Kind {
    group: "rbac.authorization.k8s.io",
    kind: "Role",
    plural: "roles",
    singular: "role",
    storage_version_hash: "7FuwZcIIItM=",
    rules: &Rules {
        create_on_update: true,
        validate: validate::rbac::validate_role,
        validate_update: validate::rbac::validate_role_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const CERTIFICATE_SIGNING_REQUEST: Kind = Kind {
    group: "certificates.k8s.io",
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    subresources: &[
        Subresource {
            name: "approval",
            ..status("certificates.k8s.io", "CertificateSigningRequest")
        },
        status("certificates.k8s.io", "CertificateSigningRequest"),
    ],
    storage_version_hash: "95fRKMXA+00=",
    rules: &Rules {
        selectable: select::SIGNING_REQUEST,
        select: select::signing_request,
        validate: validate::signingrequest::validate,
        validate_update: validate::signingrequest::validate_update,
        validate_status_update: validate::signingrequest::validate_status_update,
        ..STATUS
    },
    ..CLUSTER
};
