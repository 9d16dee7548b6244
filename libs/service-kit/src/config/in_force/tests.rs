//! What a reload applies, what it leaves for a restart, and that a bad file changes nothing.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Example {
    name: String,
    pool: Pool,
    #[serde(skip)]
    completed: u32,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pool {
    most: u32,
    replica: bool,
    replica_url: String,
}

fn started(file: &Path, text: &str) -> InForce<Example> {
    fs::write(file, text).expect("written");
    InForce::load(Source {
        file: Some(file.to_owned()),
        prefix: "IN_FORCE_TEST",
        hot: vec!["pool.most".to_owned(), "pool.replica".to_owned()],
        complete: Box::new(|loaded: &mut Loaded<Example>| loaded.value.completed += 1),
        check: Box::new(|example: &Example| {
            let wrong = example.pool.replica && example.pool.replica_url.is_empty();
            if wrong { Err("pool.replica needs pool.replica_url".to_owned()) } else { Ok(()) }
        }),
    })
    .expect("a good file")
}

fn reload(door: &Arc<dyn ConfigDoor>) -> ConfigOutcome {
    door.reload(Act::system("config.reload"))
}

fn result(outcome: &ConfigOutcome) -> ConfigResult {
    ConfigResult::try_from(outcome.result).expect("a known result")
}

fn keys(changes: &[ConfigChange]) -> Vec<(&str, bool)> {
    changes.iter().map(|change| (&*change.key, change.needs_restart)).collect()
}

#[tokio::test]
async fn r67_hot_keys_are_applied_and_the_others_wait_for_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("hive.toml");
    let in_force = started(&file, "name = \"a\"\npool.most = 1\n");
    let (door, mut pool) = (in_force.door(), in_force.part(|example| example.pool.clone()));
    let name = in_force.part(|example| example.name.clone());

    fs::write(&file, "name = \"b\"\n\npool.most = 2\n").expect("written");
    let checked = door.check(None);
    assert_eq!(keys(&checked.changes), [("name", true), ("pool.most", false)]);
    assert_eq!((pool.now().most, door.state().generation), (1, 1), "a check changes nothing");

    let outcome = reload(&door);
    assert_eq!(result(&outcome), ConfigResult::Accepted);
    assert_eq!(keys(&outcome.changes), [("name", true), ("pool.most", false)]);
    assert_eq!((name.now().as_str(), pool.now().most), ("a", 2));
    assert_eq!(in_force.now().completed, 1, "what is no key is set anew");
    let state = door.state();
    assert_eq!((state.generation, keys(&state.pending)), (2, vec![("name", true)]));
    let shown = |key: &str| state.values.iter().find(|value| value.key == key).expect("a key").clone();
    assert!(shown("name").origin.ends_with("hive.toml:1"), "{:?}", shown("name"));
    assert!(shown("pool.most").origin.ends_with("hive.toml:3"), "{:?}", shown("pool.most"));
    assert_eq!((&*shown("name").value, shown("name").hot, shown("pool.most").hot), ("\"a\"", false, true));

    assert_eq!(result(&reload(&door)), ConfigResult::Unchanged);
    assert_eq!(door.state().generation, 2);
    let changed = pool.changed().await;
    assert_eq!(changed.most, 2, "whoever follows is told once");

    fs::write(&file, "name = \"a\"\npool.most = 2\n").expect("written");
    assert_eq!(keys(&reload(&door).changes), [], "what waited was taken back");
    assert_eq!((door.state().generation, door.state().pending.len()), (3, 0));
}

#[test]
fn t07_a_file_that_cannot_be_used_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("hive.toml");
    let in_force = started(&file, "name = \"a\"\npool.most = 1\n");
    let door = in_force.door();
    for (text, says) in [
        ("...pool.most = 2...", "hive.toml:1:1: "),
        ("pool.most = 2\npool.mots = 3\n", "hive.toml:2:6: unknown key pool.mots, did you mean pool.most?"),
        ("pool.most = 2\npool.replica = true\n", "hive.toml:2: pool.replica needs pool.replica_url"),
        // The address comes with a restart only, so that the switch cannot be used before.
        ("pool.replica = true\npool.replica_url = \"r\"\n", "pool.replica needs pool.replica_url; this needs a change"),
    ] {
        fs::write(&file, text).expect("written");
        for outcome in [door.check(None), door.check(Some(text)), reload(&door)] {
            assert_eq!(result(&outcome), ConfigResult::Refused, "{text}");
            assert!(outcome.error.replace("(given)", "hive.toml").contains(says), "{}", outcome.error);
        }
        let state = door.state();
        assert!(state.error.contains(says) && state.error_us > 0, "{}", state.error);
        assert_eq!((in_force.now().pool.most, state.generation), (1, 1), "{text}");
    }
    fs::remove_file(&file).expect("removed");
    assert!(reload(&door).error.contains("hive.toml"), "{}", reload(&door).error);
    fs::write(&file, "name = \"a\"\npool.most = 1\n").expect("written");
    assert_eq!(result(&reload(&door)), ConfigResult::Unchanged);
    assert_eq!(door.state().error, "");
}

#[test]
fn without_a_source_nothing_is_loaded_again() {
    let in_force = InForce::fixed(Example::default()).expect("listed");
    let outcome = reload(&in_force.door());
    assert_eq!(result(&outcome), ConfigResult::Refused);
    assert_eq!(in_force.door().state().values.len(), 4);
}
