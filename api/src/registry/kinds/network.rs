//! How pods are reached: `networking.k8s.io`, `discovery.k8s.io`.

use super::*;

pub(super) const KINDS: &[Kind] =
    &[INGRESS_CLASS, INGRESS, IP_ADDRESS, NETWORK_POLICY, SERVICE_CIDR, ENDPOINT_SLICE];

const INGRESS_CLASS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    storage_version_hash: "l/iqIbDgFyQ=",
    rules: &Rules {
        default: defaults::network::set_ingress_class,
        unconditional_update: false,
        validate: validate::ingress::validate_class,
        validate_update: validate::ingress::validate_class_update,
        ..GENERATION
    },
    ..CLUSTER
};

const INGRESS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    subresources: &[status("networking.k8s.io", "Ingress")],
    storage_version_hash: "39NQlfNR+bo=",
    rules: &Rules {
        validate: validate::ingress::validate,
        validate_update: validate::ingress::validate_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const IP_ADDRESS: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    storage_version_hash: "3f/plJFChNE=",
    rules: &Rules {
        validate: validate::ipaddress::validate,
        validate_update: validate::ipaddress::validate_update,
        ..PLAIN
    },
    ..CLUSTER
};

const NETWORK_POLICY: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    storage_version_hash: "YpfwF18m1G8=",
    rules: &Rules {
        default: defaults::network::set_policy,
        validate: validate::ingress::validate_policy,
        validate_update: validate::ingress::validate_policy_update,
        ..GENERATION
    },
    ..NAMESPACED
};

const SERVICE_CIDR: Kind = Kind {
    group: "networking.k8s.io",
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    subresources: &[status("networking.k8s.io", "ServiceCIDR")],
    storage_version_hash: "gNLvruQhW2g=",
    rules: &Rules {
        validate: validate::servicecidr::validate,
        validate_update: validate::servicecidr::validate_update,
        ..STATUS
    },
    ..CLUSTER
};

const ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    storage_version_hash: "qgS0xkrxYAI=",
    rules: &Rules {
        default: defaults::endpointslice::set,
        prepare_create: strategy::with_generation::create_without_status,
        prepare_update: strategy::endpointslice::update,
        has_generation: true,
        validate: validate::endpointslice::validate,
        validate_update: validate::endpointslice::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};
