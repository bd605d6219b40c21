//! One directory, one case: a context with its Dockerfile and, beside it, the `expected` layers and configuration, or
//! the error. `UPDATE_GOLDEN=1` rewrites them.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use shipway_build::{BuildRequest, Built, Context, RunNetwork};
use shipway_oci::with_causes;

use crate::house::House;

shipway_testkit::tests!(images);

async fn images() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases");
    let house = Arc::new(House::new().await);
    let mut failures = Vec::new();
    for case in cases {
        let mut request = BuildRequest::new(Context::directory(case.join("context")));
        request
            .build_args
            .insert("GIVEN".to_owned(), Some("given".to_owned()));
        request.network = RunNetwork::None;
        let (result, witness) = house.build(request).await;
        let got = match &result {
            Ok(built) => describe(&house, built),
            Err(error) => format!("error: {}\n", with_causes(error)),
        };
        let expected = case.join("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &got).unwrap();
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if got != wanted {
            failures.push(format!(
                "{}\n--- got\n{got}--- wanted\n{wanted}{:?}",
                case.display(),
                witness.log()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn describe(house: &House, built: &Built) -> String {
    let image = house.image(built);
    let mut text = String::new();
    for layer in &image.layers {
        // The base is long and everybody's.
        if layer.size > 500_000 {
            text.push_str("layer of busybox\n");
            continue;
        }
        let entries = house.layer(&layer.digest);
        text.push_str("layer\n");
        for entry in entries {
            writeln!(text, "  {entry}").unwrap();
        }
    }
    let config = serde_json::to_string_pretty(&image.config.config).unwrap();
    writeln!(text, "config {config}").unwrap();
    for history in &image.config.history {
        let mark = if history.empty_layer { " (no layer)" } else { "" };
        writeln!(
            text,
            "history {}{mark}",
            history.created_by.as_deref().unwrap_or("-")
        )
        .unwrap();
    }
    text
}
