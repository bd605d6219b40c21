//! What goes wrong says where and why, and leaves nothing behind.

use shipway_build::{BuildError, Context};
use shipway_oci::{Descriptor, ImageManifest, Manifest, Reference, media_type, with_causes};
use shipway_store::{ManifestWrite, Scope};
use shipway_testkit::busybox_root;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    a_failing_run_has_its_exit_code,
    a_missing_program_is_127,
    errors_name_their_line,
    no_dockerfile,
    a_base_that_claims_another_s_layers_is_refused,
);

async fn a_failing_run_has_its_exit_code() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\nRUN echo fine\nRUN echo before; \\\n    echo loud >&2; \\\n    exit 42\n";
    let (result, witness) = house.build(request(files.clone(), text)).await;
    let error = result.unwrap_err();
    assert!(
        matches!(&error, BuildError::Run { exit_code: 42, line: 3, command, .. } if command.contains("exit 42")),
        "{error:?}"
    );
    assert_eq!(error.exit_code(), Some(42));
    let output = witness.output(3);
    assert!(
        output.contains("before\n") && output.contains("loud\n"),
        "{output:?}"
    );
    let (result, _) = house
        .build(request(files, "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n"))
        .await;
    assert_eq!(result.unwrap_err().exit_code(), Some(137));
}

async fn a_missing_program_is_127() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let (result, _) = house
        .build(request(files, "FROM busybox\nRUN [\"/no/such\"]\n"))
        .await;
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), Some(127), "{}", with_causes(&error));
}

async fn errors_name_their_line() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a", "a"), ("b", "b")]);
    let table = [
        (
            "FROM busybox\n\nCOPY missing /x\n",
            "Dockerfile:3",
            "missing: not found in the build context",
        ),
        (
            "FROM busybox\nCOPY none* /x/\n",
            "Dockerfile:2",
            "no source files",
        ),
        (
            "FROM busybox\nCOPY --from=busybox /nope /x\n",
            "Dockerfile:2",
            "/nope: not found in busybox",
        ),
        (
            "FROM busybox AS stage\nFROM busybox\nCOPY --from=Stagee /etc /x\n",
            "Dockerfile:3",
            "no stage called `Stagee`",
        ),
        (
            "FROM busybox\nCOPY --chown=nobody-here a /x\n",
            "Dockerfile:2",
            "nobody-here",
        ),
        ("FROM busybox\nCOPY --chmod=q a /x\n", "Dockerfile:2", "--chmod=q"),
        (
            "FROM busybox\nADD --checksum=sha256:00 a /x\n",
            "Dockerfile:2",
            "fetched by its address",
        ),
        (
            "FROM busybox\nARG N=x\nRUN --mount=type=cache,target=/c,uid=$N true\n",
            "Dockerfile:3",
            "uid=x is not a number",
        ),
        ("FROM busybox\nRUN --mount=rw true\n", "Dockerfile:2", "target="),
        ("FROM busybox\nUSER ${x?who}\n", "Dockerfile:2:1", "x: who"),
        ("FROM Not/An/Image\n", "Dockerfile:1", "no image's name"),
        (
            "FROM busybox\nRUN --security=insecure true\n",
            "Dockerfile:2",
            "--allow security.insecure",
        ),
        (
            "FROM busybox\nRUN --mount=type=secret,id=s,required true\n",
            "Dockerfile:2",
            "--secret id=s",
        ),
        (
            "FROM busybox\nCOPY a /etc\nCOPY a /etc/passwd/x\n",
            "Dockerfile:3",
            "",
        ),
    ];
    for (text, place, what) in table {
        let (result, _) = house.build(request(files.clone(), text)).await;
        let error = match result {
            Err(error) => with_causes(&error),
            Ok(_) => panic!("{text} was built"),
        };
        assert!(
            error.starts_with(place) && error.contains(what),
            "{text}: {error}"
        );
    }
}

async fn no_dockerfile() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a", "a")]);
    for context in [files, Context::Empty] {
        let (result, _) = house.build(shipway_build::BuildRequest::new(context)).await;
        assert!(matches!(result, Err(BuildError::NoDockerfile { .. })));
    }
}

/// An image whose configuration claims the layers of another one, and whose own are something else.
async fn a_base_that_claims_another_s_layers_is_refused() {
    let house = House::new().await;
    let (_files, context) = context(&[("secret", "of another")]);
    let text = "FROM busybox\nCOPY secret /secret\nRUN cat /secret\n";
    let (victim, _) = house.built(request(context.clone(), text)).await;
    let victim = house.image(&victim);

    let store = &house.store;
    let mine = store.put_blob(&busybox_root().bytes()).unwrap();
    let mine = Descriptor::new(media_type::OCI_LAYER_TAR, mine.digest, mine.size);
    let config = store.put_blob(&victim.config.to_json().unwrap()).unwrap();
    let config = Descriptor::new(media_type::OCI_CONFIG, config.digest, config.size);
    let forged = Manifest::Image(ImageManifest::new(config, vec![mine; victim.layers.len()]));
    let write = ManifestWrite::new(Some(forged.media_type()), forged.to_json().unwrap()).unwrap();
    let name = Reference::parse("forged").unwrap();
    store.put_image(&Scope::user(), &name, &write).unwrap();

    for text in [
        "FROM forged\nRUN cat /secret /secret\n",
        "FROM busybox\nCOPY --from=forged /secret /copy\n",
        "FROM busybox\nRUN --mount=type=bind,from=forged,target=/m cat /m/secret\n",
    ] {
        let (refused, witness) = house.build(request(context.clone(), text)).await;
        let said = with_causes(&refused.unwrap_err());
        assert!(said.contains("promises"), "{text}: {said}\n{:?}", witness.log());
    }
}
