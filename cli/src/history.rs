//! `skiff history`: who changed what, an object's life, and the way back.

use crate::access::Access;
use crate::args::history::{self as args, Document, HistoryCommand, Output};
use crate::table::{confirm, count, note, table};
use crate::ui::Ui;
use anyhow::{Context as _, Result, bail};
use apiserver::history::documents::{
    Action, Diff, Difference, Life, Outcome, RestoreRequest, Restored, Scope, What, Write,
};
use serde::Serialize;
use std::process::ExitCode;

/// Characters of the fields that a narrow table shows.
const FIELDS_CHARS: usize = 90;

/// Asks and prints.
pub async fn command(args: args::History) -> Result<ExitCode> {
    let access = Access::open(&args.access).await?;
    let result = match &args.command {
        HistoryCommand::Diff(args) => diff(&access, args).await,
        HistoryCommand::Log(args) => log(&access, args).await,
        HistoryCommand::Get(args) => get(&access, args).await,
        HistoryCommand::Restore(args) => restore(&access, args).await,
    };
    access.close().await;
    result
}

/// Prints a document as it is.
pub fn print<T: Serialize>(document: &T, format: Document) -> Result<()> {
    match format {
        Document::Yaml => Ui::data(&serde_saphyr::to_string(document).context("cannot write YAML")?),
        Document::Json => {
            Ui::data(&format!("{}\n", serde_json::to_string_pretty(document).context("cannot write JSON")?))
        }
    }
    Ok(())
}

/// The document format that was asked for, if it was one.
pub fn document(output: Option<Output>) -> Option<Document> {
    match output? {
        Output::Yaml => Some(Document::Yaml),
        Output::Json => Some(Document::Json),
        Output::Wide => None,
    }
}

/// `KIND NAME` or `KIND/NAME`.
fn named<'a>(kind: &'a str, name: Option<&'a str>) -> Result<(&'a str, &'a str)> {
    match (kind.split_once('/'), name) {
        (None, Some(name)) => Ok((kind, name)),
        (Some((kind, name)), None) => Ok((kind, name)),
        (None, None) => bail!("which {kind}? Say {kind} NAME or {kind}/NAME"),
        (Some(_), Some(name)) => bail!("either {kind} or a NAME of its own, not both: {name}"),
    }
}

async fn diff(access: &Access, args: &args::Diff) -> Result<ExitCode> {
    let flag = |flag: bool| if flag { "true" } else { "" };
    let mut query = vec![
        ("from", args.from.as_str()),
        ("to", args.to.as_str()),
        ("namespace", args.namespace.as_deref().unwrap_or_default()),
        ("all", flag(args.all)),
        ("patch", flag(args.patch)),
    ];
    query.extend(args.kinds.iter().map(|kind| ("kind", kind.as_str())));
    let diff: Diff = access.get("history/diff", &query).await?;
    if let Some(format) = document(args.output) {
        print(&diff, format)?;
        return Ok(ExitCode::SUCCESS);
    }
    if diff.items.is_empty() {
        note(&format!("No changes from revision {} to {}.", diff.from, diff.to));
    } else if args.patch {
        diff.items.iter().for_each(|item| Ui::data(&patch_of(item)));
    } else {
        Ui::data(&diff_table(&diff, args.output == Some(Output::Wide)));
    }
    if diff.hidden > 0 {
        let what = "heartbeats, Events and default roles";
        note(&format!("({} of {what} not shown: --all shows them)", count(diff.hidden, "object")));
    }
    if diff.omitted > 0 {
        note(&format!(
            "({} of further objects not shown: narrow it down with --namespace or --kind)",
            count(diff.omitted, "write")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn diff_table(diff: &Diff, wide: bool) -> String {
    let mut head = vec!["CHANGE", "NAMESPACE", "KIND", "NAME", "BY", "AGE", "WRITES"];
    if wide {
        head.extend(["REVISION", "TIME", "FIELDS"]);
    }
    let rows: Vec<Vec<String>> = diff
        .items
        .iter()
        .map(|item| {
            let mut row = vec![
                item.change.as_str().into(),
                item.subject.namespace.clone(),
                item.subject.kind.clone(),
                item.subject.name.clone(),
                item.by.join(","),
                item.time.age(),
                item.writes.to_string(),
            ];
            if wide {
                row.extend([item.revision.to_string(), item.time.to_string(), brief(&item.fields, usize::MAX)]);
            }
            row
        })
        .collect();
    table(&head, &rows)
}

fn patch_of(item: &Difference) -> String {
    let subject = &item.subject;
    let place = if subject.namespace.is_empty() { String::new() } else { format!("{}/", subject.namespace) };
    let head = format!(
        "{} {} {place}{}  (revision {}, {} ago, by {})\n",
        subject.kind,
        item.change.as_str(),
        subject.name,
        item.revision,
        item.time.age(),
        item.by.join(", ")
    );
    head + item.patch.as_deref().unwrap_or("(too much to show: narrow it down with --namespace or --kind)\n") + "\n"
}

/// As many fields as fit, and how many do not.
fn brief(fields: &[String], most: usize) -> String {
    let mut text = String::new();
    for (at, field) in fields.iter().enumerate() {
        if at > 0 && text.chars().count() + field.chars().count() > most {
            return format!("{text}, … (+{})", fields.len() - at);
        }
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(field);
    }
    text
}

async fn log(access: &Access, args: &args::Log) -> Result<ExitCode> {
    let (kind, name) = named(&args.object.kind, args.object.name.as_deref())?;
    let limit = args.limit.to_string();
    let query = [
        ("kind", kind),
        ("name", name),
        ("namespace", args.object.namespace.as_deref().unwrap_or_default()),
        ("limit", &limit),
        ("patch", if args.patch { "true" } else { "" }),
    ];
    let life: Life = access.get("history/log", &query).await?;
    if let Some(format) = document(args.output) {
        print(&life, format)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.patch {
        life.items.iter().for_each(|write| Ui::data(&patch_of_write(write)));
    } else if !life.items.is_empty() {
        Ui::data(&log_table(&life, args.output == Some(Output::Wide)));
    }
    if life.omitted > 0 {
        note(&format!("({} before these: --limit shows more)", count(life.omitted, "write")));
    }
    if life.items.is_empty() {
        note(&format!("No changes since revision {}, where history begins.", life.oldest));
    }
    if life.forgotten > 0 {
        note(&format!("({} before revision {} no longer in history)", count(life.forgotten, "write"), life.oldest + 1));
    }
    Ok(ExitCode::SUCCESS)
}

fn log_table(life: &Life, wide: bool) -> String {
    let head: &[&str] =
        if wide { &["REVISION", "TIME", "AGE", "BY", "CHANGE"] } else { &["REVISION", "AGE", "BY", "CHANGE"] };
    let most = if wide { usize::MAX } else { FIELDS_CHARS };
    let rows: Vec<Vec<String>> = life
        .items
        .iter()
        .map(|write| {
            let mut row = vec![write.revision.to_string()];
            if wide {
                row.push(write.time.to_string());
            }
            row.extend([write.time.age(), write.by.clone(), change_of(write, most)]);
            row
        })
        .collect();
    table(head, &rows)
}

fn change_of(write: &Write, most: usize) -> String {
    match write.change {
        What::Updated if write.fields.is_empty() => "metadata.managedFields".into(),
        What::Updated => brief(&write.fields, most),
        other => other.as_str().into(),
    }
}

fn patch_of_write(write: &Write) -> String {
    let head = format!(
        "revision {}  {}  ({} ago, by {})\n",
        write.revision,
        write.change.as_str(),
        write.time.age(),
        write.by
    );
    head + write.patch.as_deref().unwrap_or_default() + "\n"
}

async fn get(access: &Access, args: &args::Get) -> Result<ExitCode> {
    let (kind, name) = named(&args.object.kind, args.object.name.as_deref())?;
    let query = [
        ("kind", kind),
        ("name", name),
        ("namespace", args.object.namespace.as_deref().unwrap_or_default()),
        ("revision", args.revision.as_str()),
        ("managedFields", if args.show_managed_fields { "true" } else { "" }),
    ];
    let object: serde_json::Value = access.get("history/object", &query).await?;
    print(&object, args.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn restore(access: &Access, args: &args::Restore) -> Result<ExitCode> {
    let scope = scope(args)?;
    let single = matches!(scope, Scope::Object { .. });
    let what = match &scope {
        Scope::Object { kind, name, .. } => format!("{kind} {name}"),
        Scope::Namespace(name) => format!("namespace {name}"),
        Scope::All => "everything".into(),
    };
    let mut request = RestoreRequest { scope, to: args.to.clone(), dry_run: true, planned: None };
    if !args.dry_run {
        if !single && !args.yes {
            let plan = ask(access, &request).await?;
            let todo = plan.items.iter().filter(|item| item.action != Action::Skip).count() as u64;
            if todo > 0 {
                note(&restore_table(&plan, false));
                confirm(&format!("Restore {what} to revision {}: change {}?", plan.to, count(todo, "object")))?;
            }
            // A time that was asked for has moved on since.
            request.to = plan.to.to_string();
            request.planned = Some(plan.planned);
        }
        request.dry_run = false;
    }
    let restored = ask(access, &request).await?;
    if let Some(format) = document(args.output) {
        print(&restored, format)?;
    } else if restored.items.is_empty() {
        Ui::data(&format!("Nothing to restore: {what} is as it was at revision {}.\n", restored.to));
    } else {
        Ui::data(&restore_table(&restored, args.output == Some(Output::Wide)));
        Ui::data(&summary(&restored, &what));
    }
    let failed = restored.items.iter().any(|item| item.action == Action::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn ask(access: &Access, request: &RestoreRequest) -> Result<Restored> {
    access.post("history/restore", &[], serde_json::to_vec(request)?).await
}

fn scope(args: &args::Restore) -> Result<Scope> {
    match (&args.kind, &args.namespace, args.all) {
        (Some(kind), namespace, false) => {
            let (kind, name) = named(kind, args.name.as_deref())?;
            let namespace = namespace.clone().unwrap_or_default();
            Ok(Scope::Object { kind: kind.into(), namespace, name: name.into() })
        }
        (None, Some(namespace), false) => Ok(Scope::Namespace(namespace.clone())),
        (None, None, true) => Ok(Scope::All),
        _ => bail!("what is to come back? Say KIND NAME, --namespace NAMESPACE or --all"),
    }
}

fn restore_table(restored: &Restored, wide: bool) -> String {
    let rows: Vec<Vec<String>> = restored
        .items
        .iter()
        .map(|item| {
            let subject = &item.subject;
            let note = if item.message.is_empty() {
                brief(&item.fields, if wide { usize::MAX } else { FIELDS_CHARS })
            } else {
                item.message.clone()
            };
            let revision = item.revision.map(|revision| revision.to_string()).unwrap_or_default();
            let action = action(item, restored.dry_run).into();
            vec![action, subject.namespace.clone(), subject.kind.clone(), subject.name.clone(), revision, note]
        })
        .collect();
    table(&["ACTION", "NAMESPACE", "KIND", "NAME", "REVISION", "WHAT"], &rows)
}

fn action(item: &Outcome, dry_run: bool) -> &'static str {
    match (item.action, dry_run) {
        (Action::Create, true) => "create",
        (Action::Update, true) => "update",
        (Action::Delete, true) => "delete",
        (Action::Skip, true) => "skip",
        (Action::Create, false) => "created",
        (Action::Update, false) => "updated",
        (Action::Delete, false) => "deleted",
        (Action::Skip, false) => "skipped",
        (Action::Fail, _) => "failed",
    }
}

fn summary(restored: &Restored, what: &str) -> String {
    let parts: Vec<String> = [
        (Action::Create, "created"),
        (Action::Update, "updated"),
        (Action::Delete, "deleted"),
        (Action::Skip, "skipped"),
        (Action::Fail, "failed"),
    ]
    .iter()
    .filter_map(|(action, word)| {
        let found = restored.items.iter().filter(|item| item.action == *action).count();
        (found > 0).then(|| format!("{found} {word}"))
    })
    .collect();
    let parts = parts.join(", ");
    if restored.dry_run {
        let parts =
            parts.replace("created", "to create").replace("updated", "to update").replace("deleted", "to delete");
        let parts = parts.replace("skipped", "to skip");
        format!("\nThis would restore {what} to revision {}: {parts} (dry run: nothing was changed).\n", restored.to)
    } else {
        format!("\nRestored {what} to revision {}: {parts}.\n", restored.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_in_kubectl() {
        assert_eq!(named("deploy", Some("web")).unwrap(), ("deploy", "web"));
        assert_eq!(named("deploy/web", None).unwrap(), ("deploy", "web"));
        assert!(named("deploy", None).is_err());
        assert!(named("deploy/web", Some("x")).is_err());
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let fields: Vec<String> = ["aaaa", "bbbb", "cccc"].map(String::from).to_vec();
        assert_eq!(brief(&fields, usize::MAX), "aaaa, bbbb, cccc");
        assert_eq!(brief(&fields, 10), "aaaa, bbbb, … (+1)");
        assert_eq!(brief(&fields, 1), "aaaa, … (+2)");
    }
}
