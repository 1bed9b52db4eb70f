//! Commands over `wasi:filesystem`; paths are relative to `/`.
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use wasip3::wit_stream;

type Said = Result<String, ErrorCode>;

pub async fn run(words: &[&str]) -> Said {
    let roots = get_directories();
    let Some((root, name)) = roots.first() else { return Err(ErrorCode::NoEntry) };
    let follow = PathFlags::SYMLINK_FOLLOW;
    match *words {
        ["roots"] => Ok(format!("{} {name}", roots.len())),
        ["write", path, text] => {
            let file = open(root, path, OpenFlags::CREATE | OpenFlags::TRUNCATE).await?;
            put(text, |data| file.write_via_stream(data, 0)).await?;
            Ok(file.stat().await?.size.to_string())
        }
        ["append", path, text] => {
            let file = open(root, path, OpenFlags::empty()).await?;
            put(text, |data| file.append_via_stream(data)).await?;
            Ok(file.stat().await?.size.to_string())
        }
        ["read", path, offset] => {
            let flags = DescriptorFlags::READ;
            let file = root.open_at(follow, path.into(), OpenFlags::empty(), flags).await?;
            let (data, ending) = file.read_via_stream(offset.parse().unwrap_or(0));
            let text = data.collect().await;
            ending.await?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        ["read-dir-as-file", path] => {
            let flags = DescriptorFlags::READ;
            let dir = root.open_at(follow, path.into(), OpenFlags::DIRECTORY, flags).await?;
            let (data, ending) = dir.read_via_stream(0);
            let length = data.collect().await.len();
            Ok(format!("{length} {:?}", ending.await))
        }
        ["write-read-only", path] => {
            let flags = DescriptorFlags::READ;
            let file = root.open_at(follow, path.into(), OpenFlags::empty(), flags).await?;
            put("no", |data| file.write_via_stream(data, 0)).await?;
            Ok("ok".to_owned())
        }
        ["list", path] => {
            let flags = DescriptorFlags::READ;
            let dir = root.open_at(follow, path.into(), OpenFlags::DIRECTORY, flags).await?;
            let (entries, ending) = dir.read_directory();
            let mut names: Vec<String> = entries
                .collect()
                .await
                .into_iter()
                .map(|entry| match entry.type_ {
                    DescriptorType::Directory => format!("{}/", entry.name),
                    _ => entry.name,
                })
                .collect();
            ending.await?;
            names.sort();
            Ok(names.join(" "))
        }
        ["mkdir", path] => done(root.create_directory_at(path.into()).await),
        ["rmdir", path] => done(root.remove_directory_at(path.into()).await),
        ["rm", path] => done(root.unlink_file_at(path.into()).await),
        ["mv", from, to] => done(root.rename_at(from.into(), root, to.into()).await),
        ["ln", target, path] => done(root.symlink_at(target.into(), path.into()).await),
        ["readlink", path] => root.readlink_at(path.into()).await,
        ["same", one, two] => {
            let flags = DescriptorFlags::READ;
            let one = root.open_at(follow, one.into(), OpenFlags::empty(), flags).await?;
            let two = root.open_at(follow, two.into(), OpenFlags::empty(), flags).await?;
            let hashes = (one.metadata_hash().await?.lower, two.metadata_hash().await?.lower);
            Ok(format!("{} {}", one.is_same_object(&two).await, hashes.0 == hashes.1))
        }
        _ => Ok("no such command".to_owned()),
    }
}

fn done(result: Result<(), ErrorCode>) -> Said {
    result.map(|()| "ok".to_owned())
}

async fn open(root: &Descriptor, path: &str, how: OpenFlags) -> Result<Descriptor, ErrorCode> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    root.open_at(PathFlags::SYMLINK_FOLLOW, path.into(), how, flags).await
}

/// Writes a text through a stream that `write` hands on.
async fn put<F>(
    text: &str,
    write: impl FnOnce(wasip3::wit_bindgen::StreamReader<u8>) -> F,
) -> Result<(), ErrorCode>
where
    F: IntoFuture<Output = Result<(), ErrorCode>>,
{
    let (mut writer, reader) = wit_stream::new();
    let ending = write(reader);
    writer.write_all(text.as_bytes().to_vec()).await;
    drop(writer);
    ending.await
}
