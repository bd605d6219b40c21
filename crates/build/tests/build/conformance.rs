//! Other people's builds: contexts whose outcome a reference builder decided. Passed over where they are not at hand.

use std::collections::BTreeMap;
use std::path::Path;

use shipway_build::{BuildError, BuildRequest, Context, DockerfileSource, RunNetwork};
use shipway_oci::{Reference, with_causes};
use shipway_store::Scope;

use crate::house::House;

shipway_testkit::tests!(outcomes);

/// Archives of this kind are refused, by name.
const UNSUPPORTED: &str = "compressed with bzip2";

/// An exception with a wildcard brings files of an ignored folder back, as in BuildKit; the classic builder, which made
/// these expectations, does not look into the folder.
const AS_BUILDKIT: [&str; 1] = ["copy-integration1"];

async fn outcomes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/dockerfile-build");
    let Ok(cases) = std::fs::read_to_string(folder.join("cases.tsv")) else {
        return;
    };
    let house = House::new().await;
    let busybox = house
        .store
        .image(&Scope::user(), &Reference::parse("busybox").unwrap())
        .unwrap()
        .unwrap();
    for name in ["mirror.gcr.io/busybox", "mirror.gcr.io/alpine"] {
        house
            .store
            .name_image(&Scope::user(), &Reference::parse(name).unwrap(), &busybox)
            .unwrap();
    }
    let (mut ran, mut failures) = (0, Vec::new());
    for row in cases.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, context, file, inline, arguments, wanted] = columns[..] else {
            panic!("six columns: {row}")
        };
        let mut request = BuildRequest::new(Context::directory(folder.join(context)));
        let text = match serde_json::from_str::<Option<String>>(inline).unwrap() {
            Some(text) => {
                request.dockerfile = DockerfileSource::Bytes {
                    bytes: text.clone().into_bytes(),
                    name: "Dockerfile".to_owned(),
                    ignore: None,
                };
                text
            }
            None => {
                request.dockerfile = DockerfileSource::Path(file.into());
                std::fs::read_to_string(folder.join(context).join(file)).unwrap()
            }
        };
        if text.contains("quay.io") || AS_BUILDKIT.contains(&name) {
            continue;
        }
        let arguments: BTreeMap<String, String> = serde_json::from_str(arguments).unwrap();
        request.build_args = arguments
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect();
        request.network = RunNetwork::None;
        ran += 1;
        let (result, _) = house.build(request).await;
        let got = match &result {
            Ok(_) => "ok".to_owned(),
            Err(BuildError::Run { line, .. } | BuildError::Step { line, .. }) => format!("fail:{line}"),
            Err(BuildError::Dockerfile(error)) => format!("fail:{}", error.line),
            Err(_) => "fail".to_owned(),
        };
        let said = result.err().map(|error| with_causes(&error)).unwrap_or_default();
        if got != wanted && !said.contains(UNSUPPORTED) {
            failures.push(format!("{name}: wanted {wanted}, got {got} {said}"));
        }
    }
    assert!(
        ran > 0 && failures.is_empty(),
        "{} of {ran}\n{}",
        failures.len(),
        failures.join("\n")
    );
}
