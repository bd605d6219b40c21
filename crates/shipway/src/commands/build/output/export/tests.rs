//! The forms that buildx documents, and what is refused.

use super::*;

fn parsed(text: &str) -> Export {
    Export::parse(text).unwrap_or_else(|failure| panic!("{text}: {failure:?}"))
}

#[test]
fn the_short_forms_are_files() {
    let files = |place| {
        Export::Files(FilesExport {
            place,
            options: FileOptions::default(),
        })
    };
    assert_eq!(parsed("out"), files(Place::Directory("out".into())));
    assert_eq!(parsed("."), files(Place::Directory(".".into())));
    assert_eq!(parsed("-"), files(Place::StandardOutput));
    assert_eq!(parsed("type=tar"), files(Place::StandardOutput));
    assert_eq!(parsed("type=tar,dest=a.tar"), files(Place::File("a.tar".into())));
}

#[test]
fn names_and_flags_reach_an_image() {
    let Export::Image(export) = parsed(r#"type=image,"name=a:1,localhost/b",push,store=false"#) else {
        panic!("an image");
    };
    let names: Vec<String> = export.names.iter().map(Reference::familiar).collect();
    assert_eq!(names, ["a:1", "localhost/b:latest"]);
    assert!(export.push && !export.store && !export.by_digest);
    let Export::Image(export) = parsed("type=registry,push-by-digest=true,annotation-manifest.a=b") else {
        panic!("an image");
    };
    assert!(export.push && export.by_digest && export.store);
    assert_ne!(export.options.annotations, ImageOptions::default().annotations);
}

#[test]
fn archives_go_where_they_are_sent() {
    let place = |text| match parsed(text) {
        Export::Archive(export) => export.place,
        other => panic!("{other:?}"),
    };
    assert_eq!(place("type=docker"), None);
    assert_eq!(place("type=docker,dest=-"), Some(Place::StandardOutput));
    assert_eq!(place("type=oci,dest=a.tar"), Some(Place::File("a.tar".into())));
    assert_eq!(
        place("type=oci,tar=false,dest=a"),
        Some(Place::Directory("a".into()))
    );
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    for (text, part) in [
        ("type=cacheonly", "no type `cacheonly`"),
        ("dest=x,push=true", "type is missing"),
        ("type=image,shiny=1", "no `shiny`"),
        ("type=image,push=perhaps", "neither true nor false"),
        ("type=local", "dest="),
        ("type=local,dest=-", "type=tar"),
        ("type=tar,mode=delete", "no mode `delete`"),
        ("type=oci,tar=false", "dest="),
        ("type=image,\"name=a", "quote"),
        ("type=image,annotation-layer.x=y", "level `layer`"),
        ("type=tar,compression=zstd", "no `compression`"),
        ("type=oci,compression=lz4", "no compression `lz4`"),
        ("type=oci,compression=zstd,compression-level=99", "0 to 22"),
    ] {
        let said = format!("{:?}", Export::parse(text).unwrap_err());
        assert!(said.contains(part), "{text}: {said}");
    }
}
