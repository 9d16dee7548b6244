//! Whether what docs/runbook.md tells people to type exists: commands and their arguments, as the sources of the program
//! declare them to clap, paths of the admin port, scripts. Absent: running them; a command that parses may still be refused.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::tidy::source::{Kind, SourceFile};

/// The program.
const PROGRAM: &str = "hive-mind-server";

/// The scripts, and what all of them take.
const SCRIPTS: &str = "scripts/";
const SHARED: &str = "scripts/production/lib.sh";

/// What the program takes.
#[derive(Debug, Default)]
struct Grammar {
    /// Subcommands of an enum: the word, and the type behind it.
    commands: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// Types of the fields of a struct: one of them may be an enum of subcommands.
    structs: BTreeMap<String, Vec<String>>,
    /// Long arguments of any command.
    flags: BTreeSet<String>,
}

/// What the runbook names and is not there.
pub(super) fn missing(runbook: &str, files: &[SourceFile]) -> Vec<String> {
    let rust: Vec<_> = files.iter().filter(|file| file.kind == Kind::Rust).collect();
    let mut grammar = Grammar::default();
    for file in rust.iter().filter(|file| file.path.starts_with("services/hive-mind-server/src")) {
        if let Ok(parsed) = syn::parse_file(&file.text) {
            grammar.visit_file(&parsed);
        }
    }
    let mut found: Vec<_> = commands(runbook).iter().filter_map(|command| grammar.fault(command)).collect();
    let served = |path: &str| rust.iter().any(|file| file.text.contains(&format!("\"{path}\"")));
    found.extend(scripts(runbook, files));
    found.extend(paths(runbook).into_iter().filter(|path| !served(path)).map(|path| format!("no port serves {path}")));
    found
}

/// Command lines in blocks of code and between backquotes, without what a shell does with their output.
fn commands(text: &str) -> BTreeSet<&str> {
    let whole = text.lines().filter(|line| line.starts_with(PROGRAM));
    let within = text.split('`').skip(1).step_by(2).filter(|code| code.starts_with(PROGRAM));
    let shell = |line: &str| [" > ", " | "].iter().filter_map(|mark| line.find(mark)).min();
    whole.chain(within).map(|line| line[..shell(line).unwrap_or(line.len())].trim()).collect()
}

/// What is wrong with calls of scripts: a script or an option that is not there.
fn scripts(text: &str, files: &[SourceFile]) -> Vec<String> {
    let script = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let shared = script(SHARED).unwrap_or_default();
    let mut found = Vec::new();
    for call in text.split("./").skip(1).filter(|call| call.starts_with(SCRIPTS)) {
        let call = call.split(['`', '\n', ';', '#']).next().unwrap_or_default();
        let mut words = call.split_whitespace();
        let path = words.next().unwrap_or_default();
        let Some(own) = script(path) else {
            found.push(format!("there is no script {path}"));
            continue;
        };
        let known = |option: &str| own.contains(option) || shared.contains(option);
        let unknown = words.filter(|word| word.starts_with("--") && !known(word));
        found.extend(unknown.map(|option| format!("`{call}`: there is no {option}")));
    }
    found
}

/// Paths that are asked for at the admin and the metrics port.
fn paths(text: &str) -> BTreeSet<&str> {
    let rest = text.split("http://127.0.0.1:").skip(1).filter_map(|rest| rest.get(4..));
    let end = |rest: &str| rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/-_".contains(c))).unwrap_or(rest.len());
    rest.filter(|rest| rest.starts_with('/')).map(|rest| &rest[..end(rest)]).filter(|path| path.len() > 1).collect()
}

impl Grammar {
    /// What is wrong with a command.
    fn fault(&self, command: &str) -> Option<String> {
        let mut at = Some("Command");
        let mut value = false;
        for word in command.split_whitespace().skip(1) {
            if let Some(flag) = word.strip_prefix("--") {
                let name = flag.split('=').next().unwrap_or(flag);
                if !self.flags.contains(name) {
                    return Some(format!("`{command}`: there is no --{name}"));
                }
                value = !flag.contains('=');
            } else if let Some(known) = at.and_then(|at| self.commands.get(at)) {
                match known.get(word) {
                    Some(next) => at = next.as_deref().and_then(|next| self.subcommands(next)),
                    // The value of the argument before it.
                    None if value => {}
                    None => return Some(format!("`{command}`: there is no {word}")),
                }
                value = false;
            }
        }
        let unfinished = at.is_some_and(|at| self.commands.contains_key(at)) && command != PROGRAM;
        unfinished.then(|| format!("`{command}`: stops before its last word"))
    }

    /// The enum of subcommands that a type is, or has.
    fn subcommands<'a>(&'a self, of: &'a str) -> Option<&'a str> {
        if self.commands.contains_key(of) {
            return Some(of);
        }
        self.structs.get(of)?.iter().map(String::as_str).find(|field| self.commands.contains_key(*field))
    }
}

impl<'ast> Visit<'ast> for Grammar {
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if derives(&item.attrs, "Subcommand") {
            // Enums of the same name in two modules are taken together.
            let words = self.commands.entry(item.ident.to_string()).or_default();
            for variant in &item.variants {
                let behind = match &variant.fields {
                    syn::Fields::Unnamed(fields) => fields.unnamed.first().and_then(|field| type_name(&field.ty)),
                    syn::Fields::Named(_) | syn::Fields::Unit => None,
                };
                words.insert(kebab(&variant.ident.to_string()), behind);
            }
        }
        visit::visit_item_enum(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let fields = item.fields.iter().filter_map(|field| type_name(&field.ty)).collect();
        self.structs.insert(item.ident.to_string(), fields);
        visit::visit_item_struct(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("arg")) {
            // A default may be anything clap takes: what cannot be read as `name = value` ends the search.
            let mut long = None;
            let _ = attribute.parse_nested_meta(|meta| {
                let given = meta.value().and_then(|value| value.parse::<syn::Expr>()).ok();
                if meta.path.is_ident("long") {
                    long = Some(match given {
                        Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. })) => name.value(),
                        _ => field.ident.as_ref().map(|name| kebab(&name.to_string())).unwrap_or_default(),
                    });
                }
                Ok(())
            });
            self.flags.extend(long);
        }
        visit::visit_field(self, field);
    }
}

/// Whether a trait is among those that are derived.
fn derives(attributes: &[syn::Attribute], wanted: &str) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("derive")).any(|attribute| {
        let mut found = false;
        let read = attribute.parse_nested_meta(|meta| {
            found |= meta.path.is_ident(wanted);
            Ok(())
        });
        read.is_ok() && found
    })
}

/// The last word of a type's path.
fn type_name(of: &syn::Type) -> Option<String> {
    match of {
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// `PoolStatus` and `pool_status` as clap writes them: `pool-status`.
fn kebab(name: &str) -> String {
    let mut written = String::new();
    for one in name.chars() {
        if one.is_ascii_uppercase() && !written.is_empty() {
            written.push('-');
        }
        written.push(if one == '_' { '-' } else { one.to_ascii_lowercase() });
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tidy::source::read_tree;
    use crate::workspace_root;

    #[test]
    fn r97_what_the_runbook_tells_people_to_type_exists() {
        let root = workspace_root();
        let runbook = fs::read_to_string(root.join("docs/runbook.md")).expect("the runbook");
        assert!(commands(&runbook).len() > 60 && paths(&runbook).len() > 5, "the commands must be found");
        let found = missing(&runbook, &read_tree(&root).expect("the tree can be read"));
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn r97_a_command_that_is_gone_is_found() {
        let text = "#[derive(Debug, Subcommand)] enum Command { Admin(AdminArguments), Run }\n\
                    struct AdminArguments { #[command(flatten)] a: Asked, #[command(subcommand)] b: AdminCommand }\n\
                    struct Asked { #[arg(long, env = \"A\", help_heading = HEAD)] data_dir: u8 }\n\
                    #[derive(Subcommand)] enum AdminCommand { #[command(subcommand)] Pools(p::PoolCommand), Status }\n\
                    #[derive(Subcommand)] enum PoolCommand { ResetAll { #[arg(default_value_t = 1, long = \"for\")] time: u8 } }\n\
                    fn f() { route(\"/health\") }";
        let files = [
            SourceFile::planted("services/hive-mind-server/src/cli.rs", text),
            SourceFile::planted(SHARED, "--dry-run)"),
            SourceFile::planted("scripts/production/isolate.sh", "--undo)"),
        ];
        let fault = |line: &str| missing(line, &files).len();
        for fine in [
            "hive-mind-server run",
            "see `hive-mind-server admin --data-dir x status | head`",
            "hive-mind-server admin pools reset-all --for=5 > file --nonsense",
            "curl -s http://127.0.0.1:8091/health",
            "`./scripts/production/isolate.sh --undo --dry-run`, then more --flags",
        ] {
            assert_eq!(fault(fine), 0, "{fine}");
        }
        for wrong in [
            "hive-mind-server walk",
            "hive-mind-server admin pools",
            "hive-mind-server admin pools reset",
            "hive-mind-server admin status --from 1h",
            "`hive-mind-server admin statuses`",
            "curl -s http://127.0.0.1:8091/health/all",
            "`./scripts/production/scale.sh 6`",
            "./scripts/production/isolate.sh --redo",
        ] {
            assert_eq!(fault(wrong), 1, "{wrong}");
        }
    }
}
