//! Build arguments: what `$X` is in a FROM line, in a stage and in a RUN.

use std::collections::BTreeMap;

use shipway_oci::Platform;

use crate::dockerfile::{ArgDeclaration, Dockerfile, DockerfileError, Expander};

/// Proxy settings are arguments that need no ARG, reach every RUN, and are part of no cache key unless declared.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Whether an argument is one of the predefined proxy settings.
fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name)
}

/// Arguments that speak to the builder and that no ARG need declare.
fn is_for_the_builder(name: &str) -> bool {
    name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_")
}

/// What the caller gave, what the platform says, and the ARG lines in front of the first FROM.
#[derive(Debug, Clone)]
pub(crate) struct GlobalArguments {
    given: BTreeMap<String, String>,
    platform: BTreeMap<String, String>,
    declared: BTreeMap<String, Option<String>>,
}

impl GlobalArguments {
    pub(crate) fn new(
        file: &Dockerfile,
        given: &BTreeMap<String, Option<String>>,
        target: &Platform,
        target_stage: Option<&str>,
    ) -> Result<Self, DockerfileError> {
        let mut all = Self {
            given: given
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .collect(),
            platform: platform_arguments(target, target_stage),
            declared: BTreeMap::new(),
        };
        for (ArgDeclaration { name, default }, location) in &file.arguments {
            let value = match (all.given.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let lookup = |name: &str| all.lookup(name);
                    let expanded = Expander::new(file.escape, &lookup)
                        .word(default)
                        .map_err(|error| location.error(&file.name, error.to_string()))?;
                    Some(expanded)
                }
                (None, None) => None,
            };
            all.declared.insert(name.clone(), value);
        }
        Ok(all)
    }

    /// A variable in a FROM line.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        match self.declared.get(name) {
            Some(value) => value.clone().or_else(|| self.platform.get(name).cloned()),
            None => self.platform.get(name).cloned(),
        }
    }

    /// Names that were given and that no ARG of the file declares.
    pub(crate) fn unused(&self, file: &Dockerfile) -> Vec<String> {
        use crate::dockerfile::Instruction;
        let declared_in_stages = |name: &str| {
            file.stages
                .iter()
                .flat_map(|stage| &stage.steps)
                .any(|step| match &step.instruction {
                    Instruction::Arg(declared) => declared.iter().any(|argument| argument.name == name),
                    Instruction::OnBuild(text) => text.contains(name),
                    _ => false,
                })
        };
        self.given
            .keys()
            .filter(|name| {
                !is_proxy(name)
                    && !is_for_the_builder(name)
                    && !self.declared.contains_key(*name)
                    && !declared_in_stages(name)
            })
            .cloned()
            .collect()
    }
}

fn platform_arguments(target: &Platform, target_stage: Option<&str>) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &Platform::host())] {
        arguments.insert(format!("{prefix}PLATFORM"), platform.to_string());
        arguments.insert(format!("{prefix}OS"), platform.os.clone());
        arguments.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        arguments.insert(
            format!("{prefix}VARIANT"),
            platform.variant.clone().unwrap_or_default(),
        );
    }
    arguments.insert(
        "TARGETSTAGE".to_owned(),
        target_stage.unwrap_or("default").to_owned(),
    );
    arguments
}

/// An ARG of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Declaration {
    value: Option<String>,
    /// Whether it is newer than the variable of its name: what was said last counts, though documentation has it that
    /// ENV does always.
    over_variable: bool,
}

/// What the ARG lines of a stage say, for the stages that are based on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Declarations(BTreeMap<String, Declaration>);

/// The arguments in effect in one stage.
#[derive(Debug, Clone)]
pub(crate) struct Arguments<'a> {
    global: &'a GlobalArguments,
    declared: Declarations,
}

impl<'a> Arguments<'a> {
    /// A stage begins with the arguments of the stage that it is based on, below the variables of its image.
    pub(crate) fn new(global: &'a GlobalArguments, mut inherited: Declarations) -> Self {
        for declaration in inherited.0.values_mut() {
            declaration.over_variable = false;
        }
        Self {
            global,
            declared: inherited,
        }
    }

    pub(crate) fn declarations(&self) -> &Declarations {
        &self.declared
    }

    /// An ARG of the stage; `default` is already expanded.
    pub(crate) fn declare(&mut self, name: &str, default: Option<String>) {
        let global = || self.global.declared.get(name).cloned().flatten();
        let value = self
            .global
            .given
            .get(name)
            .cloned()
            .or(default)
            .or_else(global)
            .or_else(|| self.global.platform.get(name).cloned());
        let declaration = Declaration {
            over_variable: value.is_some(),
            value,
        };
        self.declared.0.insert(name.to_owned(), declaration);
    }

    /// An ENV of that name.
    pub(crate) fn variable_set(&mut self, name: &str) {
        if let Some(declaration) = self.declared.0.get_mut(name) {
            declaration.over_variable = false;
        }
    }

    /// The argument that hides the variable of its name.
    pub(crate) fn over_variable(&self, name: &str) -> Option<&str> {
        let declaration = self.declared.0.get(name)?;
        declaration.value.as_deref().filter(|_| declaration.over_variable)
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        match self.declared.0.get(name) {
            Some(declaration) => declaration.value.clone(),
            None if is_proxy(name) => self.global.given.get(name).cloned(),
            None => None,
        }
    }

    /// What a RUN gets in its environment and what its key holds: every declared argument with a value.
    pub(crate) fn keyed(&self) -> BTreeMap<String, String> {
        self.declared
            .0
            .iter()
            .filter_map(|(name, declaration)| Some((name.clone(), declaration.value.clone()?)))
            .collect()
    }

    /// Proxy settings that no ARG declares: in the environment of a RUN, in no key.
    pub(crate) fn unkeyed(&self) -> BTreeMap<String, String> {
        self.global
            .given
            .iter()
            .filter(|(name, _)| is_proxy(name) && !self.declared.0.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    #[test]
    fn precedence() {
        let file = parse(b"ARG A=1\nARG B=${A}2\nARG C\nFROM x\nARG A\n", "Dockerfile").expect("a file");
        let given = BTreeMap::from([
            ("C".to_owned(), Some("given".to_owned())),
            ("HTTP_PROXY".to_owned(), Some("p".to_owned())),
            ("Z".to_owned(), Some("z".to_owned())),
            ("N".to_owned(), None),
        ]);
        let platform = Platform::new("linux", "arm64");
        let global = GlobalArguments::new(&file, &given, &platform, None).expect("expandable");
        assert_eq!(global.lookup("B").as_deref(), Some("12"));
        assert_eq!(global.lookup("C").as_deref(), Some("given"));
        assert_eq!(global.lookup("TARGETARCH").as_deref(), Some("arm64"));
        assert_eq!(global.lookup("Z"), None);
        assert_eq!(global.unused(&file), ["Z"]);
        let mut stage = Arguments::new(&global, Declarations::default());
        assert_eq!(stage.get("A"), None);
        stage.declare("A", None);
        stage.declare("TARGETOS", None);
        stage.declare("Z", Some("default".to_owned()));
        assert_eq!(stage.get("A").as_deref(), Some("1"));
        assert_eq!(stage.get("Z").as_deref(), Some("z"));
        assert_eq!(stage.get("HTTP_PROXY").as_deref(), Some("p"));
        assert_eq!(stage.keyed().keys().collect::<Vec<_>>(), ["A", "TARGETOS", "Z"]);
        assert_eq!(stage.unkeyed().keys().collect::<Vec<_>>(), ["HTTP_PROXY"]);
        assert_eq!(stage.over_variable("A"), Some("1"));
        stage.variable_set("A");
        assert_eq!(stage.over_variable("A"), None);
        let child = Arguments::new(&global, stage.declarations().clone());
        assert_eq!(child.get("Z").as_deref(), Some("z"));
        assert_eq!(child.over_variable("Z"), None);
    }
}
