//! `coracle top`: what pods and nodes use, of `metrics.k8s.io`.

use coracle_api::quantity::Quantity;
use serde_json::Value;

use super::form::shown;
use super::query::Query;
use super::session::Session;
use super::table::Printed;
use crate::config::{TopFlags, TopVerb};
use crate::out;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// Prints one of the two tables.
pub(crate) async fn top(session: &Session, verb: &TopVerb) -> anyhow::Result<()> {
    let printed = match verb {
        TopVerb::Pod(flags) => pods(session, flags).await?,
        TopVerb::Node(flags) => nodes(session, flags).await?,
    };
    if printed.is_empty() {
        out::note("No resources found");
        return Ok(());
    }
    printed.lines(true).iter().for_each(out::line);
    Ok(())
}

async fn fetch(session: &Session, base: &str, flags: &TopFlags) -> anyhow::Result<Vec<Value>> {
    if let Some(name) = &flags.name {
        return Ok(vec![session.get(&format!("{base}/{name}")).await?]);
    }
    let mut list = session.get(&Query::of_selection(&flags.select).on(base)).await?;
    let items = list["items"].take();
    Ok(items.as_array().cloned().unwrap_or_default())
}

async fn pods(session: &Session, flags: &TopFlags) -> anyhow::Result<Printed> {
    let all = flags.select.all_namespaces;
    let base = match all {
        true => format!("{METRICS}/pods"),
        false => format!("{METRICS}/namespaces/{}/pods", session.namespace),
    };
    let mut headings = Vec::new();
    headings.extend(all.then_some("NAMESPACE"));
    headings.push(if flags.containers { "POD" } else { "NAME" });
    headings.extend(flags.containers.then_some("NAME"));
    headings.extend(["CPU(cores)", "MEMORY(bytes)"]);
    let mut printed = Printed::new(&headings);
    for pod in fetch(session, &base, flags).await? {
        let containers: Vec<&Value> = pod["containers"].as_array().into_iter().flatten().collect();
        let groups: Vec<Vec<&Value>> = match flags.containers {
            true => containers.into_iter().map(|container| vec![container]).collect(),
            false => vec![containers],
        };
        for group in groups {
            let mut cells = Vec::new();
            cells.extend(all.then(|| shown(&pod["metadata"]["namespace"])));
            cells.push(shown(&pod["metadata"]["name"]));
            if let (true, Some(container)) = (flags.containers, group.first()) {
                cells.push(shown(&container["name"]));
            }
            let sum = |field: &str| group.iter().map(|c| &c["usage"][field]).map(amount).sum();
            cells.extend([cpu(sum("cpu")), memory(sum("memory"))]);
            printed.row(cells);
        }
    }
    Ok(printed)
}

async fn nodes(session: &Session, flags: &TopFlags) -> anyhow::Result<Printed> {
    let mut printed = Printed::new(&["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
    for node in fetch(session, &format!("{METRICS}/nodes"), flags).await? {
        let name = shown(&node["metadata"]["name"]);
        let object = session.get(&format!("/api/v1/nodes/{name}")).await?;
        let room = &object["status"]["allocatable"];
        let used = |field: &str| amount(&node["usage"][field]);
        let share = |field: &str| match amount(&room[field]) {
            0 => "<unknown>".to_owned(),
            room => format!("{}%", used(field) * 100 / room),
        };
        printed.row(vec![
            name,
            cpu(used("cpu")),
            share("cpu"),
            memory(used("memory")),
            share("memory"),
        ]);
    }
    Ok(printed)
}

/// A quantity in thousandths of its unit; 0 if it is none.
fn amount(quantity: &Value) -> i128 {
    let text = quantity.as_str().unwrap_or("0");
    text.parse::<Quantity>().map_or(0, |quantity| i128::from(quantity.milli_value()))
}

fn cpu(thousandths: i128) -> String {
    format!("{thousandths}m")
}

fn memory(thousandths: i128) -> String {
    format!("{}Mi", thousandths / 1000 / (1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_in_the_units_of_kubectl() {
        assert_eq!(cpu(amount(&json!("1250000n"))), "2m");
        assert_eq!(cpu(amount(&json!("2"))), "2000m");
        assert_eq!(memory(amount(&json!("20480Ki"))), "20Mi");
    }
}
