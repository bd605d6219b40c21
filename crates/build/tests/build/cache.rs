//! What is known is not done again, and what is not known is.

use std::collections::BTreeMap;

use shipway_store::Scope;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    a_known_build_starts_no_keeper,
    only_what_changed_is_done_again,
    a_changed_line_with_the_same_result_keeps_what_follows,
    scopes_do_not_share,
    arguments_count_when_declared,
    a_folder_with_one_file_is_not_that_file,
    a_directory_is_made_for_its_user,
);

const DOCKERFILE: &str = "FROM busybox AS one\n\
    RUN echo one > /one\n\
    FROM busybox\n\
    ARG A\n\
    WORKDIR /work\n\
    COPY . .\n\
    COPY --from=one /one /one\n\
    RUN cat a.txt /one > /both\n\
    LABEL a=b\n";

async fn a_known_build_starts_no_keeper() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    let (first, witness) = house.built(request(files.clone(), DOCKERFILE)).await;
    assert_eq!(witness.cached(), 0, "{:?}", witness.log());
    let house = house.without_keepers().await;
    let (second, witness) = house.built(request(files.clone(), DOCKERFILE)).await;
    assert_eq!((first.manifest, first.id), (second.manifest, second.id));
    assert_eq!(witness.cached(), 5, "{:?}", witness.log());
    // The witness itself: with something unknown, the build does need a keeper.
    let (result, _) = house
        .build(request(files, &DOCKERFILE.replace("echo one", "echo 1")))
        .await;
    assert!(result.is_err());
}

async fn only_what_changed_is_done_again() {
    let house = House::new().await;
    let (folder, files) = context(&[("a.txt", "a")]);
    house.built(request(files.clone(), DOCKERFILE)).await;
    std::fs::write(folder.path().join("a.txt"), "changed").unwrap();
    let (built, witness) = house.built(request(files.clone(), DOCKERFILE)).await;
    // RUN of the first stage and WORKDIR.
    assert_eq!(witness.cached(), 2, "{:?}", witness.log());
    assert_eq!(house.file(&house.image(&built), "both").unwrap(), b"changedone\n");
    let mut again = request(files, DOCKERFILE);
    again.no_cache = true;
    let (_, witness) = house.built(again).await;
    assert_eq!(witness.cached(), 0);
}

async fn a_changed_line_with_the_same_result_keeps_what_follows() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\nRUN echo one > /one\nRUN cat /one > /two\n";
    house.built(request(files.clone(), text)).await;
    let (_, witness) = house
        .built(request(files, &text.replace("echo one", "echo 'one'")))
        .await;
    assert_eq!(witness.cached(), 1, "{:?}", witness.log());
}

async fn scopes_do_not_share() {
    let house = House::new().await;
    let (_folder, files) = context(&[("a.txt", "a")]);
    house.built(request(files.clone(), DOCKERFILE)).await;
    let mut other = request(files, DOCKERFILE);
    other.cache_scope = "project/other".parse::<Scope>().unwrap();
    let (_, witness) = house.built(other).await;
    assert_eq!(witness.cached(), 0);
}

async fn arguments_count_when_declared() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\nARG A=x\nRUN echo $A $HTTP_PROXY > /a\n";
    let with = |a: &str, proxy: &str| {
        let mut request = request(files.clone(), text);
        request.build_args = BTreeMap::from([
            ("A".to_owned(), Some(a.to_owned())),
            ("HTTP_PROXY".to_owned(), Some(proxy.to_owned())),
        ]);
        request
    };
    let (first, _) = house.built(with("1", "p")).await;
    assert_eq!(house.file(&house.image(&first), "a").unwrap(), b"1 p\n");
    let (_, witness) = house.built(with("1", "other")).await;
    assert_eq!(witness.cached(), 1, "a proxy is in no key");
    let (second, witness) = house.built(with("2", "p")).await;
    assert_eq!(witness.cached(), 0);
    assert_eq!(house.file(&house.image(&second), "a").unwrap(), b"2 p\n");
}

async fn a_folder_with_one_file_is_not_that_file() {
    let house = House::new().await;
    let (folder, files) = context(&[("x", "content")]);
    let text = "FROM busybox\nCOPY x /to\nRUN --mount=type=bind,source=x,target=/m test -f /m && echo file > /kind || echo folder > /kind\n";
    let (built, _) = house.built(request(files.clone(), text)).await;
    let image = house.image(&built);
    assert_eq!(house.file(&image, "to").unwrap(), b"content");
    assert_eq!(house.file(&image, "kind").unwrap(), b"file\n");
    std::fs::remove_file(folder.path().join("x")).unwrap();
    std::fs::create_dir(folder.path().join("x")).unwrap();
    std::fs::write(folder.path().join("x/x"), "content").unwrap();
    let (built, _) = house.built(request(files.clone(), text)).await;
    let image = house.image(&built);
    assert_eq!(house.file(&image, "to/x").unwrap(), b"content");
    assert_eq!(house.file(&image, "kind").unwrap(), b"folder\n");
    // What is mounted counts by itself: here nothing before it tells the two apart.
    let mounted = "FROM busybox\nRUN --mount=type=bind,source=y,target=/m test -f /m && echo file > /kind || echo folder > /kind\n";
    for (made, kind) in [("y", "file\n"), ("y/y", "folder\n")] {
        let _ = std::fs::remove_file(folder.path().join("y"));
        let path = folder.path().join(made);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "content").unwrap();
        let (built, _) = house.built(request(files.clone(), mounted)).await;
        assert_eq!(house.file(&house.image(&built), "kind").unwrap(), kind.as_bytes());
    }
}

async fn a_directory_is_made_for_its_user() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    for (user, owner) in [
        ("ann", "1000:1001"),
        ("7", "7:7"),
        ("nobody-knows", "0:0"),
        ("root", "0:0"),
    ] {
        let text = format!("FROM busybox\nUSER {user}\nWORKDIR /made/here\n");
        let (built, witness) = house.built(request(files.clone(), &text)).await;
        let image = house.image(&built);
        assert_eq!(witness.cached(), 0, "{user} is in the key");
        let entries = house.layer(&image.layers.last().unwrap().digest);
        let wanted = ["made/", "made/here/"].map(|name| format!("d0755 {owner}   0 {name}"));
        assert_eq!(entries, wanted, "{user}");
    }
}
