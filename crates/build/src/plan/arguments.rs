//! Build arguments: what `$X` is in a FROM line, in a stage and in a RUN.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shipway_oci::Platform;

use crate::dockerfile::limits::EXPANSIONS_BYTES;
use crate::dockerfile::{ArgDeclaration, Dockerfile, DockerfileError, ExpandError, Expander};

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
    /// Bytes that expansions of this build have given so far.
    expanded: Arc<AtomicUsize>,
}

impl GlobalArguments {
    pub(crate) fn new(
        file: &Dockerfile,
        given: &BTreeMap<String, Option<String>>,
        target: &Platform,
        target_stage: Option<&str>,
    ) -> Result<Self, DockerfileError> {
        let given: BTreeMap<String, String> = given
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect();
        let mut platform = platform_arguments(target, target_name(file, target_stage));
        for (name, value) in &mut platform {
            if let Some(given) = given.get(name) {
                value.clone_from(given);
            }
        }
        let mut all = Self {
            given,
            platform,
            declared: BTreeMap::new(),
            expanded: Arc::default(),
        };
        for (ArgDeclaration { name, default }, location) in file.global_arguments() {
            let value = match (all.given.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let lookup = |name: &str| all.lookup(name);
                    let expander = Expander::new(file.escape, &lookup);
                    let expanded = expander
                        .word(default)
                        .and_then(|word| all.charge(word.len() + expander.cost()).map(|()| word));
                    Some(expanded.map_err(|error| location.error(&file.name, error.to_string()))?)
                }
                (None, None) => None,
            };
            all.declared.insert(name.clone(), value);
        }
        Ok(all)
    }

    /// Counts what an expansion gave, or what a stage takes over, against what all of a build may take.
    ///
    /// # Errors
    /// [`ExpandError::TooMuch`] when that is used up.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), ExpandError> {
        let before = self.expanded.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) > EXPANSIONS_BYTES {
            true => Err(ExpandError::TooMuch),
            false => Ok(()),
        }
    }

    /// A variable in a FROM line.
    pub(crate) fn lookup(&self, name: &str) -> Option<String> {
        match self.declared.get(name) {
            Some(value) => value.clone().or_else(|| self.platform.get(name).cloned()),
            None => self.platform.get(name).cloned(),
        }
    }

    /// Whether an ARG in front of the first FROM declares it, with or without a value, or it is predefined.
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.declared.contains_key(name) || self.platform.contains_key(name)
    }

    /// Whether every build has an argument of this name.
    pub(crate) fn is_predefined(name: &str) -> bool {
        platform_arguments(&Platform::default(), "").contains_key(name)
    }

    /// The names that a FROM may use: the predefined, then the declared.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.platform
            .keys()
            .chain(self.declared.keys())
            .map(String::as_str)
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
                    && !self.platform.contains_key(*name)
                    && !is_for_the_builder(name)
                    && !self.declared.contains_key(*name)
                    && !declared_in_stages(name)
            })
            .cloned()
            .collect()
    }
}

/// The stage that `TARGETSTAGE` names.
fn target_name<'a>(file: &'a Dockerfile, asked_for: Option<&'a str>) -> &'a str {
    let last = || file.stages.last()?.name.as_deref();
    asked_for.or_else(last).unwrap_or("default")
}

fn platform_arguments(target: &Platform, target_stage: &str) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &Platform::host())] {
        arguments.insert(format!("{prefix}PLATFORM"), platform.to_string());
        arguments.insert(format!("{prefix}OS"), platform.os.clone());
        arguments.insert(
            format!("{prefix}OSVERSION"),
            platform.os_version.clone().unwrap_or_default(),
        );
        arguments.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        arguments.insert(
            format!("{prefix}VARIANT"),
            platform.variant.clone().unwrap_or_default(),
        );
    }
    arguments.insert("TARGETSTAGE".to_owned(), target_stage.to_owned());
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
    /// The names that the stage itself declares, each once.
    order: Vec<String>,
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
            order: Vec::new(),
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
        if !self.order.iter().any(|known| known == name) {
            self.order.push(name.to_owned());
        }
    }

    /// The names that the stage itself declares, in the order of their first ARG.
    pub(crate) fn in_order(&self) -> &[String] {
        &self.order
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.declared.0.len()
    }

    /// Bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        let sizes = self
            .declared
            .0
            .iter()
            .map(|(name, declaration)| name.len() + declaration.value.as_ref().map_or(0, String::len));
        sizes.sum()
    }

    /// As [`GlobalArguments::charge`].
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), ExpandError> {
        self.global.charge(bytes)
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

    /// Whether an ARG declares it, with or without a value.
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.declared.0.contains_key(name)
    }

    /// The names of those that have a value.
    pub(crate) fn with_values(&self) -> impl Iterator<Item = &str> {
        let valued = self
            .declared
            .0
            .iter()
            .filter(|(_, declaration)| declaration.value.is_some());
        valued.map(|(name, _)| name.as_str())
    }

    /// Whether a value was given for it, so that its default counts for nothing.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.global.given.contains_key(name)
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

    /// Proxy settings that no ARG declares, in capitals and in small letters, because programs look for one or the other:
    /// in the environment of a RUN, in no key.
    pub(crate) fn unkeyed(&self) -> BTreeMap<String, String> {
        let given = || self.global.given.iter().filter(|(name, _)| is_proxy(name));
        let mut settings: BTreeMap<String, String> = given()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in given() {
            for other in [name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
                settings.entry(other).or_insert_with(|| value.clone());
            }
        }
        settings.retain(|name, _| !self.declared.0.contains_key(name));
        settings
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
        let proxies = [("HTTP_PROXY", "p"), ("http_proxy", "p")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(stage.unkeyed(), BTreeMap::from(proxies));
        assert_eq!(stage.over_variable("A"), Some("1"));
        stage.variable_set("A");
        assert_eq!(stage.over_variable("A"), None);
        let child = Arguments::new(&global, stage.declarations().clone());
        assert_eq!(child.get("Z").as_deref(), Some("z"));
        assert_eq!(child.over_variable("Z"), None);
    }

    #[test]
    fn proxies_have_two_names() {
        let file = parse(b"FROM x\n", "Dockerfile").expect("a file");
        let given = [
            ("http_proxy", "a"),
            ("HTTP_PROXY", "b"),
            ("no_proxy", "c"),
            ("all_proxy", "d"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        let global = GlobalArguments::new(
            &file,
            &BTreeMap::from(given),
            &Platform::new("linux", "arm64"),
            None,
        );
        let global = global.expect("expandable");
        let mut stage = Arguments::new(&global, Declarations::default());
        stage.declare("all_proxy", None);
        let unkeyed = stage.unkeyed();
        let told: Vec<_> = unkeyed
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            told,
            [
                "ALL_PROXY=d",
                "HTTP_PROXY=b",
                "NO_PROXY=c",
                "http_proxy=a",
                "no_proxy=c"
            ]
        );
    }

    #[test]
    fn predefined_arguments() {
        let of = |text: &str, given: &[(&str, &str)], target: Option<&str>| {
            let file = parse(text.as_bytes(), "Dockerfile").expect("a file");
            let given = given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
            let platform: Platform = "linux/arm/v7".parse().expect("a platform");
            GlobalArguments::new(&file, &given.collect(), &platform, target).expect("expandable")
        };
        let global = of("FROM x\nFROM y AS last\n", &[("TARGETOS", "plan9")], None);
        for (name, value) in [
            ("TARGETPLATFORM", "linux/arm/v7"),
            ("TARGETOS", "plan9"),
            ("TARGETARCH", "arm"),
            ("TARGETVARIANT", "v7"),
            ("TARGETOSVERSION", ""),
            ("BUILDOSVERSION", ""),
            ("TARGETSTAGE", "last"),
        ] {
            assert_eq!(global.lookup(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(global.lookup("BUILDPLATFORM"), Some(Platform::host().to_string()));
        assert_eq!(
            of("FROM x\n", &[], None).lookup("TARGETSTAGE").as_deref(),
            Some("default")
        );
        let named = of("FROM x AS a\nFROM x\n", &[], Some("a"));
        assert_eq!(named.lookup("TARGETSTAGE").as_deref(), Some("a"));
        // A default of the file is worth more than what is predefined, one without a value is not.
        let global = of("ARG TARGETARCH=own\nARG TARGETOS\nFROM x\n", &[], None);
        assert_eq!(global.lookup("TARGETARCH").as_deref(), Some("own"));
        assert_eq!(global.lookup("TARGETOS").as_deref(), Some("linux"));
    }
}
