//! RUN: a process over the present state, and the layer of what it changed.

use std::collections::BTreeMap;
use std::path::Path;

use shipway_container::{AttachFrom, Container, ContainerOptions, Network, OutputStream, Pod, Root};
use shipway_sandbox::{ExitStatus, Isolation, Mount, MountSource, what_lets_programs_run};

use super::commit::{Changes, Committed, remove_mount_points};
use super::emulation;
use super::mounts::Mounts;
use super::site::{Scratch, blocking};
use super::stage::Stage;
use crate::dockerfile::{RunCommand, Security, Step, StepNetwork};
use crate::error::{BuildError, StepError};
use crate::events;
use crate::plan::{CacheKey, Inputs, Invocation, RunInputs, invocation, run_key};
use crate::request::RunNetwork;

/// The host name of every RUN: one that is the same for everybody, since programs write it into files; BuildKit's.
const HOSTNAME: &str = "buildkitsandbox";

const SHARED_MEMORY: &str = "/dev/shm";

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
        self.permitted(run).map_err(|source| self.failed(step, source))?;
        let Invocation { argv, script } = invocation(run, self.effects.config.config.shell.as_deref());
        let env = self.environment();
        let network = self.network(run.network);
        if network != Network::None {
            self.build.recorder.network();
        }
        let mut mounts = self.mounts(step, &run.mounts).await?;
        let surroundings = self.surroundings();
        mounts.canonical.extend(surroundings);
        let parent = self.chain();
        let inputs = RunInputs {
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
        };
        let key = run_key(&inputs);
        let inputs = Inputs::of_run(&inputs, self.base_input(), |name| self.is_argument(name));
        let created_by = self.effects.run_history(&argv);
        let command = argv.join(" ");
        self.effects.keep(step, &created_by)?;
        if let Some(known) = self.find(info, step, &key, inputs).await? {
            self.record(created_by, known);
            return Ok(());
        }
        // Not earlier: what somebody else has run can be had here too.
        if self.build.site.isolation() == Isolation::Bare {
            let remedy = what_lets_programs_run();
            return Err(self.failed(step, StepError::NoRun { remedy }));
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
                command,
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

    /// Whether a variable of a RUN has the value of a build argument.
    fn is_argument(&self, name: &str) -> bool {
        let arguments = &self.effects.arguments;
        let variables = &self.effects.config.config.env;
        let is_variable = |entry: &String| entry.split_once('=').is_some_and(|(found, _)| found == name);
        arguments.over_variable(name).is_some() || !variables.iter().any(is_variable)
    }

    /// What the caller puts around every RUN, as keys have it.
    fn surroundings(&self) -> Vec<String> {
        let request = self.build.request;
        let hosts = request.extra_hosts.iter();
        let hosts = hosts.map(|(name, address)| format!("host {name} {address}"));
        hosts
            .chain(request.shm_size.map(|size| format!("shm {size}")))
            .chain(request.limits.iter().map(|limit| format!("limit {limit}")))
            .collect()
    }

    /// What goes beyond the usual is asked for twice: by the Dockerfile, and by whoever builds it.
    fn permitted(&self, run: &RunCommand) -> Result<(), StepError> {
        let allowed = &self.build.request.entitlements;
        let refused = |entitlement| Err(StepError::NotAllowed { entitlement });
        if run.network == StepNetwork::Host && !allowed.network_host {
            return refused("network.host");
        }
        if run.security == Security::Insecure && !allowed.security_insecure {
            return refused("security.insecure");
        }
        Ok(())
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
        if emulation::is_needed(&self.platform) {
            let (keeper, platform) = (pod.keeper(), self.platform.clone());
            blocking(move || emulation::enable(&keeper, &platform)).await?;
        }
        let layers = self.build.site.layers(&self.snapshot()).await?;
        let making = pod.clone();
        let scratch = blocking(move || {
            Scratch::make(&making, "run").map_err(|source| StepError::Keeper {
                action: "make room for the step",
                source,
            })
        })
        .await?;
        let mut made = self.make_mounts(&pod, mounts, &scratch.path).await?;
        let mut env: Vec<String> = self.effects.arguments.unkeyed().iter().map(assignment).collect();
        env.append(&mut made.env);
        env.extend(process.env.iter().map(assignment));
        env.append(&mut made.secret_env);
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
            made.mounts.push(Mount {
                target: path.into(),
                source: MountSource::Keeper(source),
                read_only: true,
            });
        }
        // Copies do not outlive the step.
        let unused = made.mounts.is_empty();
        let mut options = ContainerOptions::new(Root::Layers(layers));
        options.entrypoint = Some(process.argv);
        options.env = env;
        options.cwd = Some(self.effects.working_directory().into());
        options.user = Some(self.effects.config.config.user.clone());
        options.mounts = std::mem::take(&mut made.mounts);
        options.files = std::mem::take(&mut made.files);
        options.hostname = Some(HOSTNAME.to_owned());
        options.extra_hosts.clone_from(&self.build.request.extra_hosts);
        options.limits.clone_from(&self.build.request.limits);
        // Who mounts something there has a reason.
        let shared = |mount: &Mount| mount.target == Path::new(SHARED_MEMORY);
        if let Some(size) = self.build.request.shm_size
            && !options.mounts.iter().any(shared)
        {
            options.mounts.push(Mount {
                target: SHARED_MEMORY.into(),
                source: MountSource::Temporary {
                    size: Some(size),
                    mode: 0o1777,
                },
                read_only: false,
            });
        }
        options.network = process.network;
        let ended = self.run_container(&pod, info, options, key).await;
        drop(made);
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
        let mut output = container.attach(AttachFrom::StartOnce, false).output;
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
        let keeper = pod.keeper();
        let changes = Changes {
            upper: container.upper().to_owned(),
            below: container.layers().to_vec(),
            made: container.made(),
        };
        let (committer, key) = (self.build.committer.clone(), *key);
        let permit = committer.limits.begin_layer().await?;
        let layer = blocking(move || {
            let layer = committer.commit(&keeper, &changes, &key, permit)?;
            if layer.is_some() {
                remove_mount_points(&keeper, &changes.upper, &changes.made).map_err(|source| {
                    StepError::Keeper {
                        action: "tidy up behind the step",
                        source,
                    }
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
