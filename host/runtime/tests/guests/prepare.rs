//! Preparing images: what runs, what is refused, and in which words.

use std::sync::Arc;

use coracle_runtime::{ComponentKind, Engine, PrepareError};

use crate::world::{Pod, config, engine, guest, image, source};

#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_told_by_exports() {
    let kind = async |name| image(name).await.kind;
    assert_eq!(kind("behave").await, ComponentKind::Command);
    assert_eq!(kind("behave-p1").await, ComponentKind::Command);
    assert_eq!(kind("hello_http").await, ComponentKind::Http);
    let lifecycle = image("lifecycle").await;
    assert!(lifecycle.takes_stop_notice());
    assert!(lifecycle.imports.iter().any(|name| name == "coracle:lifecycle/stop@0.1.0"));
}

async fn refused(bytes: &[u8]) -> PrepareError {
    engine().prepare(source(bytes.to_vec()), &[]).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linux_image_is_refused_with_a_hint() {
    let error = refused(b"\x7fELF\x02\x01\x01").await;
    assert_eq!(error.to_string(), "not WebAssembly: found a Linux executable (ELF)");
    assert!(error.hint().unwrap().contains("wasm32-wasip2"));
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_component_is_refused() {
    let whole = std::fs::read(guest("hello_http")).unwrap();
    let error = refused(&whole[..whole.len() / 2]).await;
    assert!(matches!(error, PrepareError::Truncated { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_component_is_refused_and_the_host_goes_on() {
    let mut bytes = std::fs::read(guest("hello_http")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    let error = refused(&bytes).await;
    assert!(
        matches!(error, PrepareError::Invalid { .. } | PrepareError::Truncated { .. }),
        "{error}"
    );
    assert_eq!(image("hello_http").await.kind, ComponentKind::Http);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_imports_are_named() {
    let mut builder = wasm_encoder::ComponentBuilder::default();
    let ty = builder.type_instance(None, &wasm_encoder::InstanceType::new());
    let ty = wasm_encoder::ComponentTypeRef::Instance(ty);
    let instance = builder.import("acme:auth/token@1.0.0", ty);
    let kind = wasm_encoder::ComponentExportKind::Instance;
    builder.export("wasi:cli/run@0.2.0", kind, instance, None);
    let bytes = builder.finish();
    let error = refused(&bytes).await;
    let want = "imports that nothing satisfies: acme:auth/token@1.0.0";
    assert_eq!(error.to_string(), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_is_ended_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path().join("code"));
    config.compile.memory_bytes = 48 << 20;
    let engine = Engine::new(config).unwrap();
    let bytes = std::fs::read(guest("behave")).unwrap();
    let error = engine.prepare(source(bytes), &[]).await.unwrap_err();
    assert!(matches!(error, PrepareError::Compiler { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_compiled_once_and_kept_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(guest("hello_http")).unwrap();
    let first = Engine::new(config(folder.path().join("code"))).unwrap();
    let (one, two) = tokio::join!(
        first.prepare(source(bytes.clone()), &[]),
        first.prepare(source(bytes.clone()), &[])
    );
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    let mut config = config(folder.path().join("code"));
    config.compiler.program = "/nonexistent".into();
    let second = Engine::new(config).unwrap();
    assert!(second.prepare(source(bytes), &[]).await.is_ok());
    let other = std::fs::read(guest("behave")).unwrap();
    let error = second.prepare(source(other), &[]).await.unwrap_err();
    assert!(matches!(error, PrepareError::Spawn { .. }), "{error}");
    assert!(error.is_transient());
}

/// What ran before is not mapped again, as far as there is room; and nobody need hold it for that.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_runs_any_more_stays_mapped_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("code");
    let engine = Engine::new(config(cache.clone())).unwrap();
    let bytes = std::fs::read(guest("hello_http")).unwrap();
    assert_eq!(engine.components_mapped(), 0);
    drop(engine.prepare(source(bytes.clone()), &[]).await.unwrap());
    std::fs::remove_dir_all(&cache).unwrap();
    let again = engine.prepare(source(bytes.clone()), &[]).await.unwrap();
    assert_eq!((again.kind, engine.components_mapped()), (ComponentKind::Http, 1));
    // An engine does not outlive its images because of what it keeps.
    drop((engine, again));
    let mut config = config(cache);
    config.compiler.program = "/nonexistent".into();
    let other = Engine::new(config).unwrap();
    assert!(other.prepare(source(bytes), &[]).await.is_err(), "its own has nothing mapped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_is_plugged_into_what_imports_it() {
    let bytes = |name| std::fs::read(guest(name)).unwrap();
    let plugs = [source(bytes("greeter_names"))];
    let error = engine().prepare(source(bytes("greeter")), &[]).await.unwrap_err();
    let want = "imports that nothing satisfies: coracle-test:greet/names@1.0.0";
    assert_eq!(error.to_string(), want);
    let error = engine().prepare(source(bytes("greeter_names")), &[]).await.unwrap_err();
    assert!(matches!(error, PrepareError::NoEntry { .. }), "{error}");
    let image = engine().prepare(source(bytes("greeter")), &plugs).await.unwrap();
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &[]).await;
    spec.image = image;
    assert_eq!(pod.sandbox.start(spec).await.unwrap().wait().await.code, 0);
    assert_eq!(pod.log(), "stdout F hello number 7\n");
    let error = engine().prepare(source(bytes("behave")), &plugs).await.unwrap_err();
    assert!(matches!(error, PrepareError::Plug { .. }), "{error}");
}
