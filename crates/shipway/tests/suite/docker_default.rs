//! `shipway build` in a container that Docker started without a flag: the default filter of system calls, the default capabilities, and
//! therefore no namespace and no mount.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use shipway_testkit::Account;

use crate::docker_engine::{Engine, build_here, login};
use crate::harness::{User, debian_image, finish, text};

/// Packages, users, owners, capabilities, a cache, a secret, stages; the last stage tries what it may not.
const DOCKERFILE: &str = r#"FROM debian:12 AS packages
RUN --mount=type=cache,target=/var/cache/apt apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libcap2-bin >/dev/null
RUN useradd --create-home --uid 1500 worker && mkdir /srv/data && chown worker:worker /srv/data
RUN cp /bin/cat /srv/data/bound && setcap cap_net_bind_service+ep /srv/data/bound && getcap /srv/data/bound
RUN --mount=type=secret,id=token wc -c </run/secrets/token >/srv/data/length
USER worker
RUN echo I am $(id -un) && touch ~/mine && ! touch /etc/not-mine 2>/dev/null

FROM packages AS attack
USER root
RUN cat /given/token /builds/credentials /proc/1/environ /proc/self/environ /dev/mem; env; ls /proc/1/fd /builds; \
    for process in $(seq 1 200); do cat /proc/$process/environ; done; true

FROM debian:12
COPY --from=packages /srv/data /srv/data
"#;

/// Steps whose result is the same wherever they are run.
const STEPS: &str = r#"FROM debian:12 AS first
COPY --chown=7:8 . /src/
RUN rm -r /usr/share/doc && mkdir /usr/share/doc && echo new >/usr/share/doc/only && rm /etc/issue && ln -s /nowhere /etc/link
RUN chown 7:8 /etc/passwd; chmod 4755 /bin/cat; mv /usr/share/bash-completion /usr/share/moved; ln /src/token /src/again; mkdir -p /a/b
USER 1000:1000
RUN --network=none id >/tmp/who
FROM debian:12
COPY --from=first /src /src
RUN --mount=type=bind,from=first,source=/tmp,target=/of/first --mount=type=tmpfs,target=/fast cp /of/first/who /who; : >/fast/x
WORKDIR /made/here
"#;

/// In the container: what this place is, then the builds; each is told apart by a line.
const SCRIPT: &str = r#"set -e
mkdir /builds && echo of-the-job >/builds/credentials
shipway doctor
shipway image import --quiet --change 'CMD ["bash"]' debian:12 /given/debian.tar
cd /given
shipway build --file packages --secret id=token,src=token --tag REGISTRY/group/app:1 --push .
shipway build --file packages --secret id=token,src=token --target attack .
echo; echo "steps: $(shipway build --quiet --file steps context)"
shipway engine --socket /tmp/engine.sock || echo "engine: $?"
"#;

#[test]
fn a_container_without_a_flag_builds_and_pushes() -> Result<()> {
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
    let said = built?;
    for expected in [
        "isolation: C",
        "/srv/data/bound cap_net_bind_service=ep",
        "I am worker",
        "engine: 3",
    ] {
        ensure!(said.contains(expected), "{expected:?} is missing in:\n{said}");
    }
    for secret in ["of-the-job", "token-of-the-job", "in-the-environment"] {
        ensure!(!said.contains(secret), "a step has read {secret:?}:\n{said}");
    }
    let given = user.home.work().join("given");
    let here = build_here(&user, &given, ("debian:12", r#"CMD ["bash"]"#), &debian_image()?)?;
    ensure!(
        said.contains(&format!("steps: {here}")),
        "another image than {here}:\n{said}"
    );
    Ok(())
}

/// All that the container says.
fn build_inside(user: &User, engine: &Engine) -> Result<String> {
    let registry = engine.registry(user)?;
    engine.make_place(&context(user)?)?;
    let script = login(&registry.address)? + &SCRIPT.replace("REGISTRY", &registry.address);
    let output = finish(
        engine
            .docker(&[
                "run",
                "--rm",
                "--env",
                "TOKEN=in-the-environment",
                "place",
                "bash",
                "-c",
            ])
            .arg(script),
    )?;
    let said = text(&output);
    ensure!(output.status.success(), "{}\n{said}", output.status);
    let tags = registry.tags(&user.home, "group/app")?;
    ensure!(
        tags.is_none_or(|tags| tags == ["1"]),
        "it was not pushed:\n{said}"
    );
    Ok(said)
}

/// What the container gets, with the context of the steps in it.
fn context(user: &User) -> Result<PathBuf> {
    let given = user.home.work().join("given");
    std::fs::create_dir_all(given.join("context"))?;
    std::fs::copy(debian_image()?, given.join("debian.tar"))?;
    std::fs::write(given.join("packages"), DOCKERFILE)?;
    std::fs::write(given.join("steps"), STEPS)?;
    std::fs::write(given.join("token"), "token-of-the-job")?;
    std::fs::write(given.join("context/token"), "of the context")?;
    Ok(given)
}
