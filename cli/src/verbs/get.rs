//! `coracle get`.

use anyhow::Context as _;
use futures::AsyncBufReadExt as _;
use http::{Request, header};
use serde_json::{Value, json};

use super::form::{self, Form};
use super::kinds::Kinds;
use super::query::Query;
use super::session::{Session, told};
use super::table::{Printed, TableForm};
use super::targets::{self, Target};
use crate::config::{GetFlags, SelectFlags};
use crate::out;

/// Tables where the server can, objects where not.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Prints what the flags ask for.
pub(crate) async fn get(session: &Session, flags: &GetFlags) -> anyhow::Result<()> {
    let form = Form::read(&flags.output)?;
    let kinds = Kinds::discover(session).await?;
    let targets = targets::read(&kinds, &flags.what)?;
    if flags.watch {
        return Watched { session, flags, form }.run(&targets).await;
    }
    match form {
        Form::Table | Form::Wide => tables(session, flags, &form, &targets).await,
        Form::Json | Form::Yaml | Form::Name | Form::JsonPath(_) => {
            let objects = fetch(session, &flags.select, flags.ignore_not_found, &targets).await?;
            print(&form, objects, targets.iter().all(|target| target.name.is_some()))
        }
    }
}

/// The objects that targets mean; each has its `apiVersion` and `kind`.
pub(crate) async fn fetch(
    session: &Session,
    select: &SelectFlags,
    ignore_not_found: bool,
    targets: &[Target],
) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for target in targets {
        let path = target.path(session, select);
        let found = if ignore_not_found {
            session.get_opt(&path).await?
        } else {
            Some(session.get(&path).await?)
        };
        match (found, &target.name) {
            (Some(object), Some(_)) => objects.push(object),
            (Some(mut list), None) => {
                let items = list["items"].take();
                let items = items.as_array().cloned().unwrap_or_default();
                objects.extend(items.into_iter().map(|item| typed(item, target)));
            }
            (None, _) => {}
        }
    }
    Ok(objects)
}

/// Items of a list say nothing of their kind.
fn typed(mut item: Value, target: &Target) -> Value {
    item["apiVersion"] = json!(target.kind.api_version());
    item["kind"] = json!(target.kind.kind);
    item
}

fn print(form: &Form, mut objects: Vec<Value>, named: bool) -> anyhow::Result<()> {
    for object in &mut objects {
        // Only machines read who set which field.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    if let Form::Name = form {
        for object in &objects {
            out::line(name_of(object));
        }
        return Ok(());
    }
    let shown = match objects.pop() {
        Some(only) if named && objects.is_empty() => only,
        last => {
            objects.extend(last);
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
                "items": objects})
        }
    };
    match form {
        Form::Yaml => out::text(&form::yaml(&shown)?),
        Form::JsonPath(pieces) => out::text(&form::render(pieces, &shown)),
        Form::Json | Form::Table | Form::Wide | Form::Name => {
            out::line(serde_json::to_string_pretty(&shown)?);
        }
    }
    Ok(())
}

/// `deployment.apps/web`.
pub(crate) fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = text(&object["apiVersion"]);
    let group = group.split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
    format!("{}{group}/{}", text(&object["kind"]).to_lowercase(), text(&object["metadata"]["name"]))
}

fn table_form(flags: &GetFlags, form: &Form, target: &Target) -> TableForm {
    TableForm {
        wide: *form == Form::Wide,
        namespaces: flags.select.all_namespaces && target.kind.namespaced,
        labels: flags.show_labels,
    }
}

async fn tables(
    session: &Session,
    flags: &GetFlags,
    form: &Form,
    targets: &[Target],
) -> anyhow::Result<()> {
    let mut kinds: Vec<String> = targets.iter().map(|t| t.kind.group_resource()).collect();
    kinds.dedup();
    let mixed = kinds.len() > 1;
    let mut printed_any = false;
    for group in targets.chunk_by(|a, b| a.kind == b.kind) {
        let Some(first) = group.first() else { continue };
        let Some(table) = merged(session, flags, group).await? else { continue };
        let prefix = |name: &str| if mixed { first.kind.shown(name) } else { name.to_owned() };
        let printed = Printed::of(&table, table_form(flags, form, first), prefix);
        if printed.is_empty() {
            continue;
        }
        if printed_any {
            out::line("");
        }
        printed_any = true;
        printed.lines(!flags.no_headers).iter().for_each(out::line);
    }
    if !printed_any && !flags.ignore_not_found {
        let everywhere =
            flags.select.all_namespaces || targets.iter().all(|target| !target.kind.namespaced);
        out::note(&if everywhere {
            "No resources found".to_owned()
        } else {
            format!("No resources found in {} namespace.", session.namespace)
        });
    }
    Ok(())
}

/// One table for all the objects of a kind that were named.
async fn merged(
    session: &Session,
    flags: &GetFlags,
    targets: &[Target],
) -> anyhow::Result<Option<Value>> {
    let mut all: Option<Value> = None;
    for target in targets {
        let path = target.path(session, &flags.select);
        if flags.ignore_not_found && session.get_opt(&path).await?.is_none() {
            continue;
        }
        let mut table = session.get_as(&path, TABLE).await?;
        match &mut all {
            None => all = Some(table),
            Some(all) => {
                let rows = table["rows"].take();
                let into = all["rows"].as_array_mut();
                into.into_iter().for_each(|into| {
                    into.extend(rows.as_array().cloned().unwrap_or_default());
                });
            }
        }
    }
    Ok(all)
}

/// `get -w`: what is there, and then each change.
struct Watched<'a> {
    session: &'a Session,
    flags: &'a GetFlags,
    form: Form,
}

impl Watched<'_> {
    async fn run(&self, targets: &[Target]) -> anyhow::Result<()> {
        let [target] = targets else {
            anyhow::bail!("--watch follows one kind or one object");
        };
        let namespace =
            (!self.flags.select.all_namespaces).then_some(self.session.namespace.as_str());
        let mut select = self.flags.select.clone();
        if let Some(name) = &target.name {
            select.field_selector = Some(format!("metadata.name={name}"));
        }
        let query = Query::of_selection(&select);
        let path = target.kind.path(namespace);
        let first = self.session.get_as(&query.on(&path), self.accept()).await?;
        let version = first["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let printed = self.show_first(target, &first)?;
        let query = query.with("watch", "true").with("resourceVersion", &version);
        self.follow(target, &query.on(&path), printed).await
    }

    fn accept(&self) -> &'static str {
        match self.form {
            Form::Table | Form::Wide => TABLE,
            Form::Json | Form::Yaml | Form::Name | Form::JsonPath(_) => "application/json",
        }
    }

    fn printed(&self, target: &Target, table: &Value) -> Printed {
        Printed::of(table, table_form(self.flags, &self.form, target), str::to_owned)
    }

    fn show_first(&self, target: &Target, list: &Value) -> anyhow::Result<Printed> {
        if list["kind"] == "Table" {
            let printed = self.printed(target, list);
            if !printed.is_empty() {
                printed.lines(!self.flags.no_headers).iter().for_each(out::line);
            }
            return Ok(printed);
        }
        for item in list["items"].as_array().into_iter().flatten() {
            print(&self.form, vec![typed(item.clone(), target)], true)?;
        }
        Ok(Printed::default())
    }

    async fn follow(&self, target: &Target, path: &str, mut before: Printed) -> anyhow::Result<()> {
        let request = Request::get(path).header(header::ACCEPT, self.accept()).body(Vec::new())?;
        let stream = self.session.client.request_stream(request).await.map_err(told)?;
        let stream = std::pin::pin!(stream);
        let mut lines = stream.lines();
        while let Some(line) = futures::StreamExt::next(&mut lines).await {
            let event: Value = serde_json::from_str(&line.context("read the watch")?)?;
            let object = &event["object"];
            match event["type"].as_str().unwrap_or_default() {
                "BOOKMARK" => {}
                "ERROR" => anyhow::bail!("watch: {}", form::shown(&object["message"])),
                _ if object["kind"] == "Table" => {
                    let headings = before.is_empty() && !self.flags.no_headers;
                    let printed = self.printed(target, object).widened_to(&before);
                    printed.lines(headings).iter().for_each(out::line);
                    if before.is_empty() {
                        before = printed;
                    }
                }
                _ => print(&self.form, vec![typed(object.clone(), target)], true)?,
            }
        }
        Ok(())
    }
}
