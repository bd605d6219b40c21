//! What real Dockerfiles do, in both id maps: apt installs and starts a database, `su` and `sudo` change ids, Buildah builds
//! inside a step; and whoever started it can remove all of it.

use anyhow::{Result, ensure};
use shipway_testkit::Account;

use crate::harness::{User, assert_nothing_left, debian_image, succeed, text};

const DOCKERFILE: &str = r#"FROM debian:12
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    postgresql sudo buildah ca-certificates busybox-static >/dev/null
RUN useradd --create-home worker && echo 'worker ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/worker
RUN su worker -c 'id -un && touch ~/by-worker' && sudo -u worker sudo id -un
RUN pg_ctlcluster 15 main start \
 && su postgres -c "psql -At -c 'select 6 * 7'" \
 && pg_ctlcluster 15 main stop
RUN mkdir /context && cp /bin/busybox /context/sh \
 && printf 'FROM scratch\nCOPY sh /bin/sh\nRUN echo nested > /nested && chown 7:8 /nested\n' >/context/Dockerfile \
 && buildah --storage-driver vfs bud --isolation chroot -t nested /context \
 && buildah --storage-driver vfs rmi --all
USER worker
RUN id -un && test -O ~/by-worker && ! touch /etc/not-mine 2>/dev/null
"#;

#[test]
fn packages_databases_and_other_builders_work_in_steps() -> Result<()> {
    for account in Account::all() {
        let user = User::new(account)?;
        let tar = debian_image()?;
        succeed(
            user.shipway(&[
                "image",
                "import",
                "--quiet",
                "--change",
                r#"CMD ["bash"]"#,
                "debian:12",
            ])
            .arg(tar),
        )?;
        let context = user.home.work().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(context.join("Dockerfile"), DOCKERFILE)?;
        account.own(&context)?;
        let output = succeed(user.shipway(&["build", "--tag", "workload"]).arg(&context))?;
        let output = text(&output);
        for said in [
            " worker\n",
            " root\n",
            " 42\n",
            "Successfully tagged localhost/nested",
        ] {
            ensure!(
                output.contains(said),
                "as {}: {said:?} is missing in:\n{output}",
                account.name()
            );
        }
        assert_nothing_left(&user.home)?;
        // Layers belong to subordinate ids: the user's own tool is the way to remove them.
        succeed(&mut user.shipway(&["prune", "--all"]))?;
        let left = user.home.data().join("keeper");
        let output = succeed(user.home.command("find").arg(&left).args(["-path", "*/layers/*"]))?;
        ensure!(
            output.stdout.is_empty(),
            "as {}: left behind: {}",
            account.name(),
            text(&output)
        );
    }
    Ok(())
}
