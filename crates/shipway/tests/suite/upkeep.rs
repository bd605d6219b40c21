//! What `prune` frees, and what it leaves to those who need it.

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::Account;

use crate::harness::{RunningEngine, User, succeed, text};

/// How many layers are unpacked for pods of any ids.
fn layers(user: &User) -> Result<usize> {
    let classes = std::fs::read_dir(user.home.data().join("keeper"))?.flatten();
    Ok(classes
        .filter_map(|class| Some(std::fs::read_dir(class.path().join("layers")).ok()?.count()))
        .sum())
}

#[test]
fn beside_an_engine_prune_says_that_layers_stay_and_frees_the_rest() -> Result<()> {
    for account in Account::all() {
        let user = User::new(account)?;
        let context = user.home.work().join("context");
        std::fs::create_dir(&context)?;
        std::fs::copy("/bin/busybox", context.join("busybox"))?;
        std::fs::write(
            context.join("Dockerfile"),
            "FROM scratch\nCOPY busybox /bin/\nRUN [\"/bin/busybox\", \"touch\", \"/made\"]\n",
        )?;
        account.own(&context)?;
        succeed(user.shipway(&["build", "--quiet"]).arg(&context))?;
        ensure!(layers(&user)? > 0, "nothing was unpacked");

        let engine = RunningEngine::start(&user)?;
        let said = text(&succeed(&mut user.shipway(&["prune", "--all"]))?);
        ensure!(
            said.contains("blobs removed")
                && said.contains("the unpacked layers stay")
                && said.contains("run `shipway prune --all` again"),
            "as {}: {said}",
            account.name()
        );
        ensure!(layers(&user)? > 0, "an engine may use them");
        let figures = succeed(&mut user.shipway(&["prune", "--all", "--json"]))?;
        let figures: serde_json::Value = serde_json::from_slice(&figures.stdout)?;
        ensure!(
            figures["layers_in_use"] == true && figures["removed_blobs"].is_u64(),
            "{figures}"
        );

        engine.end().context("ending the engine")?;
        let said = text(&succeed(&mut user.shipway(&["prune", "--all"]))?);
        ensure!(
            said.contains("unpacked layers removed") && layers(&user)? == 0,
            "as {}: {said}",
            account.name()
        );
    }
    Ok(())
}
