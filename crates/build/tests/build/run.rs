//! RUN: what the process sees, and what it must not leave.

use std::sync::Arc;
use std::time::Duration;

use shipway_build::{BuildEvents, Context, DockerfileSource, SecretBytes, Step};
use shipway_container::{Egress, ExcessSignal, OutputStream, PodOptions};
use shipway_store::Meter;

use crate::house::{House, context, request};

shipway_testkit::tests!(
    limits_hold_in_a_step,
    the_process_sees_its_stage,
    secrets_leave_no_trace,
    mounts,
    output_comes_while_it_runs,
    a_tar_is_a_context_too,
    a_target_and_labels,
    a_mount_says_with_variables_what_it_is,
    locked_caches_take_turns,
    stages_run_at_the_same_time,
    a_dropped_build_leaves_nothing_in_a_pod_that_was_given,
);

async fn the_process_sees_its_stage() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\n\
        ENV A=1\n\
        ARG B=2\n\
        WORKDIR /w\n\
        USER ann\n\
        RUN echo $A $B $FROM_IMAGE; pwd; id -u; id -g; hostname\n\
        USER 5:6\n\
        SHELL [\"/bin/sh\", \"-ec\"]\n\
        RUN id -u; id -g; false; echo not here\n";
    let (result, witness) = house.build(request(files, text)).await;
    assert_eq!(witness.output(6), "1 2 yes\n/w\n1000\n1001\nbuildkitsandbox\n");
    assert_eq!(witness.output(9), "5\n6\n");
    assert_eq!(result.unwrap_err().exit_code(), Some(1));
}

async fn secrets_leave_no_trace() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\n\
        RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN \\\n\
            cat /run/secrets/token | wc -c > /count && echo ${#TOKEN} >> /count\n";
    let with = |secret: &str| {
        let mut request = request(files.clone(), text);
        request
            .secrets
            .insert("token".to_owned(), SecretBytes::new(secret.as_bytes().to_vec()));
        request
    };
    let (built, _) = house.built(with("hunter2")).await;
    let image = house.image(&built);
    assert_eq!(house.file(&image, "count").unwrap(), b"7\n7\n");
    let top = image.layers.last().unwrap();
    let names = house.layer(&top.digest);
    assert!(names.iter().all(|line| !line.contains("token")), "{names:?}");
    let (_, witness) = house.built(with("another")).await;
    assert_eq!(witness.cached(), 1, "a secret is in no key");
    assert!(!format!("{:?}", with("hunter2").secrets).contains("hunter2"));
}

async fn mounts() {
    let house = House::new().await;
    let (_folder, files) = context(&[("d/a", "from the context"), ("f", "a file")]);
    let text = "FROM busybox AS other\n\
        RUN echo from a stage > /s\n\
        FROM busybox\n\
        RUN --mount=target=/ctx --mount=source=f,target=/etc/f --mount=from=other,source=/s,target=/s \\\n\
            --mount=type=tmpfs,target=/t cat /ctx/d/a /etc/f /s && touch /t/x && ! touch /ctx/x\n\
        RUN --mount=type=cache,target=/c echo more >> /c/log; cat /c/log\n\
        RUN --mount=type=cache,target=/c echo more >> /c/log; cat /c/log; true\n";
    let (built, witness) = house.built(request(files, text)).await;
    assert!(
        witness
            .output(4)
            .starts_with("from the contexta filefrom a stage\n"),
        "{}",
        witness.output(4)
    );
    assert_eq!(witness.output(6), "more\n");
    assert_eq!(witness.output(7), "more\nmore\n");
    let image = house.image(&built);
    let entries: Vec<String> = image.layers[1..]
        .iter()
        .flat_map(|layer| house.layer(&layer.digest))
        .collect();
    assert!(
        entries
            .iter()
            .all(|line| !line.contains("log") && !line.contains("ctx")),
        "{entries:?}"
    );
}

async fn a_mount_says_with_variables_what_it_is() {
    let house = House::new().await;
    let (_folder, files) = context(&[("f", "a file")]);
    let text = "FROM busybox\n\
        ARG ID=7 KIND=cache\n\
        ENV HOME=/home\n\
        RUN --mount=type=$KIND,target=${HOME}/cache,uid=$ID,gid=${ID}1,mode=0${ID}50 stat -c '%u %g %a' /home/cache\n\
        WORKDIR /here\n\
        RUN --mount=type=bind cat f\n\
        RUN --mount=type=secret,id=dir/token cat /run/secrets/token\n";
    let mut request = request(files, text);
    let secret = SecretBytes::new(b"hunter2".to_vec());
    request.secrets.insert("dir/token".to_owned(), secret);
    let (_, witness) = house.built(request).await;
    assert_eq!(witness.output(4), "7 71 750\n");
    assert_eq!(witness.output(6), "a file");
    assert_eq!(witness.output(7), "hunter2");
}

async fn output_comes_while_it_runs() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox\nRUN dd if=/bin/busybox bs=1024 count=300 | tar cf - -C /etc passwd; echo end\n";
    let (_, witness) = house.built(request(files, text)).await;
    assert!(witness.output(2).ends_with("end\n"));
}

async fn a_tar_is_a_context_too() {
    let house = House::new().await;
    let dockerfile = "FROM scratch\nCOPY . /all/\n";
    let (folder, files) = context(&[
        ("Dockerfile", dockerfile),
        ("x/y", "y"),
        (".dockerignore", "Dockerfile\n"),
    ]);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", folder.path()).unwrap();
    let tar = tar.into_inner().unwrap();
    let spooled = Context::tar(&tar[..], house.directory.path(), &Meter::default()).unwrap();
    let (first, _) = house.built(shipway_build::BuildRequest::new(files)).await;
    let mut second = shipway_build::BuildRequest::new(spooled);
    second.dockerfile = DockerfileSource::Path("Dockerfile".into());
    let (second, witness) = house.built(second).await;
    assert_eq!(first.manifest, second.manifest);
    assert_eq!(witness.cached(), 1);
}

async fn a_target_and_labels() {
    let house = House::new().await;
    let (_folder, files) = context(&[]);
    let text = "FROM busybox AS a\nENV X=1\nFROM nowhere.invalid/never AS b\nRUN false\n";
    let mut wanted = request(files, text);
    wanted.target = Some("a".to_owned());
    wanted.labels.insert("l".to_owned(), "v".to_owned());
    wanted.build_args.insert("NOBODY".to_owned(), Some(String::new()));
    wanted.tags = vec![shipway_oci::Reference::parse("result:1").unwrap()];
    let (built, witness) = house.built(wanted.clone()).await;
    assert_eq!(
        built.warnings,
        ["one or more build arguments were not consumed: NOBODY"]
    );
    assert_eq!(witness.log()[1], "1/2 FROM busybox AS a");
    assert_eq!(house.image(&built).config.config.labels["l"], "v");
    let named = house.store.image(&wanted.scope, &wanted.tags[0]).unwrap();
    assert_eq!(named, Some(built.manifest));
}

async fn locked_caches_take_turns() {
    let house = Arc::new(House::new().await);
    // Whoever is alone finds no mark and takes it away again.
    let text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c,sharing=locked \\\n\
        test ! -e /c/mark && touch /c/mark && cat /bin/busybox > /big$N && rm /c/mark\n";
    let builds = (0..3).map(|number| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let mut request = request(Context::Empty, text);
            request
                .build_args
                .insert("N".to_owned(), Some(number.to_string()));
            house.built(request).await
        })
    });
    for build in builds.collect::<Vec<_>>() {
        build.await.unwrap();
    }
}

async fn stages_run_at_the_same_time() {
    let house = House::new().await;
    // Each waits for the other: one after the other, they would not end.
    let meet = |mine: &str, other: &str| {
        format!(
            "FROM busybox AS {mine}\nRUN --mount=type=cache,target=/c \\\n\
             touch /c/{mine}; while test ! -e /c/{other}; do sleep 0.01; done; echo {mine} > /{mine}\n"
        )
    };
    let text = meet("left", "right")
        + &meet("right", "left")
        + "FROM scratch\nCOPY --from=left /left /\nCOPY --from=right /right /\n";
    let mut both = request(Context::Empty, &text);
    both.parallel_stages = 2;
    let (built, _) = tokio::time::timeout(Duration::from_secs(60), house.built(both))
        .await
        .expect("they meet");
    assert_eq!(house.file(&house.image(&built), "right").unwrap(), b"right\n");
}

/// Says when a RUN has written something.
struct Heard(tokio::sync::Notify);

impl BuildEvents for Heard {
    fn output(&self, _step: &Step<'_>, _stream: OutputStream, _bytes: &[u8]) {
        self.0.notify_one();
    }
}

async fn a_dropped_build_leaves_nothing_in_a_pod_that_was_given() {
    let house = House::new().await;
    let options = PodOptions {
        name: "given".to_owned(),
        egress: Egress::detect([]).unwrap(),
        excess: ExcessSignal::default(),
        written: Meter::default(),
    };
    let pod = house.runtime.start_pod(options).await.unwrap();
    let mut endless = request(
        Context::Empty,
        "FROM busybox\nRUN echo up; while true; do sleep 1000; done\n",
    );
    endless.pod = Some(pod.clone());
    let heard = Heard(tokio::sync::Notify::new());
    tokio::select! {
        ended = house.builder.build(endless, &heard) => panic!("{ended:?}"),
        () = heard.0.notified() => {}
    }
    let gone = async {
        while !pod.containers().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("the container is removed");
    assert!(pod.is_open());
    pod.close().await;
}

async fn limits_hold_in_a_step() {
    let house = House::new().await;
    let text = "FROM busybox\nRUN echo \"$(ulimit -n) $(ulimit -Hn) $(ulimit -c)\" > /limits\n";
    let limited = |limits: &[&str]| {
        let mut wanted = request(Context::Empty, text);
        wanted.limits = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        wanted
    };
    let (built, _) = house.built(limited(&["nofile=64:128", "core=0"])).await;
    let found = house.file(&house.image(&built), "limits");
    assert_eq!(found.as_deref(), Some(&b"64 128 0\n"[..]));
    let (_, witness) = house.built(limited(&["nofile=64:128", "core=0"])).await;
    assert_eq!(witness.cached(), 1);
    let (_, witness) = house.built(limited(&["nofile=65:128", "core=0"])).await;
    assert_eq!(witness.cached(), 0, "limits are part of the key");
}
