//! Where the store is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use coracle_store::EtcdConfig;

/// How the file of the data directory is named where an address is asked for.
const REDB: &str = "redb";

/// Flags of servers about their store.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreFlags {
    /// Where all objects are: `redb` is a file in the data directory, for one server alone;
    /// etcd://HOST:PORT,… (with TLS https://HOST:PORT,…) is an etcd that several servers share
    #[arg(long, value_name = "ADDRESS", default_value = REDB, env = "CORACLE_STORE")]
    pub(crate) store: String,

    #[command(flatten)]
    pub(crate) etcd: EtcdFlags,

    /// The key by which servers of one cluster share the cluster's keys in etcd; the first one makes
    /// it, the others need a copy [default: pki/cluster.key in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_key_file: Option<PathBuf>,
}

/// How etcd is spoken to.
#[derive(Debug, Clone, Args)]
pub(crate) struct EtcdFlags {
    /// Certificates of the authority of etcd's members
    #[arg(long, value_name = "FILE")]
    pub(crate) etcd_cafile: Option<PathBuf>,

    /// Certificate by which etcd knows this server
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub(crate) etcd_certfile: Option<PathBuf>,

    /// Key of that certificate
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub(crate) etcd_keyfile: Option<PathBuf>,

    /// User of etcd; it must be allowed to read and write all keys
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    pub(crate) etcd_user: Option<String>,

    /// File with the password of that user
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    pub(crate) etcd_password_file: Option<PathBuf>,
}

/// A store, as it is named on the command line.
#[derive(Debug, Clone)]
pub(crate) enum StorePlace {
    /// The file in the data directory.
    Redb,
    /// An etcd.
    Etcd(EtcdConfig),
}

impl StoreFlags {
    /// Where the store is.
    ///
    /// # Errors
    /// When the address or a file cannot be used.
    pub(crate) fn place(&self) -> anyhow::Result<StorePlace> {
        self.etcd.place(&self.store).with_context(|| format!("--store '{}'", self.store))
    }
}

impl EtcdFlags {
    /// The store at an address.
    ///
    /// # Errors
    /// When the address or a file cannot be used.
    pub(crate) fn place(&self, address: &str) -> anyhow::Result<StorePlace> {
        if address == REDB {
            return Ok(StorePlace::Redb);
        }
        let mut config = EtcdConfig::parse(address)?;
        if config.wants_tls() {
            let Some(authorities) = &self.etcd_cafile else {
                bail!("give --etcd-cafile, the certificate of the authority of etcd's members");
            };
            let authorities = read(authorities)?;
            let pair = match (&self.etcd_certfile, &self.etcd_keyfile) {
                (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
                (Some(_) | None, _) => None,
            };
            let identity = pair.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
            config = config.with_tls(&authorities, identity)?;
        } else if self.etcd_cafile.is_some() || self.etcd_certfile.is_some() {
            bail!("certificates are for an etcd with TLS: https://HOST:PORT");
        }
        if let (Some(user), Some(file)) = (&self.etcd_user, &self.etcd_password_file) {
            let password = String::from_utf8(read(file)?).context("read the password")?;
            config = config.with_user(user.clone(), password.trim_end_matches('\n').to_owned());
        }
        Ok(StorePlace::Etcd(config))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// `coracle store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy all objects from one place to another, which must be empty; no server may run meanwhile
    Migrate(MigrateFlags),
}

/// `coracle store migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateFlags {
    /// Where the objects are: `redb` (the file in the data directory), or etcd://HOST:PORT,…
    #[arg(long, value_name = "ADDRESS", default_value = REDB)]
    pub(crate) from: String,

    /// Where they shall be: an etcd without keys, or `redb`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: String,

    #[command(flatten)]
    pub(crate) etcd: EtcdFlags,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_need_what_they_need() {
        let flags = || EtcdFlags {
            etcd_cafile: None,
            etcd_certfile: None,
            etcd_keyfile: None,
            etcd_user: None,
            etcd_password_file: None,
        };
        assert!(matches!(flags().place("redb"), Ok(StorePlace::Redb)));
        assert!(matches!(flags().place("etcd://a:1,b"), Ok(StorePlace::Etcd(_))));
        let check = |flags: EtcdFlags, address: &str, expected: &str| {
            let error = format!("{:#}", flags.place(address).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(flags(), "https://a:1", "--etcd-cafile");
        check(flags(), "mysql://a", "must be etcd://");
        let missing = || Some(PathBuf::from("/nonexistent/file"));
        check(EtcdFlags { etcd_cafile: missing(), ..flags() }, "etcd://a", "with TLS");
        check(EtcdFlags { etcd_cafile: missing(), ..flags() }, "https://a", "/nonexistent/file");
    }
}
