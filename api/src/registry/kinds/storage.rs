//! Volumes and devices: `storage.k8s.io`, `resource.k8s.io`.

use super::*;

pub(super) const KINDS: &[Kind] = &[
    CSI_DRIVER,
    CSI_NODE,
    CSI_STORAGE_CAPACITY,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    VOLUME_ATTRIBUTES_CLASS,
    DEVICE_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_CLAIM_TEMPLATE,
    RESOURCE_SLICE,
];

const CSI_DRIVER: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    storage_version_hash: "hL6j/rwBV5w=",
    rules: &Rules {
        default: defaults::storage::set_driver,
        unconditional_update: false,
        validate: validate::csidriver::validate,
        validate_update: validate::csidriver::validate_update,
        ..GENERATION
    },
    ..CLUSTER
};

const CSI_NODE: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    storage_version_hash: "Pe62DkZtjuo=",
    rules: &Rules {
        unconditional_update: false,
        validate: validate::csinode::validate,
        validate_update: validate::csinode::validate_update,
        ..PLAIN
    },
    ..CLUSTER
};

const CSI_STORAGE_CAPACITY: Kind = Kind {
    group: "storage.k8s.io",
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    storage_version_hash: "xeVl+2Ly1kE=",
    rules: &Rules {
        unconditional_update: false,
        validate: validate::storagecapacity::validate,
        validate_update: validate::storagecapacity::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const STORAGE_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    storage_version_hash: "K+m6uJwbjGY=",
    rules: &Rules {
        default: defaults::storage::set_class,
        validate: validate::storage::validate_class,
        validate_update: validate::storage::validate_class_update,
        ..PLAIN
    },
    ..CLUSTER
};

const VOLUME_ATTACHMENT: Kind = Kind {
    group: "storage.k8s.io",
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    subresources: &[status("storage.k8s.io", "VolumeAttachment")],
    storage_version_hash: "tJx/ezt6UDU=",
    rules: &Rules {
        prepare_status_update: strategy::status_only,
        unconditional_update: false,
        validate: validate::volumeattachment::validate,
        validate_update: validate::volumeattachment::validate_update,
        validate_status_update: validate::volumeattachment::validate_update,
        ..STATUS
    },
    ..CLUSTER
};

const VOLUME_ATTRIBUTES_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    storage_version_hash: "Bl3MtjZ/n/s=",
    rules: &Rules {
        unconditional_update: false,
        validate: validate::volumeattributesclass::validate,
        validate_update: validate::volumeattributesclass::validate_update,
        ..PLAIN
    },
    ..CLUSTER
};

const DEVICE_CLASS: Kind = Kind {
    group: "resource.k8s.io",
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    storage_version_hash: "Yk2PTc1Ybxk=",
    rules: &Rules {
        validate: validate::device::class::validate,
        validate_update: validate::device::class::validate_update,
        ..GENERATION
    },
    ..CLUSTER
};

const RESOURCE_CLAIM: Kind = Kind {
    group: "resource.k8s.io",
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    subresources: &[status("resource.k8s.io", "ResourceClaim")],
    storage_version_hash: "wgAZaHcZxUg=",
    rules: &Rules {
        default: defaults::resourceclaim::set,
        prepare_status_update: strategy::resourceclaim::update_status,
        validate: validate::device::claim::validate,
        validate_update: validate::device::claim::validate_update,
        validate_status_update: validate::device::claim::validate_status_update,
        ..STATUS
    },
    ..NAMESPACED
};

const RESOURCE_CLAIM_TEMPLATE: Kind = Kind {
    group: "resource.k8s.io",
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    storage_version_hash: "TuzjC49aUfM=",
    rules: &Rules {
        default: defaults::resourceclaim::set_template,
        validate: validate::device::claim::validate_template,
        validate_update: validate::device::claim::validate_template_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const RESOURCE_SLICE: Kind = Kind {
    group: "resource.k8s.io",
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    storage_version_hash: "KsC072WgaEY=",
    rules: &Rules {
        selectable: select::RESOURCE_SLICE,
        select: select::resource_slice,
        validate: validate::device::slice::validate,
        validate_update: validate::device::slice::validate_update,
        ..GENERATION
    },
    ..CLUSTER
};
