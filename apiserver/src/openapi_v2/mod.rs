//! `/openapi/v2`: the older form of the API's description, made from the newer one.
//!
//! kubectl asks for it when an object is of `kind: List`, Argo CD and controller tools always do; client-go takes it
//! only as protobuf. The document is made when it is asked for and not kept: it is large, and clients cache it.
//! *Source:* Swagger 2.0; `openapiv2/OpenAPIv2.proto` of gnostic for the protobuf form.

mod convert;
mod gnostic;

use coracle_api::openapi::Documents;
use serde_json::Value;

/// `Content-Type` of the protobuf form.
pub const PROTOBUF_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Whether a media type of an `Accept` header is the protobuf form, in its present or its older spelling.
pub fn is_protobuf(media_type: &str) -> bool {
    matches!(
        media_type,
        PROTOBUF_TYPE | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    )
}

/// The whole API in one Swagger 2.0 document: what this server describes, then the OpenAPI v3 documents of others,
/// which change nothing of the former.
pub fn document(documents: &Documents, others: Vec<Value>) -> Value {
    let paths = documents.paths();
    let rendered = paths.iter().filter_map(|path| documents.render(path));
    let own = rendered.filter_map(|json| serde_json::from_slice(&json).ok());
    convert::merge(own.chain(others))
}

/// A Swagger 2.0 document in protobuf.
pub fn protobuf(document: &Value) -> Vec<u8> {
    gnostic::document(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_api_in_one_document() {
        let document = document(&Documents::undescribed(), Vec::new());
        assert_eq!(document["swagger"], "2.0");
        let deployment = &document["definitions"]["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            deployment["properties"]["spec"]["$ref"],
            "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
        );
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "ConfigMap");
        let names: Vec<&Value> =
            patch["parameters"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
        assert!(names.contains(&&Value::from("fieldValidation")));
        let text = document.to_string();
        // A CustomResourceDefinition has properties of these names, which are schemas, not lists.
        let unions = [r#""oneOf":["#, r#""allOf":["#];
        assert!(!text.contains("#/components/") && !unions.iter().any(|word| text.contains(word)));
    }
}
