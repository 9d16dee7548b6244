//! The Dockerfile, read stage by stage. Absent: building it, which takes a daemon.

use std::fs;

use crate::workspace_root;

/// Instructions of one stage, continuation lines joined.
struct Stage {
    name: String,
    base: String,
    instructions: Vec<String>,
}

fn stages() -> Vec<Stage> {
    let text = fs::read_to_string(workspace_root().join("Dockerfile")).expect("Dockerfile");
    let text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("FROM ") {
            let (base, name) = rest.split_once(" AS ").expect("every stage has a name");
            stages.push(Stage { name: name.to_owned(), base: base.to_owned(), instructions: Vec::new() });
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push(line.to_owned());
        }
    }
    stages
}

fn stage<'a>(stages: &'a [Stage], name: &str) -> &'a Stage {
    stages.iter().find(|stage| stage.name == name).unwrap_or_else(|| panic!("no stage {name}"))
}

#[test]
fn r12_both_images_hold_the_binary_and_a_manifest_of_everything() {
    let stages = stages();
    for (name, source) in [("runtime", "${BINARIES}"), ("server", "--from=build /source/target/release")] {
        let instructions = &stage(&stages, name).instructions;
        let copy = format!("COPY {source}/hive-mind-server /app/bin/hive-mind-server");
        assert!(instructions.contains(&copy), "{name}: {instructions:#?}");
        let manifest = instructions.iter().rposition(|line| line.contains("> /app/checksums.sha256"));
        let last_copy = instructions.iter().rposition(|line| line.starts_with("COPY"));
        assert!(last_copy < manifest, "{name}: the manifest is written before all files are there");
        assert_eq!(stage(&stages, name).base, "tools");
    }
}

#[test]
fn r13_the_image_has_the_tools_of_operators_and_runs_as_nobody_special() {
    let stages = stages();
    let tools = stage(&stages, "tools");
    assert_eq!(tools.base, "${BASE_IMAGE}");
    let wanted =
        tools.instructions.iter().find(|line| line.starts_with("RUN for tool in")).expect("a look at the base");
    for tool in ["curl", "netstat", "ps", "find", "sha256sum"] {
        assert!(wanted.contains(&format!(" {tool}")), "{tool} is not looked for");
    }
    for package in ["curl", "net-tools", "procps", "findutils", "coreutils"] {
        assert!(wanted.contains(&format!(" {package}")), "{package} is not installed");
    }
    for name in ["tools", "runtime", "server"] {
        let last = stage(&stages, name).instructions.iter().rfind(|line| line.starts_with("USER "));
        assert_eq!(last.map(String::as_str), Some("USER 10001:10001"), "{name}");
    }
    let exposed = tools.instructions.iter().find(|line| line.starts_with("EXPOSE"));
    assert_eq!(exposed.map(String::as_str), Some("EXPOSE 8080 8091 9090"));
}

#[test]
fn ready_binaries_need_no_compiler() {
    // The classic builder makes every stage above the target.
    let names: Vec<_> = stages().into_iter().map(|stage| stage.name).collect();
    assert_eq!(names, ["tools", "runtime", "build", "server"]);
    let ignored = fs::read_to_string(workspace_root().join(".dockerignore")).expect(".dockerignore");
    assert!(ignored.lines().any(|line| line == "!target/image"), "the builder does not get the binaries");
}
