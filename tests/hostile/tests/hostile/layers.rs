//! Layers that lead outside, unpack to too much, or name what is the host's as what runs.

use std::fs;
use std::io::{Read as _, Write as _};

use tar::EntryType;

use crate::registry::{Evil, Host, TAR};
use crate::world::Neighbour;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// An archive of entries: kind, path, and content or target.
fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = tar::Header::new_gnu();
        // As a hostile program writes them: without a look at what is in them.
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = kind.is_symlink() || kind.is_hard_link();
        if is_link {
            gnu.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if is_link { &b""[..] } else { content.as_bytes() };
        header.set_entry_type(*kind);
        header.set_mode(0o6777);
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// One header that says `size`, and zeros after it.
fn bomb(kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(size.min(64 << 20)), &mut packed).unwrap();
    packed.finish().unwrap()
}

/// Two hundred thousand and one directories.
fn crowd() -> Vec<u8> {
    let one = archive(&[(EntryType::Directory, "d/", "")]);
    gzip(&one[..512].repeat(200_001))
}

use EntryType as E;

const F: EntryType = E::Regular;

/// A program that is there, so that only the other entries decide.
const APP: (EntryType, &str, &str) = (F, "app.wasm", "\0asm");

/// A case: its layers, what it runs, and the beginning of what the pod's owner is told, or `""` when
/// it is pulled and nothing of it lies outside.
type Case = (&'static str, fn() -> Vec<(&'static str, Vec<u8>)>, &'static str, &'static str);

const CASES: [Case; 23] = [
    ("a sound image", || vec![(TAR, archive(&[APP]))], "/app.wasm", ""),
    ("dots", || vec![(TAR, archive(&[APP, (F, "../evil", "x")]))], "/app.wasm", "unpack layer"),
    (
        "dots in the middle",
        || vec![(TAR, archive(&[APP, (F, "a/../../../evil", "x")]))],
        "/app.wasm",
        "unpack layer",
    ),
    ("an absolute path", || vec![(TAR, archive(&[APP, (F, "/tmp/evil", "x")]))], "/app.wasm", ""),
    (
        "through a link",
        || vec![(TAR, archive(&[APP, (E::Symlink, "l", "/tmp"), (F, "l/evil", "x")]))],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "through a link of the layer below",
        || {
            let low = archive(&[APP, (E::Symlink, "l", "../../..")]);
            vec![(TAR, low), (TAR, archive(&[(F, "l/evil", "x")]))]
        },
        "/app.wasm",
        "unpack layer",
    ),
    (
        "over a link",
        || vec![(TAR, archive(&[APP, (E::Symlink, "l", "/tmp/evil"), (F, "l", "x")]))],
        "/app.wasm",
        "",
    ),
    (
        "a hard link to the host's",
        || vec![(TAR, archive(&[APP, (E::Link, "l", "../../../../etc/passwd")]))],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "a hard link through a link",
        || vec![(TAR, archive(&[APP, (E::Symlink, "d", "/etc"), (E::Link, "l", "d/passwd")]))],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "white-outs above the root",
        || vec![(TAR, archive(&[APP])), (TAR, archive(&[(F, "../.wh.images", "")]))],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "a white-out of everything above",
        || vec![(TAR, archive(&[APP])), (TAR, archive(&[(F, "a/.wh...", "")]))],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "a white-out through a link",
        || {
            let low = archive(&[APP, (E::Symlink, "l", "/tmp")]);
            vec![(TAR, low), (TAR, archive(&[(F, "l/.wh.evil", "")]))]
        },
        "/app.wasm",
        "unpack layer",
    ),
    (
        "devices",
        || {
            let devices = [APP, (E::Block, "sda", ""), (E::Char, "mem", ""), (E::Fifo, "pipe", "")];
            vec![(TAR, archive(&devices))]
        },
        "/app.wasm",
        "",
    ),
    ("a file of a terabyte", || vec![(GZIP, bomb(F, 1 << 40))], "/app.wasm", "unpack layer"),
    (
        "a name of 64 MiB",
        || vec![(GZIP, bomb(E::GNULongName, 64 << 20))],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "attributes of 64 MiB",
        || vec![(GZIP, bomb(E::XHeader, 64 << 20))],
        "/app.wasm",
        "unpack layer",
    ),
    ("a crowd of entries", || vec![(GZIP, crowd())], "/app.wasm", "unpack layer"),
    ("no archive", || vec![(GZIP, b"not gzip".to_vec())], "/app.wasm", "unpack layer"),
    (
        "no zstd",
        || vec![(ZSTD, b"\x28\xb5\x2f\xfd\xff\xff\xff".to_vec())],
        "/app.wasm",
        "unpack layer",
    ),
    (
        "a program above the root",
        || vec![(TAR, archive(&[APP]))],
        "/../../../../../../bin/sh.wasm",
        "read entry point",
    ),
    (
        "a program that is a link to the host's",
        || vec![(TAR, archive(&[(E::Symlink, "app.wasm", "/etc/passwd")]))],
        "/app.wasm",
        "read entry point",
    ),
    (
        "a program without an end",
        || vec![(TAR, archive(&[(E::Symlink, "app.wasm", "/dev/zero")]))],
        "/app.wasm",
        "read entry point",
    ),
    (
        "a program that is a directory",
        || vec![(TAR, archive(&[(E::Directory, "app.wasm/", "")]))],
        "/app.wasm",
        "read entry point",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_layer_lands_outside_or_unpacks_to_too_much() {
    let neighbour = Neighbour::start().await;
    fs::remove_file("/tmp/evil").ok();
    for (case, layers, program, want) in CASES {
        let mut evil = Evil::default();
        evil.image(layers(), program);
        let host = Host::new(evil);
        let beside = host.beside();
        let pulled = host.pull().await;
        match &pulled {
            Ok(image) => {
                assert_eq!(want, "", "{case}: was pulled as {image:?}");
                assert!(image.wasm.starts_with(host.folder.path()), "{case}: {image:?}");
            }
            Err(why) => assert!(!want.is_empty() && why.starts_with(want), "{case}: {why}"),
        }
        assert!(!fs::exists("/tmp/evil").unwrap(), "{case}");
        assert_eq!(host.beside(), beside, "{case}");
        neighbour.answers(case).await;
    }
}
