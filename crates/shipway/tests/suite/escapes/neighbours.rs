//! A hostile job beside another project's job that runs: its engine, its services and its containers, by address and by name.
//!
//! The neighbour reaches each of these itself, in the words of the attack, before the hostile job begins; so what the attack
//! does not find was there to be found.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use shipway_testkit::{Account, git_repository, wait_for};

use crate::harness::{SUITES, User, assert_nothing_left, finish, text};

/// What everything of the neighbour's answers.
const WORD: &str = "word-of-the-neighbour";

const NEIGHBOUR: &str = "\
neighbour:
  image: docker:24.0.5-cli
  services:
    - docker:24.0.5-dind
    - name: busybox:1.36
      alias: vault
      command: [sh, -c, 'while true; do echo word-of-the-neighbour | nc -l -p 7000; done']
  variables:
    DOCKER_TLS_CERTDIR: ''
    DOCKER_HOST: tcp://docker:2375
  script:
    - |
      (while true; do echo word-of-the-neighbour | nc -l -p 7001; done) &
      docker run --detach --name of-the-neighbour --publish 7002:7002 --volume /kept busybox:1.36 sh -c \\
        'echo word-of-the-neighbour > /kept/word; while true; do cat /kept/word | nc -l -p 7002; done'
      docker tag busybox:1.36 image-of-the-neighbour
      sh find vault 127.0.0.1 docker > found; cat found
      for way in vault:7000 127.0.0.1:7001 docker:7002 engine:docker; do grep \"^$way \" found || exit 1; done
      ip -4 -o address | sed -n 's/.* inet \\(198[.0-9]*\\).*/\\1/p' > addresses
      for name in vault docker; do nslookup $name | sed -n 's/^Address.* \\(198[.0-9]*\\)$/\\1/p' >> addresses; done
      echo \"addresses $(sort -u addresses | tr '\\n' ' ')\"
      echo \"the neighbour $((6 * 7)) listens\"
      while true; do sleep 1; done
";

/// Asks everything at each of its arguments, and says what answered with the neighbour's word. All at once: an address that
/// nobody has is waited for.
const FIND: &str = r#"
for at in "$@"; do
  for port in 7000 7001 7002; do
    (nc -w 3 "$at" "$port" </dev/null 2>/dev/null | grep -q word-of-the-neighbour && echo "$at:$port answered") &
  done
  (DOCKER_HOST=tcp://$at:2375 timeout 20 docker ps 2>/dev/null | grep -q of-the-neighbour && echo "engine:$at answered") &
done
wait
"#;

const HOSTILE: &str = "\
hostile:
  image: docker:24.0.5-cli
  services:
    - docker:24.0.5-dind
  variables:
    DOCKER_TLS_CERTDIR: ''
    DOCKER_HOST: tcp://docker:2375
  script:
    - sh find vault neighbour of-the-neighbour docker $ADDRESSES
    - |
      try() { if \"$@\" >said 2>&1; then echo \"answered: $*\"; cat said; fi; }
      try docker exec of-the-neighbour cat /kept/word
      try docker run --rm --network container:of-the-neighbour busybox:1.36 nc -w 3 127.0.0.1 7002
      try docker run --rm --volumes-from of-the-neighbour busybox:1.36 cat /kept/word
      try docker run --rm image-of-the-neighbour true
      try docker run --rm --link of-the-neighbour:vault busybox:1.36 true
      for at in $ADDRESSES; do
        printf 'FROM busybox:1.36\\nADD http://%s:7001/word /word\\nRUN cat /word\\n' $at > Dockerfile
        try docker build .
      done
    - echo all was tried
";

/// A run of the neighbour's that says when it listens; killed with the value if it was not ended.
struct Neighbour {
    process: Child,
    reader: Option<std::thread::JoinHandle<()>>,
    addresses: String,
}

impl Neighbour {
    fn start(user: &User, repository: &Path) -> Result<Self> {
        let mut run = user.shipway(&["run"]);
        let mut process = run
            .current_dir(repository)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
        let (mut said, mut addresses) = (String::new(), String::new());
        loop {
            let Some(line) = lines.next().transpose()? else {
                anyhow::bail!("the neighbour ended before it listened:\n{said}");
            };
            if let Some((_, found)) = line.split_once("| addresses ") {
                addresses = found.trim().to_owned();
            }
            if line.contains("the neighbour 42 listens") {
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        // Whoever reads no further must not stop the run.
        let reader = std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            process,
            reader: Some(reader),
            addresses,
        })
    }

    fn end(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?).context("a process number")?;
        kill_process(pid, Signal::INT)?;
        wait_for(Duration::from_secs(30), || {
            match self.process.try_wait().map_err(|error| error.to_string())? {
                Some(_) => Ok(()),
                None => Err("the neighbour still runs".to_owned()),
            }
        })?;
        if let Some(reader) = self.reader.take() {
            // It ends with the run's output.
            let _ = reader.join();
        }
        Ok(())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_hostile_job_finds_nothing_of_a_job_beside_it() -> Result<()> {
    for account in Account::all() {
        let user = User::with_base_images(account, SUITES[0])?;
        let mut repositories = Vec::new();
        for (project, pipeline) in [("group/neighbour", NEIGHBOUR), ("group/hostile", HOSTILE)] {
            let files = tempfile::tempdir()?;
            std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
            std::fs::write(files.path().join("find"), FIND)?;
            super::let_everybody_read(files.path())?;
            repositories.push(git_repository(&user.home, files.path(), project, "main")?);
        }
        let mut neighbour = Neighbour::start(&user, &repositories[0])?;
        ensure!(
            neighbour.addresses.starts_with("198.18."),
            "as {}: the neighbour's addresses are {:?}",
            account.name(),
            neighbour.addresses
        );
        let mut hostile = user.shipway(&["run", "--variable"]);
        hostile.arg(format!("ADDRESSES={}", neighbour.addresses));
        let trace = text(&finish(hostile.current_dir(&repositories[1]))?);
        ensure!(
            trace.lines().any(|line| line.ends_with("| all was tried")),
            "as {}: the attacks were not made:\n{trace}",
            account.name()
        );
        // The engine's own pod answers to `docker`, with nothing of the neighbour's.
        let answered = |line: &&str| line.contains("answered") && !line.contains("echo");
        let found: Vec<&str> = trace.lines().filter(answered).collect();
        ensure!(
            found.is_empty() && !trace.contains(WORD),
            "as {}: {found:?}\n{trace}",
            account.name()
        );
        ensure!(
            neighbour.process.try_wait()?.is_none(),
            "as {}: the neighbour ended",
            account.name()
        );
        neighbour.end()?;
        assert_nothing_left(&user.home)?;
    }
    Ok(())
}
