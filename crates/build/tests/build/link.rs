//! `COPY --link` and `ADD --link`: layers that do not depend on what lies below them.

use shipway_build::{BuildRequest, Context};
use shipway_oci::with_causes;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    a_changed_base_keeps_a_linked_layer,
    a_linked_layer_is_made_on_nothing,
    a_linked_owner_is_a_number,
);

fn of_base(files: &Context, text: &str, number: u32) -> BuildRequest {
    let mut request = request(files.clone(), text);
    let number = Some(number.to_string());
    request.build_args.insert("N".to_owned(), number);
    request
}

async fn a_changed_base_keeps_a_linked_layer() {
    let (_folder, files) = context(&[("f", "a file")]);
    let text = |flag: &str| {
        format!(
            "FROM busybox\nARG N\nRUN echo $N > /n\nCOPY {flag} f /new/dir/\nADD {flag} f /etc/g\n\
             RUN cat /n /new/dir/f /etc/g; grep -c ann /etc/passwd\n"
        )
    };
    for (flag, kept) in [("", 0), ("--link=false", 0), ("--link", 2)] {
        let house = House::new().await;
        let text = text(flag);
        house.built(of_base(&files, &text, 1)).await;
        let (built, witness) = house.built(of_base(&files, &text, 2)).await;
        assert_eq!(witness.cached(), kept, "{flag}: {:?}", witness.log());
        assert_eq!(witness.output(6), "2\na filea file1\n", "{flag}");
        let (again, witness) = house.built(of_base(&files, &text, 2)).await;
        assert_eq!((again.manifest, witness.cached()), (built.manifest, 4), "{flag}");
    }
}

async fn a_linked_layer_is_made_on_nothing() {
    let house = House::new().await;
    let (_folder, files) = context(&[("f", "a file"), ("d/e/g", "another")]);
    let text = "FROM busybox AS other\n\
        RUN mkdir -p /o/p && echo x > /o/p/q && chmod 0700 /o/p\n\
        FROM busybox\n\
        RUN mkdir /real && ln -s /real /link && mkdir -m 0700 /closed && echo stays > /closed/stays\n\
        COPY --link f /link/f\n\
        COPY --link --chown=7:8 --chmod=0600 d /closed/\n\
        COPY --link --from=other /o /o\n\
        COPY --link f /etc/name\n\
        RUN [ ! -L /link ] && [ -f /link/f ] && [ ! -e /real/f ] && cat /closed/stays /closed/e/g /o/p/q /etc/name && \
            stat -c '%u:%g %a' /closed/e/g /closed /o/p && ls -A /etc | grep -c passwd\n";
    let (built, witness) = house.built(request(files, text)).await;
    assert_eq!(
        witness.output(9),
        "stays\nanotherx\na file7:8 600\n7:8 755\n0:0 700\n1\n"
    );
    let image = house.image(&built);
    let layers: Vec<_> = image.layers[2..6]
        .iter()
        .map(|layer| house.layer(&layer.digest))
        .collect();
    assert_eq!(layers[0], ["d0755 0:0   0 link/", "-0644 0:0   6 link/f"]);
    assert_eq!(
        layers[1],
        [
            "d0755 7:8   0 closed/",
            "d0600 7:8   0 closed/e/",
            "-0600 7:8   7 closed/e/g"
        ]
    );
    assert_eq!(
        layers[2],
        ["d0755 0:0   0 o/", "d0700 0:0   0 o/p/", "-0644 0:0   2 o/p/q"]
    );
    assert_eq!(layers[3], ["d0755 0:0   0 etc/", "-0644 0:0   6 etc/name"]);
}

async fn a_linked_owner_is_a_number() {
    let house = House::new().await;
    let (_folder, files) = context(&[("f", "a file")]);
    for owner in ["ann", "1000:staff"] {
        let text = format!("FROM busybox\nCOPY --link --chown={owner} f /f\n");
        let (result, _) = house.build(request(files.clone(), &text)).await;
        let said = with_causes(&result.unwrap_err());
        assert!(said.contains("write numbers"), "{said}");
    }
}
