//! Everybody on one store at once: a registry with clients that push and pull, pipelines that build and push, an engine's kind of
//! work by `build`, and all that while collections run. Nobody is told of an error, and nothing that was acknowledged is lost.
//!
//! What each of them does alone is tested elsewhere; here only that none takes from another what it needs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Peer, Tar, git_repository};

use crate::harness::{
    CREDENTIALS, Ledger, Registry, SUITES, User, after_collection, assert_nothing_left, finish, succeed, text,
};

/// How often each does at least what it does, and at most: it goes on until something was collected.
const TIMES: std::ops::Range<usize> = 4..60;
/// What nobody has used for this time is collected. Longer than any client takes from its first blob to its manifest.
const GRACE: &str = "10s";

/// A job that builds on an image of its own, pushes it, and runs what it pushed.
const PIPELINE: &str = "\
work:
  image: docker:24.0.5-cli
  services: [docker:24.0.5-dind]
  variables:
    DOCKER_HOST: tcp://docker:2375
    DOCKER_TLS_CERTDIR: ''
    DOCKER_BUILDKIT: '0'
    IMAGE: $CI_REGISTRY_IMAGE:run
  script:
    - echo \"$CI_REGISTRY_PASSWORD\" | docker login $CI_REGISTRY -u $CI_REGISTRY_USER --password-stdin
    - for n in $(seq 4); do echo $CI_JOB_ID-$n > unique; docker build --tag $IMAGE-$WHO-$n .; docker push $IMAGE-$WHO-$n;
      docker rmi $IMAGE-$WHO-$n; docker pull $IMAGE-$WHO-$n; docker run --rm $IMAGE-$WHO-$n cmp /unique /copied; done
  artifacts: {paths: [unique]}
";

/// What one of them does.
type Work<'a> = &'a (dyn Fn(&Shared<'_>) -> Result<()> + Sync);

/// What the store of the test is used by.
struct Shared<'a> {
    user: &'a User,
    registry: &'a Registry,
    skopeo: &'a Peer,
    ledger: Mutex<Ledger>,
    /// How many are at work, collections not counted.
    working: AtomicUsize,
    /// How many blobs were removed.
    collected: AtomicUsize,
}

impl Shared<'_> {
    /// The numbers of what is done, until it has been done often enough.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        (0..TIMES.end)
            .take_while(|number| *number < TIMES.start || self.collected.load(Ordering::SeqCst) == 0)
    }

    fn holds(&self, name: &str) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.holds(name, "sha256:");
    }

    /// Pushes an image over HTTP, pulls it, and compares what came back.
    fn push_and_pull(&self, who: &str) -> Result<()> {
        for number in self.numbers() {
            let name = format!("together/pushed:{who}-{number}-image");
            let directory = self.user.home.work().join(format!("{who}-{number}"));
            std::fs::create_dir(&directory)?;
            self.user.home.account().own(&directory)?;
            let tar = directory.join("image.tar");
            let root = Tar::new().file("name", &name).file("more", name.repeat(20_000));
            std::fs::write(directory.join("root.tar"), root.bytes())?;
            let local = format!("together/{who}-{number}:1");
            let mut import = self.user.shipway(&["image", "import", "--quiet", &local]);
            succeed(import.arg(directory.join("root.tar")))?;
            succeed(
                self.user
                    .shipway(&["image", "save", "--output"])
                    .args([tar.as_os_str(), local.as_ref()]),
            )?;
            self.copy(&format!("docker-archive:{}", tar.display()), &self.remote(&name))?;
            self.holds(&name);
            let pulled = directory.join("pulled");
            self.copy(&self.remote(&name), &format!("dir:{}", pulled.display()))?;
            // The only name it has here goes; the registry's stays.
            succeed(&mut self.user.shipway(&["image", "rm", &local]))?;
        }
        Ok(())
    }

    fn remote(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address)
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        let mut command = self.user.home.command(self.skopeo.path());
        command.args(["--insecure-policy", "copy"]);
        for (side, place) in [("src", from), ("dest", to)] {
            if place.starts_with("docker://") {
                command.arg(format!("--{side}-tls-verify=false"));
                command.args([&format!("--{side}-creds"), CREDENTIALS]);
            }
        }
        succeed(command.args([from, to])).map(drop)
    }

    /// Builds with a cache that others use, too, and pushes.
    fn build(&self, context: &Path) -> Result<()> {
        for number in self.numbers() {
            let name = format!("together/built:{number}-image");
            let tag = format!("registry.shipway.internal/{name}");
            let argument = format!("NUMBER={number}");
            let mut build = self.user.shipway(&["build", "--quiet", "--push", "--tag", &tag]);
            succeed(build.args(["--build-arg", &argument]).arg(context))?;
            self.holds(&name);
        }
        Ok(())
    }

    fn run(&self, repository: &Path, who: &str) -> Result<()> {
        let mut run = self.user.shipway(&["run", "--variable", &format!("WHO={who}")]);
        succeed(run.current_dir(repository))?;
        for number in 1..=4 {
            self.holds(&format!("group/project:run-{who}-{number}"));
        }
        Ok(())
    }

    /// Collects as often as it can while others work.
    fn collect(&self, arguments: &[&str]) -> Result<usize> {
        let mut times = 0;
        while self.working.load(Ordering::SeqCst) > 0 {
            let output = finish(&mut self.user.shipway(arguments))?;
            ensure!(output.status.success(), "{arguments:?}: {}", text(&output));
            times += 1;
            let said = text(&output);
            let removed = said
                .split(" blobs")
                .next()
                .and_then(|figures| figures.split_whitespace().last());
            let removed = removed.and_then(|number| number.parse().ok()).unwrap_or(0);
            if arguments.contains(&GRACE) {
                self.collected.fetch_add(removed, Ordering::SeqCst);
            }
        }
        Ok(times)
    }
}

fn new_user(account: Account) -> Result<(User, PathBuf, PathBuf)> {
    let user = User::with_base_images(account, SUITES[0])?;
    user.add_tester()?;
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join(".gitlab-ci.yml"), PIPELINE)?;
    std::fs::write(
        files.path().join("Dockerfile"),
        "FROM busybox:1.36\nCOPY unique /\nRUN cp /unique /copied\n",
    )?;
    succeed(Command::new("chmod").args(["-R", "a+rX"]).arg(files.path()))?;
    let repository = git_repository(&user.home, files.path(), "group/project", "main")?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM busybox:1.36\nRUN echo shared > /shared\nARG NUMBER\nRUN echo $NUMBER > /number\n",
    )?;
    // For the collections.
    let tar = user.home.work().join("rubbish.tar");
    std::fs::write(&tar, Tar::new().file("rubbish", "of nobody").bytes())?;
    succeed(
        user.shipway(&["image", "import", "--quiet", "rubbish:1"])
            .arg(&tar),
    )?;
    succeed(&mut user.shipway(&["image", "rm", "rubbish:1"]))?;
    for path in [&context, &user.home.work()] {
        account.own(path)?;
    }
    Ok((user, repository, context))
}

#[test]
fn everybody_works_on_one_store_while_it_is_collected() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    for account in Account::all() {
        let (user, repository, context) = new_user(account)?;
        let registry = user.serve_again(&[])?;
        let works: [Work<'_>; 5] = [
            &|shared| shared.push_and_pull("one"),
            &|shared| shared.push_and_pull("two"),
            &|shared| shared.build(&context),
            &|shared| shared.run(&repository, "first"),
            &|shared| shared.run(&repository, "second"),
        ];
        let shared = Shared {
            user: &user,
            registry: &registry,
            skopeo: &skopeo,
            ledger: Mutex::default(),
            working: AtomicUsize::new(works.len()),
            collected: AtomicUsize::default(),
        };
        std::thread::scope(|scope| {
            let working = works.map(|work| {
                let shared = &shared;
                scope.spawn(move || {
                    let outcome = work(shared);
                    shared.working.fetch_sub(1, Ordering::SeqCst);
                    outcome
                })
            });
            let collecting = [
                ["gc", "--grace", GRACE].as_slice(),
                &["prune"],
                &["prune", "--all"],
                &["gc", "--untagged=1h"],
            ]
            .map(|arguments| {
                let shared = &shared;
                scope.spawn(move || shared.collect(arguments))
            });
            for work in working {
                work.join().expect("a client")?;
            }
            for collection in collecting {
                let times = collection.join().expect("a collection")?;
                ensure!(times > 1, "it was collected {times} times");
            }
            let collected = shared.collected.load(Ordering::SeqCst);
            ensure!(collected > 0, "nothing was collected meanwhile");
            Ok(())
        })
        .with_context(|| format!("as {}", account.name()))?;
        let ledger = shared.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
        let status = registry.end()?;
        ensure!(status.success(), "the registry ended with {status}");
        assert_nothing_left(&user.home)?;
        ledger.compare(&user)?;
        after_collection(&user)?;
        ledger.compare(&user)?;
    }
    Ok(())
}
