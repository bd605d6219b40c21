//! Flags of `docker build` and `docker buildx build` that mean nothing here. They are taken, so that scripts run unchanged, and
//! those that ask for something are answered with one line.

use clap::Args;

use crate::screen;

/// The arguments without an effect.
#[derive(Debug, Args)]
pub(super) struct AcceptedArguments {
    /// No effect: there is one builder, this one
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    builder: Option<String>,
    /// No effect: steps are in no control group of their own
    #[arg(long, value_name = "GROUP", hide_short_help = true)]
    cgroup_parent: Option<String>,
    /// No effect: containers of steps are always removed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_short_help = true)]
    rm: Option<String>,
    /// No effect: containers of steps are always removed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_short_help = true)]
    force_rm: Option<String>,
    /// No effect: the context is not sent anywhere
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide = true)]
    compress: Option<String>,
    /// No effect
    #[arg(long, value_name = "NAME", hide = true)]
    isolation: Option<String>,
    /// No effect: `[limits]` of the configuration bounds a build
    #[arg(short, long, value_name = "SIZE", hide = true)]
    memory: Option<String>,
    /// No effect
    #[arg(long, value_name = "SIZE", hide = true)]
    memory_swap: Option<String>,
    /// No effect
    #[arg(short, long, value_name = "WEIGHT", hide = true)]
    cpu_shares: Option<String>,
    /// No effect
    #[arg(long, value_name = "MICROSECONDS", hide = true)]
    cpu_period: Option<String>,
    /// No effect
    #[arg(long, value_name = "MICROSECONDS", hide = true)]
    cpu_quota: Option<String>,
    /// No effect
    #[arg(long, value_name = "LIST", hide = true)]
    cpuset_cpus: Option<String>,
    /// No effect
    #[arg(long, value_name = "LIST", hide = true)]
    cpuset_mems: Option<String>,
    /// No effect
    #[arg(long, value_name = "OPTION", hide = true)]
    security_opt: Vec<String>,
}

impl AcceptedArguments {
    /// Says what was asked for and is not there. That containers are removed needs no word: they are.
    pub(super) fn tell(&self) {
        for name in self.without_effect() {
            screen::warning(&format!("--{name} has no effect here"));
        }
    }

    fn without_effect(&self) -> Vec<&'static str> {
        let given = [
            ("cgroup-parent", self.cgroup_parent.is_some()),
            ("isolation", self.isolation.is_some()),
            ("memory", self.memory.is_some()),
            ("memory-swap", self.memory_swap.is_some()),
            ("cpu-shares", self.cpu_shares.is_some()),
            ("cpu-period", self.cpu_period.is_some()),
            ("cpu-quota", self.cpu_quota.is_some()),
            ("cpuset-cpus", self.cpuset_cpus.is_some()),
            ("cpuset-mems", self.cpuset_mems.is_some()),
            ("security-opt", !self.security_opt.is_empty()),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::AcceptedArguments;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        accepted: AcceptedArguments,
    }

    #[test]
    fn what_docker_takes_is_taken() {
        let words = "build --rm --force-rm=false --compress -m 1g --memory-swap=-1 -c 2 --cpu-quota 1 \
                     --cgroup-parent x --builder default --isolation=default --security-opt a=b";
        let line = Line::try_parse_from(words.split_whitespace()).unwrap();
        assert_eq!(
            line.accepted.without_effect(),
            [
                "cgroup-parent",
                "isolation",
                "memory",
                "memory-swap",
                "cpu-shares",
                "cpu-quota",
                "security-opt"
            ]
        );
    }
}
