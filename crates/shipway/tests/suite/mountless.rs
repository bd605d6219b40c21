//! Tier B′: a place where a user may make a user namespace and is refused every mount, as under the filters and labels of some clusters.
//!
//! The refusal is real: a filter of system calls over the command and all that it starts answers every form of `mount` with `EPERM`, and
//! nothing gains a right by being started, so that `newuidmap` is of no use.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use shipway_testkit::{Account, without_mounts};

use crate::harness::{User, assert_nothing_left, debian_image, finish, in_place, in_place_of, succeed, text};

/// What a container engine does to /proc.
const MASK: &str = "mount -t tmpfs -o ro tmpfs /proc/fs";

/// Users, groups, owners, capabilities and devices; the last step tries what it may not.
const USERS: &str = r#"FROM debian:12
RUN useradd --create-home --uid 1500 worker && mkdir /srv/data && chown worker:worker /srv/data
RUN su worker -c 'echo I am $(id -un) && touch ~/mine' && stat -c '%n %U:%G' /srv/data /home/worker /home/worker/mine
RUN --mount=type=cache,target=/cache install -o worker -m 4750 /bin/cat /srv/data/cat && touch /cache/x && head -c 4 /dev/urandom | wc -c
RUN dpkg-deb --version >/dev/null && apt-get --version >/dev/null && perl -e 'open F, "+<", "/dev/null" or die; print F 1; print -s "/dev/null", "\n"'
RUN mount -t tmpfs none /mnt && echo it was mounted; chroot / true && echo a root was chosen; true
"#;

/// Steps whose result is the same wherever they are run.
const STEPS: &str = r#"FROM debian:12 AS first
COPY --chown=7:8 . /src/
RUN rm -r /usr/share/doc && mkdir /usr/share/doc && echo new >/usr/share/doc/only && rm /etc/issue && ln -s /nowhere /etc/link
RUN chown 7:8 /etc/passwd; chown -h 5:6 /etc/link; chmod 4755 /bin/cat; mv /usr/share/bash-completion /usr/share/moved; ln /src/token /src/again
USER 1000:1000
RUN --network=none id >/tmp/who; mkdir -m 700 /tmp/mine
FROM debian:12
COPY --from=first /src /src
RUN --mount=type=bind,from=first,source=/tmp,target=/of/first --mount=type=tmpfs,target=/fast cp -a /of/first/who /who; : >/fast/x
WORKDIR /made/here
"#;

/// Takes the user's range of ids away, which is of no use there either.
const ONE_ID: &str = "mount --bind /dev/null /etc/subuid";

#[test]
fn who_is_refused_every_mount_builds_the_same_image() -> Result<()> {
    let ordinary = Account::all()
        .into_iter()
        .find(|account| *account != Account::Caller);
    let (true, Some(account)) = (rustix::process::geteuid().is_root(), ordinary) else {
        return Ok(());
    };
    let user = User::new(account)?;
    let import = [
        "image",
        "import",
        "--quiet",
        "--change",
        r#"CMD ["bash"]"#,
        "debian:12",
    ];
    succeed(user.shipway(&import).arg(debian_image()?))?;
    let given = context(&user)?;
    let (steps, users) = (format!("{given}/steps"), format!("{given}/users"));
    let steps = ["build", "--no-cache", "--quiet", "--file", &steps, &given];
    let users = [
        "build",
        "--no-cache",
        "--progress=plain",
        "--file",
        &users,
        &given,
    ];
    let strongest = text(&succeed(&mut user.shipway(&steps))?);
    for preparation in ["true", ONE_ID] {
        let Some(run) = refused(&user, preparation) else {
            return Ok(());
        };
        let report = text(&succeed(&mut run(&["doctor"]))?);
        expect(
            &report,
            &[
                "isolation: B' ",
                "no  mounts: nothing can be mounted",
                "seccomp=unconfined",
            ],
        )?;
    }
    let Some(run) = refused(&user, ONE_ID) else {
        return Ok(());
    };
    let built = text(&succeed(&mut run(&steps))?);
    ensure!(built == strongest, "another image than {strongest}:\n{built}");
    let said = text(&succeed(&mut run(&users))?);
    let wanted = [
        "I am worker",
        "/srv/data worker:worker",
        "/home/worker/mine worker:worker",
    ];
    expect(&said, &wanted)?;
    for done in [" it was mounted\n", " a root was chosen\n"] {
        ensure!(!said.contains(done), "{said}");
    }
    let engine = finish(&mut run(&["engine"]))?;
    ensure!(engine.status.code() == Some(3), "{}", engine.status);
    expect(&text(&engine), &["tier B'"])?;
    // Where mounts are not refused nobody is in this tier.
    let report = text(&succeed(&mut in_place(ONE_ID, &user, &["doctor"]))?);
    ensure!(report.contains("isolation: B "), "{report}");
    // Nor has a supervisor a /proc of its own where it is masked.
    let masked = format!("{ONE_ID} && {MASK}");
    let report = text(&succeed(&mut in_place(&masked, &user, &["doctor"]))?);
    ensure!(report.contains("isolation: B' "), "{report}");
    assert_nothing_left(&user.home)
}

fn expect(text: &str, wanted: &[&str]) -> Result<()> {
    for expected in wanted {
        ensure!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
    Ok(())
}

/// Shipway of this user after `preparation`, with every mount refused from then on.
fn refused<'u>(user: &'u User, preparation: &'u str) -> Option<impl Fn(&[&str]) -> Command + 'u> {
    without_mounts(Path::new("/"))?;
    Some(move |arguments: &[&str]| {
        let plain = user.shipway(arguments);
        let mut command = without_mounts(Path::new(plain.get_program())).unwrap_or_else(|| user.shipway(&[]));
        command
            .args(plain.get_args())
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = plain.get_current_dir() {
            command.current_dir(directory);
        }
        in_place_of(preparation, user.home.account(), &command)
    })
}

/// The directory with all that is built.
fn context(user: &User) -> Result<String> {
    let given = user.home.work().join("given");
    std::fs::create_dir(&given)?;
    for (name, content) in [("users", USERS), ("steps", STEPS), ("token", "of the context")] {
        std::fs::write(given.join(name), content)?;
    }
    user.home.account().own(&given)?;
    Ok(given.display().to_string())
}
