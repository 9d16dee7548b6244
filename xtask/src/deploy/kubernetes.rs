//! The manifests as `kubectl` makes them of the overlays, and what it makes of a patch. Nothing here asks a server.

use std::sync::LazyLock;

use serde_json::Value;

use super::output;

/// Where the system lives.
pub(super) const OURS: &str = "hive-mind-production";

/// Both overlays, rendered once.
static RENDERED: LazyLock<[Vec<Value>; 2]> = LazyLock::new(|| ["production", "development"].map(render));

/// All objects of an overlay.
pub(super) fn overlays() -> impl Iterator<Item = &'static [Value]> {
    RENDERED.iter().map(Vec::as_slice)
}

fn render(overlay: &str) -> Vec<Value> {
    let yaml = manifest(overlay);
    let program = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    serde_json::from_str(&output(&["python3", "-c", program], &yaml)).expect("objects")
}

/// An overlay as one YAML text.
pub(super) fn manifest(overlay: &str) -> String {
    output(&["kubectl", "kustomize", &format!("deploy/kubernetes/overlays/{overlay}")], "")
}

/// An object by kind, namespace and name.
pub(super) fn object<'a>(objects: &'a [Value], kind: &str, namespace: &str, name: &str) -> &'a Value {
    let wanted = |object: &&Value| {
        object["kind"] == kind && object["metadata"]["name"] == name && object["metadata"]["namespace"] == namespace
    };
    objects.iter().find(wanted).unwrap_or_else(|| panic!("there is no {kind} {namespace}/{name}"))
}

/// The pod template of a workload of ours.
pub(super) fn pod<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    &object(objects, kind, OURS, name)["spec"]["template"]
}

/// The first container of the same, the one that `kubectl logs` and `exec` take.
pub(super) fn container<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    &pod(objects, kind, name)["spec"]["containers"][0]
}

/// Entries of a list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What a patch of the runbook makes of an object.
pub(super) fn patched(object: &Value, patch: &str) -> Value {
    let said = output(&["kubectl", "patch", "--local", "-f", "-", "-o", "json", "-p", patch], &object.to_string());
    serde_json::from_str(&said).expect("an object")
}
