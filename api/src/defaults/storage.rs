//! StorageClasses and CSIDrivers.

use serde_json::{Value, json};

use super::fill::{fill, fill_pointer};

/// Fills a StorageClass: volumes are made at once and go with their claims.
pub fn set_class(class: &mut Value) {
    if let Some(class) = class.as_object_mut() {
        fill_pointer(class, "reclaimPolicy", "Delete");
        fill_pointer(class, "volumeBindingMode", "Immediate");
    }
}

/// Fills a CSIDriver.
pub fn set_driver(driver: &mut Value) {
    let Some(spec) = driver.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill_pointer(spec, "attachRequired", true);
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill_pointer(spec, field, false);
    }
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    fill_pointer(spec, "volumeLifecycleModes", json!(["Persistent"]));
}
