//! What is read, and what is refused by name.

use super::*;

#[test]
fn a_name_alone_is_one_in_a_registry() {
    let reference = Reference::parse("registry.example/app:cache").unwrap();
    for text in [
        "registry.example/app:cache",
        "type=registry,ref=registry.example/app:cache",
        "\"type=registry\",\"ref=registry.example/app:cache\"",
    ] {
        assert_eq!(
            text.parse(),
            Ok(CacheImport::Registry(reference.clone())),
            "{text}"
        );
        let export: CacheExport = text.parse().unwrap();
        assert_eq!(
            export.place,
            CacheExportPlace::Registry(reference.clone()),
            "{text}"
        );
        assert_eq!((export.mode, export.ignore_error), (CacheMode::Min, false));
    }
}

#[test]
fn all_words_are_read() {
    let export: CacheExport =
        "type=local,dest=/a b,mode=max,ignore-error=true,compression=zstd,image-manifest=true"
            .parse()
            .unwrap();
    let place = CacheExportPlace::Local {
        directory: "/a b".into(),
        tag: "latest".to_owned(),
    };
    assert_eq!(
        (export.place, export.mode, export.ignore_error),
        (place, CacheMode::Max, true)
    );
    assert_eq!(export.compression, Some(Compression::Zstd(3)));
    let level: CacheExport = "type=inline,compression-level=9,force-compression=true"
        .parse()
        .unwrap();
    assert_eq!(level.compression, Some(Compression::Gzip(9)));
    let inline: CacheExport = "type=inline".parse().unwrap();
    assert_eq!(inline.place, CacheExportPlace::Inline);
    let quoted: CacheImport = "type=local,\"src=a,b\",tag=x".parse().unwrap();
    let wanted = CacheImport::Local {
        directory: "a,b".into(),
        tag: "x".to_owned(),
        digest: None,
    };
    assert_eq!(quoted, wanted);
}

#[test]
fn what_is_misspelled_is_named() {
    for (text, said) in [
        ("type=gha", "`gha`"),
        ("type=local,\"dest=a", "a quote is not closed"),
        ("type=registry", "needs `ref=`"),
        ("type=registry,ref=x,mod=max", "no `mod`"),
        ("type=registry,ref=x,mode=all", "`min` or `max`"),
        ("type=registry,ref=x,ignore-error=maybe", "`true` or `false`"),
        ("type=registry,ref=a//b", "no reference"),
        ("type=local", "needs `dest=`"),
        ("type=inline,ref=x", "no `ref`"),
        ("type=inline,compression-level=most", "a number"),
        ("type=inline,compression=lzma", "the cache's compression"),
        ("", "needs `ref=`"),
    ] {
        let error = text.parse::<CacheExport>().unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
    for (text, said) in [
        ("type=inline", "`inline`"),
        ("type=local,src=x,digest=y", "64 hexadecimal"),
    ] {
        let error = text.parse::<CacheImport>().unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn foreign_options_are_read_or_refused() {
    let seeds = [
        "type=registry,ref=a.b/c:d,mode=max",
        "type=local,\"src=a,b\"",
        "type=inline",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        let _ = text.parse::<CacheExport>();
        let _ = text.parse::<CacheImport>();
    });
}
