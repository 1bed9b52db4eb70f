//! A tenant: what it was granted, its plugin, and what that has used today.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use coracle_runtime::call::{CallLimits, Function, Plugin};
use coracle_runtime::{ContainerSpec, Engine, ImageSource, Limits};
use serde::{Deserialize, Serialize};

use crate::bill::{Cart, Change};

/// What one call may hand over, whoever's plugin it is.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// How many versions of a plugin a tenant may upload on a day: each is compiled, and counted until midnight.
const UPLOADS_A_DAY_MAX: usize = 50;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// What the operator of the shop gives to a tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Bytes of memory that all calls at once may hold.
    memory_bytes: u64,
    /// Thousandths of a core that all calls at once may use.
    cpu_millis: u32,
    /// Seconds that a call may take: a customer waits for it.
    call_seconds: u64,
    /// Microseconds of CPU that all calls of a day may use.
    cpu_usec_a_day: u64,
    /// The WIT packages that its plugin may import.
    imports: Vec<String>,
    /// The environment that its plugin sees.
    env: BTreeMap<String, String>,
}

/// What a tenant's plugin has used.
#[derive(Debug, Serialize)]
pub struct Used {
    calls_today: u64,
    failed_today: u64,
    cpu_usec_today: u64,
    cpu_usec_a_day: u64,
}

/// One customer of the shop's operator, with customers of its own.
pub struct Tenant {
    name: String,
    grants: Grants,
    today: Mutex<Today>,
}

/// The versions of a day, the last of which is called, and what was used before this day.
#[derive(Default)]
struct Today {
    day: u64,
    versions: Vec<Plugin>,
    before: Count,
}

/// Calls, those that failed, and microseconds of CPU.
#[derive(Debug, Default, Clone, Copy)]
struct Count(u64, u64, u64);

impl Count {
    fn of(plugin: &Plugin) -> Self {
        let usage = plugin.usage();
        Self(usage.requests, usage.faults, usage.cpu_usec)
    }
}

impl Today {
    /// Forgets the versions of yesterday when another day has begun.
    fn at(&mut self, day: u64) {
        if self.day != day {
            let keep = self.versions.len().saturating_sub(1);
            self.versions.drain(..keep);
            self.before = self.versions.last().map(Count::of).unwrap_or_default();
            self.day = day;
        }
    }

    fn count(&self) -> Count {
        let all = self.versions.iter().map(Count::of);
        let all = all.fold(Count::default(), |a, b| Count(a.0 + b.0, a.1 + b.1, a.2 + b.2));
        let Count(calls, failed, usec) = self.before;
        // A version of yesterday may still have been in a call when its count was taken.
        Count(all.0.saturating_sub(calls), all.1.saturating_sub(failed), all.2.saturating_sub(usec))
    }
}

/// Days since 1970, in UTC.
#[expect(clippy::disallowed_methods, reason = "the clock is read here alone")]
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY
}

impl Tenant {
    /// Opens a shop without a plugin.
    #[must_use]
    pub fn new(name: String, grants: Grants) -> Self {
        Self { name, grants, today: Mutex::default() }
    }

    fn today(&self) -> MutexGuard<'_, Today> {
        let mut guard = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        guard.at(today());
        guard
    }

    /// Takes a component in as the tenant's plugin; calls that have begun end on the version before.
    ///
    /// # Errors
    /// Why it was refused, for the tenant.
    pub async fn take(&self, engine: &Engine, component: Bytes) -> Result<String, String> {
        if self.today().versions.len() >= UPLOADS_A_DAY_MAX {
            return Err(format!("{}: at most {UPLOADS_A_DAY_MAX} uploads a day", self.name));
        }
        let bytes = component.len();
        let source = ImageSource::of_bytes(component);
        let image = engine.prepare_library(source, &[]).await.map_err(|error| error.to_string())?;
        if let Some(import) = image.imports.iter().find(|import| !self.may_import(import)) {
            return Err(format!(
                "the plugin imports {import}, which {} was not granted",
                self.name
            ));
        }
        let mut spec = ContainerSpec::new(&self.name, image);
        spec.env = self.grants.env.clone().into_iter().collect();
        spec.limits = Limits {
            memory_bytes: Some(self.grants.memory_bytes),
            cpu_millis: Some(self.grants.cpu_millis),
        };
        let plugin = Plugin::new(spec).map_err(|error| error.to_string())?;
        let said = format!("{}: took a plugin of {bytes} bytes", self.name);
        self.today().versions.push(plugin);
        Ok(said)
    }

    fn may_import(&self, import: &str) -> bool {
        let package = import.split('/').next().unwrap_or_default();
        self.grants.imports.iter().any(|granted| granted == package)
    }

    /// Asks the plugin how a bill changes.
    ///
    /// # Errors
    /// Why it was not asked, or gave no answer.
    pub async fn changes(&self, cart: Cart) -> Result<Vec<Change>, String> {
        let plugin = {
            let today = self.today();
            let Some(plugin) = today.versions.last() else { return Ok(Vec::new()) };
            let (used, quota) = (today.count().2, self.grants.cpu_usec_a_day);
            if used >= quota {
                return Err(format!("it has used up its {quota} microseconds of today"));
            }
            plugin.clone()
        };
        let function = Function::of("shop:plugins/pricing@1.0.0", "changes");
        let limits = CallLimits {
            time: Duration::from_secs(self.grants.call_seconds),
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        let said = plugin.call(&function, (cart,), limits).await;
        let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
        let (said,): (Result<Vec<Change>, String>,) =
            said.map_err(|error| first(error.to_string()))?;
        said
    }

    /// Says what was used today.
    #[must_use]
    pub fn used(&self) -> Used {
        let Count(calls_today, failed_today, cpu_usec_today) = self.today().count();
        Used {
            calls_today,
            failed_today,
            cpu_usec_today,
            cpu_usec_a_day: self.grants.cpu_usec_a_day,
        }
    }
}
