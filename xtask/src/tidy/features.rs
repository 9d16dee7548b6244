//! One cargo feature in the whole workspace, so that there is one way to build each crate: `test-util`, which only
//! tests switch on.

use super::{Package, Violation};

/// The feature.
const ALLOWED: &str = "test-util";

/// Names every other one. Optional dependencies count: cargo makes a feature of each.
pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        for feature in package.features.iter().filter(|feature| *feature != ALLOWED) {
            found.push(Violation::new(
                &package.name,
                format!("has the feature {feature}; only {ALLOWED} is allowed (optional dependencies as `dep:`)"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_feature_is_refused() {
        let with = |features: &[&str]| Package {
            name: "matching".into(),
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
            ..Package::default()
        };
        assert_eq!(check(&[with(&[ALLOWED])]), []);
        assert_eq!(check(&[with(&[ALLOWED, "fast"])]).len(), 1);
    }
}
