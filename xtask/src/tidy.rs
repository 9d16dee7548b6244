//! The rules of the house that no compiler checks. Each rule is a function from what it looks at to the violations
//! it finds, so that a test can show it failing on a planted example. No rule changes a file.

mod dead;
mod features;
mod invariants;
mod length;
mod paths;
mod protos;
mod pure;
mod ranks;
pub(crate) mod source;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use source::SourceFile;

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Where, relative to the root; a crate's name or a file, with a line where there is one.
    pub(crate) place: String,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Violation {
    /// A breach at `place`.
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Prints every violation and fails if there is one. With `record`, writes the ratchet first.
pub(crate) fn run(root: &Path, record: bool) -> Result<()> {
    let files = source::read_tree(root)?;
    if record {
        length::record(root, &files)?;
    }
    let violations = check(root, &files)?;
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            println!("tidy: {} files, nothing to complain about", files.len());
            Ok(())
        }
        1 => bail!("tidy: 1 violation"),
        many => bail!("tidy: {many} violations"),
    }
}

/// All rules over the tree.
pub(crate) fn check(root: &Path, files: &[SourceFile]) -> Result<Vec<Violation>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .context("cargo metadata")?;
    let packages = packages(&metadata);
    let architecture = text_of(files, "ARCHITECTURE.md");
    let mut found = ranks::check(architecture, &packages);
    found.extend(features::check(&packages));
    found.extend(pure::check_dependencies(&packages));
    found.extend(length::check(files, &length::read(root)?));
    found.extend(pure::check_calls(files));
    found.extend(protos::check(files));
    found.extend(dead::check(files, &packages));
    found.extend(words::check(files));
    found.extend(invariants::check(text_of(files, "docs/invariants.md"), files));
    found.sort();
    Ok(found)
}

/// A file's text, empty if it is not there.
fn text_of<'a>(files: &'a [SourceFile], path: &str) -> &'a str {
    files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str())
}

/// A crate of the workspace, as far as the rules look at it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its directory relative to the root.
    pub(crate) directory: String,
    /// What it depends on to be built, build scripts included.
    pub(crate) dependencies: Vec<String>,
    /// What its tests depend on besides, and what only its test feature switches on.
    pub(crate) test_dependencies: Vec<String>,
    /// Its cargo features.
    pub(crate) features: Vec<String>,
    /// Files that cargo compiles: library, binaries, tests, benches, examples, build script.
    pub(crate) roots: Vec<String>,
}

fn packages(metadata: &Metadata) -> Vec<Package> {
    let root = metadata.workspace_root.as_std_path();
    let relative = |path: &Path| source::slashes(path.strip_prefix(root).unwrap_or(path));
    let of_kind = |package: &cargo_metadata::Package, wanted: Needed| {
        let chosen = package.dependencies.iter().filter(|dependency| needed(dependency) == wanted);
        chosen.map(|dependency| dependency.name.clone()).collect()
    };
    let described = metadata.packages.iter().map(|package| Package {
        name: package.name.to_string(),
        directory: package.manifest_path.parent().map(|parent| relative(parent.as_std_path())).unwrap_or_default(),
        dependencies: of_kind(package, Needed::Always),
        test_dependencies: of_kind(package, Needed::ForTests),
        features: package.features.keys().cloned().collect(),
        roots: package.targets.iter().map(|target| relative(target.src_path.as_std_path())).collect(),
    });
    described.collect()
}

#[derive(PartialEq, Eq)]
enum Needed {
    Always,
    ForTests,
}

/// Optional dependencies are for tests: the one feature there may be is `test-util`.
fn needed(dependency: &cargo_metadata::Dependency) -> Needed {
    let development = dependency.kind == cargo_metadata::DependencyKind::Development;
    if development || dependency.optional { Needed::ForTests } else { Needed::Always }
}

#[cfg(test)]
mod tests {
    use super::source::Kind;
    use super::*;

    #[test]
    fn tree_is_tidy() {
        let root = crate::workspace_root();
        let files = source::read_tree(&root).expect("the tree can be read");
        assert!(files.iter().filter(|file| file.kind == Kind::Rust).count() > 10, "the walk must find the sources");
        let violations = check(&root, &files).expect("the rules can be checked");
        let listed: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(listed.is_empty(), "{}", listed.join("\n"));
    }
}
