//! A hostile job after another project's: its images, its blobs by digest, its build cache and its `cache`, to read or to poison.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{SUITES, User, assert_nothing_left, finish, text};

/// Its second step makes something else each time that it runs: the same again came from a cache.
const DOCKERFILE: &str = "\
FROM busybox:1.36
RUN cat /proc/sys/kernel/random/uuid > /made
";

const OWNER: &str = "\
build:
  image: docker:24.0.5-cli
  services: [docker:24.0.5-dind]
  cache:
    key: shared
    paths: [kept]
  script:
    - cat kept/word 2>/dev/null && echo \"the cache is back\" || true
    - mkdir -p kept; echo word-of-the-owner > kept/word
    - echo \"$CI_REGISTRY_PASSWORD\" | docker login --username \"$CI_REGISTRY_USER\" --password-stdin \"$CI_REGISTRY\"
    - docker build --tag \"$CI_REGISTRY_IMAGE:1\" .
    - docker push \"$CI_REGISTRY_IMAGE:1\"
    - echo \"made $(docker run --rm \"$CI_REGISTRY_IMAGE:1\" cat /made)\"
    - echo \"image $(docker inspect --format '{{.Id}}' \"$CI_REGISTRY_IMAGE:1\")\"
    - echo \"digest $(docker inspect --format '{{index .RepoDigests 0}}' \"$CI_REGISTRY_IMAGE:1\" | sed 's/.*@//')\"
";

const HOSTILE: &str = "\
attack:
  image: docker:24.0.5-cli
  services: [docker:24.0.5-dind]
  cache:
    key: shared
    paths: [kept]
  script:
    - |
      try() { if \"$@\" >said 2>&1; then echo \"got out: $*\"; cat said; fi; }
      echo \"$CI_REGISTRY_PASSWORD\" | docker login --username \"$CI_REGISTRY_USER\" --password-stdin \"$CI_REGISTRY\"
      try cat kept/word
      theirs=$CI_REGISTRY/group/owner
      try docker run --rm $theirs:1 true
      try docker pull $theirs:1
      try docker pull $theirs@$DIGEST
      try docker run --rm $IMAGE true
      try docker save --output taken $IMAGE
      try docker tag $IMAGE $CI_REGISTRY_IMAGE:1
      try docker push $theirs:1
      printf 'FROM %s:1\\n' $theirs | try docker build -
      printf 'FROM %s@%s\\n' $theirs $DIGEST | try docker build -
      printf 'FROM busybox:1.36\\nCOPY --from=%s:1 /made /made\\n' $theirs | try docker build -
      try docker build --cache-from $theirs:1 --tag \"$CI_REGISTRY_IMAGE:2\" .
      echo \"made $(docker run --rm \"$CI_REGISTRY_IMAGE:2\" cat /made)\"
      mkdir -p kept; echo poisoned > kept/word
      echo \"all was tried\"
";

struct Projects {
    user: User,
    owner: PathBuf,
    hostile: PathBuf,
}

impl Projects {
    fn new(account: Account) -> Result<Self> {
        let user = User::with_base_images(account, SUITES[0])?;
        let repository = |project, pipeline: &str| {
            let files = tempfile::tempdir()?;
            std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
            std::fs::write(files.path().join("Dockerfile"), DOCKERFILE)?;
            super::let_everybody_read(files.path())?;
            git_repository(&user.home, files.path(), project, "main")
        };
        Ok(Self {
            owner: repository("group/owner", OWNER)?,
            hostile: repository("group/hostile", HOSTILE)?,
            user,
        })
    }
}

/// What a job said after a word at the beginning of a line.
fn said<'a>(trace: &'a str, word: &str) -> Result<&'a str> {
    trace
        .lines()
        .find_map(|line| line.split_once(&format!("| {word} ")))
        .map(|(_, rest)| rest.trim())
        .with_context(|| format!("no `{word}` in:\n{trace}"))
}

#[test]
fn a_hostile_job_gets_nothing_of_another_project_nor_changes_it() -> Result<()> {
    for account in Account::all() {
        let place = Projects::new(account)?;
        let own = |repository| -> Result<String> {
            let trace = text(&finish(place.user.shipway(&["run"]).current_dir(repository))?);
            Ok(trace)
        };
        let first = own(&place.owner)?;
        let made = said(&first, "made")?;

        let mut run = place.user.shipway(&["run"]);
        for (name, word) in [("IMAGE", "image"), ("DIGEST", "digest")] {
            run.arg("--variable")
                .arg(format!("{name}={}", said(&first, word)?));
        }
        let attacked = text(&finish(run.current_dir(&place.hostile))?);
        ensure!(
            attacked.lines().any(|line| line.ends_with("| all was tried")),
            "as {}: the attacks were not made:\n{attacked}",
            account.name()
        );
        let got_out: Vec<&str> = attacked
            .lines()
            .filter(|line| line.contains("| got out: ") && !line.contains("--cache-from"))
            .collect();
        ensure!(
            got_out.is_empty() && !attacked.contains("word-of-the-owner"),
            "as {}: {got_out:?}\n{attacked}",
            account.name()
        );
        ensure!(
            said(&attacked, "made")? != made,
            "as {}: what another project had made came out of its cache:\n{attacked}",
            account.name()
        );

        // The owner still has all of its own: what the attack put under the same names is another project's.
        let again = own(&place.owner)?;
        ensure!(
            said(&again, "made")? == made
                && again.contains("| word-of-the-owner")
                && again.contains("| the cache is back"),
            "as {}: `made` was {made}, and now:\n{again}",
            account.name()
        );
        ensure!(!again.contains("poisoned"), "as {}:\n{again}", account.name());
        assert_nothing_left(&place.user.home)?;
    }
    Ok(())
}
