//! The flags of `coracle simulate`.

use std::path::PathBuf;

use clap::Args;
use coracle_api::quantity::Quantity;
use coracle_simulate::forecast::{Dying, HOSTS_MAX};

/// What is simulated.
#[derive(Debug, Args)]
pub(crate) struct SimulateFlags {
    /// A manifest, or a folder of manifests
    #[arg(short, long, value_name = "DIR|FILE")]
    pub(crate) filename: PathBuf,

    /// Hosts that the cluster has, 1 to 1000, in three zones
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = hosts)]
    pub(crate) nodes: usize,

    /// How many of them die: a number, or a share such as 10%, rounded up [default: none]
    #[arg(long, value_name = "COUNT|SHARE%", value_parser = dying)]
    pub(crate) kill_node: Option<Dying>,

    /// Decides which hosts die and whatever else is left to chance; the same seed is the same story
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// CPU of each host
    #[arg(long, value_name = "QUANTITY", default_value = "4", value_parser = quantity)]
    pub(crate) node_cpu: String,

    /// Memory of each host
    #[arg(long, value_name = "QUANTITY", default_value = "16Gi", value_parser = quantity)]
    pub(crate) node_memory: String,

    /// Pods that each host takes
    #[arg(long, value_name = "COUNT", default_value_t = 110)]
    pub(crate) node_pods: u32,
}

fn hosts(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=HOSTS_MAX).contains(count));
    count.ok_or_else(|| format!("must be a number from 1 to {HOSTS_MAX}"))
}

fn dying(text: &str) -> Result<Dying, String> {
    let share = text.strip_suffix('%').map(str::parse::<f64>);
    let dying = match share {
        Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => {
            Some(Dying::Share(percent / 100.0))
        }
        Some(_) => None,
        None => text.parse().ok().map(Dying::Hosts),
    };
    dying.ok_or_else(|| "must be a number of hosts such as 2, or a share such as 10%".to_owned())
}

fn quantity(text: &str) -> Result<String, String> {
    let quantity = text.parse::<Quantity>().map_err(|error| error.to_string())?;
    if quantity.is_negative() {
        return Err("must not be negative".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_die_by_number_or_share() {
        assert_eq!(dying("10%"), Ok(Dying::Share(0.1)));
        assert_eq!(dying("2"), Ok(Dying::Hosts(2)));
        for wrong in ["", "%", "-1", "101%", "NaN%", "many", "2 %%"] {
            assert!(dying(wrong).unwrap_err().contains("such as 10%"), "{wrong}");
        }
        assert_eq!(hosts("1000"), Ok(1000));
        for wrong in ["0", "1001", "x"] {
            assert!(hosts(wrong).unwrap_err().contains("1 to 1000"), "{wrong}");
        }
        assert_eq!(quantity("16Gi"), Ok("16Gi".to_owned()));
        // The server would refuse such a node, and its host never be ready.
        assert!(quantity("-1").unwrap_err().contains("negative"));
    }
}
