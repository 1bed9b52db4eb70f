//! Kubernetes nouns and their rules: schema, selectors, quantities, patches, defaults, validation.
