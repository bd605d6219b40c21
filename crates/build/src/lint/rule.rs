//! The rules by name, with where people read about each.

use std::fmt;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident $page:literal $description:literal),* $(,)?) => {
        /// A rule, under BuildKit's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $rule),* }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$rule),*];

            /// Its name, as `# check=skip=` has it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$rule => stringify!($rule)),* }
            }

            /// What it asks for, in one sentence.
            pub fn description(self) -> &'static str {
                match self { $(Self::$rule => $description),* }
            }

            fn page(self) -> &'static str {
                match self { $(Self::$rule => $page),* }
            }
        }
    };
}

rules! {
    /// `FROM x AS Name`
    StageNameCasing "stage-name-casing"
        "The names of stages are written in lower case",
    /// `FROM x as y`
    FromAsCasing "from-as-casing"
        "FROM and its AS are written in the same case",
    /// An empty line between the lines of an instruction.
    NoEmptyContinuation "no-empty-continuation"
        "No empty line stands inside of an instruction, which Dockerfiles will not allow for ever",
    /// `FROM` and `run` in one file.
    ConsistentInstructionCasing "consistent-instruction-casing"
        "All instructions of a file are written in the same case",
    /// Two stages of one name.
    DuplicateStageName "duplicate-stage-name"
        "Every stage has a name of its own",
    /// A stage called `scratch` or `context`.
    ReservedStageName "reserved-stage-name"
        "No stage has a name that means something else",
    /// `CMD run --fast`
    JSONArgsRecommended "json-args-recommended"
        "CMD and ENTRYPOINT have the JSON form, so that signals reach the program and not a shell",
    /// `MAINTAINER`
    MaintainerDeprecated "maintainer-deprecated"
        "The author of an image is a label, and no longer a MAINTAINER",
    /// `FROM $undeclared`
    UndefinedArgInFrom "undefined-arg-in-from"
        "FROM uses arguments that are declared in front of the first FROM",
    /// `WORKDIR x` before any `WORKDIR /x`
    WorkdirRelativePath "workdir-relative-path"
        "A relative WORKDIR comes after an absolute one, since a base image may change its own",
    /// `COPY $undeclared /`
    UndefinedVar "undefined-var"
        "Variables are defined before they are used",
    /// Two `CMD` in a stage.
    MultipleInstructionsDisallowed "multiple-instructions-disallowed"
        "An instruction of which only the last counts is there once in a stage",
    /// `ENV name value`
    LegacyKeyValueFormat "legacy-key-value-format"
        "Names and values are joined with an equals sign",
    /// A base for another processor.
    InvalidBaseImagePlatform ""
        "A base image is for the platform that is built for",
    /// `FROM --platform=$TARGETPLATFORM`
    RedundantTargetPlatform "redundant-target-platform"
        "FROM is for the target's platform without being told",
    /// `ENV PASSWORD=…`
    SecretsUsedInArgOrEnv "secrets-used-in-arg-or-env"
        "Secrets are mounted and no part of ARG or ENV, which everybody who has the image can read",
    /// `ARG TAG` with `FROM x:$TAG`
    InvalidDefaultArgInFrom "invalid-default-arg-in-from"
        "The defaults of arguments alone give every FROM the name of an image",
    /// `FROM --platform=linux/amd64`
    FromPlatformFlagConstDisallowed "from-platform-flag-const-disallowed"
        "The platform of a FROM is no constant, so that the file builds for others, too",
    /// COPY of what the ignore file names.
    CopyIgnoredFile "copy-ignored-file"
        "COPY and ADD take files that the ignore file leaves in the context",
    /// A comment above ARG or FROM that does not begin with its name.
    InvalidDefinitionDescription "invalid-definition-description"
        "A comment above an ARG or a named FROM begins with that name; an empty comment between the two makes it any other comment",
    /// `EXPOSE 80/TCP`
    ExposeProtoCasing "expose-proto-casing"
        "The protocol of a port is written in lower case",
    /// `EXPOSE 127.0.0.1:80:80`
    ExposeInvalidFormat "expose-invalid-format"
        "EXPOSE names ports of the container, and neither an address nor a port of the host; this will be refused one day",
}

impl Rule {
    /// Where the rule is explained; one has no page.
    pub fn url(self) -> Option<String> {
        let page = self.page();
        (!page.is_empty()).then(|| format!("https://docs.docker.com/go/dockerfile/rule/{page}/"))
    }

    /// Whether it is silent unless it is asked for.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
