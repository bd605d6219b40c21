//! RUN: a process over the present state, and the layer of what it changed.

use std::collections::BTreeMap;

use shipway_container::{AttachFrom, Container, ContainerOptions, Network, OutputStream, Pod, Root};
use shipway_sandbox::{ExitStatus, Mount, MountSource};

use super::commit::{Committed, remove_mount_points};
use super::mounts::Mounts;
use super::site::{Scratch, blocking};
use super::stage::Stage;
use crate::dockerfile::{RunCommand, Security, Step, StepNetwork};
use crate::error::{BuildError, StepError};
use crate::events;
use crate::plan::{CacheKey, Invocation, RunInputs, invocation, run_key};
use crate::request::RunNetwork;

/// The host name of every RUN: one that is the same for everybody, since programs write it into files; BuildKit's.
const HOSTNAME: &str = "buildkitsandbox";

/// How a RUN ended, if it did not end well.
enum Ended {
    Well(Option<Box<Committed>>),
    Failed { exit_code: i32 },
}

impl Stage<'_> {
    pub(super) async fn run(
        &mut self,
        info: &events::Step<'_>,
        step: &Step,
        run: &RunCommand,
    ) -> Result<(), BuildError> {
        if run.security == Security::Insecure {
            let what = "RUN --security=insecure".to_owned();
            return Err(self.failed(step, StepError::Unsupported { what }));
        }
        let Invocation { argv, script } = invocation(run, self.effects.config.config.shell.as_deref());
        let env = self.environment();
        let network = self.network(run.network);
        let mounts = self.mounts(step, &run.mounts).await?;
        let parent = self.snapshot().chain();
        let key = run_key(&RunInputs {
            parent: parent.as_ref(),
            platform: &self.platform,
            epoch: self.build.committer.epoch,
            argv: &argv,
            script: script.as_ref().map(|(_, text)| text.as_str()),
            env: &env,
            user: &self.effects.config.config.user,
            cwd: &self.effects.working_directory(),
            network: if network == Network::None { "none" } else { "pod" },
            mounts: &mounts.canonical,
        });
        let created_by = format!("RUN {}", argv.join(" "));
        if let Some(known) = self.find(info, step, &key).await? {
            self.record(created_by, known);
            return Ok(());
        }
        let process = Process {
            argv,
            script,
            env,
            network,
        };
        match self
            .execute(info, process, mounts, &key)
            .await
            .map_err(|source| self.failed(step, source))?
        {
            Ended::Well(layer) => {
                let layer = self.keep(step, &key, layer.map(|layer| *layer));
                self.record(created_by, layer);
                Ok(())
            }
            Ended::Failed { exit_code } => Err(BuildError::Run {
                exit_code,
                file: self.build.file.name.clone(),
                line: step.location.line,
                command: created_by.trim_start_matches("RUN ").to_owned(),
            }),
        }
    }

    /// The variables of the stage: of an ENV and an ARG the later one. Proxy settings that nobody declared come later, past
    /// the key.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut env = self.effects.arguments.keyed();
        for entry in &self.effects.config.config.env {
            if let Some((name, value)) = entry.split_once('=')
                && self.effects.arguments.over_variable(name).is_none()
            {
                env.insert(name.to_owned(), value.to_owned());
            }
        }
        env
    }

    fn network(&self, wanted: StepNetwork) -> Network {
        match (wanted, self.build.request.network) {
            (StepNetwork::None, _) | (_, RunNetwork::None) => Network::None,
            (StepNetwork::Host, RunNetwork::Pod) => {
                self.build
                    .warn("RUN --network=host: the step gets the pod's network, not the host's");
                Network::Pod
            }
            (StepNetwork::Default, RunNetwork::Pod) => Network::Pod,
        }
    }

    async fn execute(
        &self,
        info: &events::Step<'_>,
        process: Process,
        mounts: Mounts,
        key: &CacheKey,
    ) -> Result<Ended, StepError> {
        let pod = self.build.site.pod().await?.clone();
        let layers = self.build.site.layers(&self.snapshot()).await?;
        let making = pod.clone();
        let scratch = blocking(move || {
            Scratch::make(&making, "run").map_err(|source| StepError::Keeper {
                action: "make room for the step",
                source,
            })
        })
        .await?;
        let mut env: Vec<String> = self.effects.arguments.unkeyed().iter().map(assignment).collect();
        env.extend(process.env.iter().map(assignment));
        env.extend(mounts.secret_env.iter().cloned());
        // Held until the process has ended.
        let _locks = self.lock_caches(&mounts).await?;
        let mut made = self.make_mounts(&pod, mounts, &scratch.path).await?;
        if let Some((path, text)) = process.script {
            let (keeper, place) = (pod.keeper(), scratch.path.join("script"));
            let source = place.clone();
            blocking(move || {
                keeper
                    .write_file(&place, text.as_bytes(), 0o755, (0, 0))
                    .map_err(|source| StepError::Keeper {
                        action: "write the heredoc of the step",
                        source,
                    })
            })
            .await?;
            made.push(Mount {
                target: path.into(),
                source: MountSource::Keeper(source),
                read_only: true,
            });
        }
        // Secrets and copies do not outlive the step.
        let unused = made.is_empty();
        let mut options = ContainerOptions::new(Root::Layers(layers));
        options.entrypoint = Some(process.argv);
        options.env = env;
        options.cwd = Some(self.effects.working_directory().into());
        options.user = Some(self.effects.config.config.user.clone());
        options.mounts = made;
        options.hostname = Some(HOSTNAME.to_owned());
        options.network = process.network;
        let ended = self.run_container(&pod, info, options, key).await;
        if unused {
            self.build.site.discard(scratch).await?;
        } else {
            blocking(move || {
                scratch.remove();
                Ok(())
            })
            .await?;
        }
        ended
    }

    async fn run_container(
        &self,
        pod: &Pod,
        info: &events::Step<'_>,
        options: ContainerOptions,
        key: &CacheKey,
    ) -> Result<Ended, StepError> {
        let container = pod
            .create(options)
            .await
            .map_err(|source| StepError::Create { source })?;
        let guard = Guard {
            container: Some(container.clone()),
        };
        let mut output = container.attach(AttachFrom::Start, false).output;
        container
            .start()
            .await
            .map_err(|source| StepError::Start { source })?;
        while let Some(chunk) = output
            .chunk()
            .await
            .map_err(|source| StepError::Output { source })?
        {
            self.build.events.output(info, chunk.stream, &chunk.bytes);
        }
        let exit_code = match container.wait().await {
            ExitStatus::Code(0) => {
                let layer = self.changes(pod, &container, key).await?;
                // What is left of it has no size. A pod of our own takes it along.
                if self.build.site.is_given() {
                    guard.remove().await?;
                }
                return Ok(Ended::Well(layer.map(Box::new)));
            }
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => {
                let note = format!("the command was killed by signal {signal}\n");
                self.build
                    .events
                    .output(info, OutputStream::Stderr, note.as_bytes());
                128 + signal
            }
        };
        guard.remove().await?;
        Ok(Ended::Failed { exit_code })
    }

    /// The layer of what a container changed; its upper directory becomes the unpacked one.
    async fn changes(
        &self,
        pod: &Pod,
        container: &Container,
        key: &CacheKey,
    ) -> Result<Option<Committed>, StepError> {
        let (keeper, upper, made) = (pod.keeper(), container.upper().to_owned(), container.made());
        let (committer, key) = (self.build.committer.clone(), *key);
        let permit = committer.limits.begin_layer().await?;
        let layer = blocking(move || {
            let layer = committer.commit(&keeper, &upper, &made, &key, permit)?;
            if layer.is_some() {
                remove_mount_points(&keeper, &upper, &made).map_err(|source| StepError::Keeper {
                    action: "tidy up behind the step",
                    source,
                })?;
            }
            Ok(layer)
        })
        .await?;
        if let Some(committed) = &layer {
            self.adopt(pod, container.upper(), committed).await?;
        }
        Ok(layer)
    }
}

/// The process of a RUN.
struct Process {
    argv: Vec<String>,
    script: Option<(String, String)>,
    env: BTreeMap<String, String>,
    network: Network,
}

fn assignment((name, value): (&String, &String)) -> String {
    format!("{name}={value}")
}

/// Removes the container of a step however the step ends, a dropped build included.
struct Guard {
    container: Option<Container>,
}

impl Guard {
    async fn remove(mut self) -> Result<(), StepError> {
        match self.container.take() {
            Some(container) => container
                .remove(true)
                .await
                .map_err(|source| StepError::Control { source }),
            None => Ok(()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (Some(container), Ok(runtime)) = (self.container.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move {
                if let Err(error) = container.remove(true).await {
                    tracing::debug!(%error, "the container of an abandoned step stays until its pod ends");
                }
            });
        }
    }
}
