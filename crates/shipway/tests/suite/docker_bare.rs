//! `shipway build` in containers of Docker whose process may do nothing: an ordinary user, one that no `passwd` knows, and root without a
//! capability. No namespace, no mount, no `chroot`, no file to be given away.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use shipway_testkit::{Account, busybox_root};

use crate::docker_engine::{Engine, build_here, login};
use crate::harness::{User, finish, succeed, text};

/// All that a Dockerfile can do without running anything.
const STEPS: &str = r#"FROM busybox:1 AS first
COPY --chown=7:8 . /src/
COPY --chown=12:13 --chmod=4711 token /games/token
ADD --chown=1000 archive.tar /unpacked/
WORKDIR /made/here
FROM first AS second
COPY --from=first /games /games-again
COPY --from=first --chown=42:43 --chmod=0 /bin/busybox /closed
USER 1000:1000
ENV A=b
FROM scratch
COPY --from=second / /
COPY --from=second --link /src /src
ENTRYPOINT ["/token"]
"#;

/// In the container: what this place is, then the builds.
const SCRIPT: &str = r#"set -e
export SHIPWAY_DATA=$(mktemp -d)
echo "I am $(id -u):$(id -g)"
shipway doctor
shipway image import --quiet --change 'CMD ["sh"]' busybox:1 /given/busybox.tar
cd /given
echo; echo "steps: $(shipway build --quiet --file steps --tag REGISTRY/group/TAG:1 --push context)"
shipway build --quiet --file steps --output type=tar,dest=$SHIPWAY_DATA/out.tar context
tar -tvf $SHIPWAY_DATA/out.tar | grep -E 'closed|token'
printf 'FROM busybox:1\nCOPY token /token\nRUN cat /token\n' >$SHIPWAY_DATA/runs
shipway build --file $SHIPWAY_DATA/runs context || echo "refused: $?"
shipway engine --socket /tmp/engine.sock || echo "engine: $?"
"#;

/// Who the process of a container is, with which flags, and what it is told.
const PLACES: [(&str, &[&str], &str); 3] = [
    (
        "user",
        &["--user", "1000:1000"],
        "run this container as root (Docker: without --user; Kubernetes: runAsUser: 0): that gives tier C",
    ),
    (
        "restricted",
        &[
            "--user",
            "123456:0",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
        ],
        "let processes make user namespaces (Docker: --security-opt seccomp=unconfined; Kubernetes: seccompProfile.type: \
         Unconfined): that gives tier B",
    ),
    (
        "powerless",
        &["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
        "leave root the capabilities that container engines give by default (Docker: without --cap-drop; Kubernetes: no `drop` \
         in securityContext.capabilities): that gives tier C",
    ),
];

#[test]
fn who_may_do_nothing_builds_all_but_run() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let user = User::new(Account::Caller)?;
    let place = user.home.work().join("docker");
    std::fs::create_dir(&place)?;
    let Some(engine) = Engine::start(&place)? else {
        return Ok(());
    };
    let built = build_inside(&user, &engine);
    engine.stop()?;
    let built = built?;
    let given = user.home.work().join("given");
    let here = build_here(
        &user,
        &given,
        ("busybox:1", r#"CMD ["sh"]"#),
        &given.join("busybox.tar"),
    )?;
    for ((name, _, remedy), said) in PLACES.iter().zip(built) {
        for expected in [
            "isolation: D",
            &format!("steps: {here}"),
            "-rws--x--x 12/13",
            "---------- 42/43",
            "RUN needs to start a program in the image, which cannot be done here (tier D)",
            remedy,
            "refused: 3",
            "engine: 3",
        ] {
            ensure!(
                said.contains(expected),
                "{name}: {expected:?} is missing in:\n{said}"
            );
        }
    }
    Ok(())
}

/// All that each container says.
fn build_inside(user: &User, engine: &Engine) -> Result<Vec<String>> {
    let registry = engine.registry(user)?;
    engine.make_place(&context(user)?)?;
    let login = login(&registry.address)?;
    let run = |(name, flags, _): &(&str, &[&str], &str)| {
        let script = SCRIPT.replace("REGISTRY", &registry.address).replace("TAG", name);
        let mut docker = engine.docker(&["run", "--rm"]);
        let output = finish(
            docker
                .args(*flags)
                .args(["place", "bash", "-c"])
                .arg(format!("{login}{script}")),
        )?;
        let said = text(&output);
        ensure!(output.status.success(), "{name}: {}\n{said}", output.status);
        let tags = registry.tags(&user.home, &format!("group/{name}"))?;
        ensure!(
            tags.is_none_or(|tags| tags == ["1"]),
            "it was not pushed:\n{said}"
        );
        Ok(said)
    };
    PLACES.iter().map(run).collect()
}

/// What the containers get, with the context of the steps in it.
fn context(user: &User) -> Result<PathBuf> {
    let given = user.home.work().join("given");
    std::fs::create_dir_all(given.join("context"))?;
    std::fs::write(given.join("busybox.tar"), busybox_root().bytes())?;
    std::fs::write(given.join("steps"), STEPS)?;
    std::fs::write(given.join("context/token"), "of the context")?;
    let in_context = given.join("context");
    succeed(
        std::process::Command::new("tar")
            .args([
                "--owner=12",
                "--group=13",
                "--mode=u-rwx",
                "--mtime=@0",
                "-cf",
                "archive.tar",
                "token",
            ])
            .current_dir(&in_context),
    )?;
    Ok(given)
}
