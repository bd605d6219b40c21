//! Reads the configuration and the files it includes, and merges them: included files in order, each after its own
//! includes, the including file last. Mappings merge deeply, everything else is replaced. Anchors do not cross files.

use std::{collections::HashMap, sync::Arc};

use super::{
    Context, extends,
    files::Glob,
    inputs,
    keyword::{self, Place, Support},
    read::given,
    rules,
};
use crate::{
    diagnostic::{FileId, Span},
    variables::{self, Variable, expand, predefined},
    yaml::{self, Mapping, Node, Value},
};

/// GitLab's bound on included files.
const FILES: usize = 150;

/// Bytes read of one file.
const BYTES: usize = 1024 * 1024;

/// Where a file comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    Repository,
    Templates,
}

/// A file to read.
#[derive(Clone, Debug)]
struct Wanted {
    origin: Origin,
    name: String,
    /// What `include:inputs` gives it.
    inputs: Option<Node>,
    /// The place that asks for it; none for the first file.
    from: Option<Span>,
}

struct Loader {
    count: usize,
    variables: Vec<Variable>,
    values: HashMap<String, String>,
}

pub(super) fn load(context: &mut Context<'_>, config_path: &str) -> Option<Node> {
    let mut all = predefined::pipeline(context.situation, config_path);
    all.extend(context.situation.variables.iter().cloned());
    all.extend(context.situation.pipeline_variables.iter().cloned());
    let mut loader = Loader {
        count: 0,
        values: variables::values(&all),
        variables: all,
    };
    let node = loader.file(
        context,
        &Wanted {
            origin: Origin::Repository,
            name: config_path.to_owned(),
            inputs: None,
            from: None,
        },
    )?;
    (!context.reports.has_errors()).then_some(node)
}

impl Loader {
    /// A file with everything that it includes.
    fn file(&mut self, context: &mut Context<'_>, wanted: &Wanted) -> Option<Node> {
        let Wanted {
            origin,
            name: path,
            from,
            ..
        } = wanted;
        let found = match origin {
            Origin::Repository => context.source.read(path, BYTES),
            Origin::Templates => context.source.template(path, BYTES),
        };
        let bytes = match found {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                missing(context, wanted);
                return None;
            }
            Err(error) => {
                let span = from.unwrap_or_else(|| Span::whole(context.reports.add_file(path, "".into())));
                context
                    .reports
                    .error(span, format!("`{path}` cannot be read: {error}"));
                return None;
            }
        };
        let text: Arc<str> = match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => {
                let file = context.reports.add_file(path, "".into());
                let offset = error.utf8_error().valid_up_to();
                context.reports.error(
                    Span::whole(file),
                    format!("the file is not UTF-8 (byte {offset})"),
                );
                return None;
            }
        };
        let file = context.reports.add_file(path, Arc::clone(&text));
        let (header, body) = documents(context, file, &text)?;
        let own = self.with_inputs(context, wanted, header.as_ref(), body)?;
        let Some(include) = own.get("include").filter(|node| !node.is_null()).cloned() else {
            return Some(own);
        };
        let mut merged = Mapping::default();
        for wanted in self.wanted(context, &include) {
            self.count += 1;
            if self.count > FILES {
                context
                    .reports
                    .error(include.span, format!("more than {FILES} files are included"));
                return None;
            }
            // What is wrong with one file does not keep the others from being looked at.
            let Some(included) = self.file(context, &wanted) else {
                continue;
            };
            merged = extends::merge(context, &merged, included.as_mapping()?, include.span)?;
        }
        let merged = extends::merge(context, &merged, own.as_mapping()?, own.span)?;
        Some(Node::mapping(own.span, merged))
    }

    /// The body with its inputs put in, where a header declares some.
    fn with_inputs(
        &self,
        context: &mut Context<'_>,
        wanted: &Wanted,
        header: Option<&Mapping>,
        body: Node,
    ) -> Option<Node> {
        let Some(header) = header else {
            if let Some(given) = &wanted.inputs {
                let message = format!("`{}` declares no inputs", wanted.name);
                let help = "inputs are declared as `spec:inputs` above a line `---`";
                context.reports.error_with_help(given.span, message, help);
            }
            return Some(body);
        };
        let before = context.reports.error_count();
        let settled = inputs::settle(context, header, wanted.inputs.as_ref(), wanted.from);
        if context.reports.error_count() > before {
            return None;
        }
        inputs::interpolate(context, &body, &settled, &self.variables)
    }

    /// The files that an `include` names, where its rules let it.
    fn wanted(&self, context: &mut Context<'_>, include: &Node) -> Vec<Wanted> {
        let items = match &include.value {
            Value::Sequence(_) => context.flat(include, "include").unwrap_or_default(),
            _ => vec![include],
        };
        let mut wanted = Vec::new();
        for item in items {
            if let Some(text) = item.as_text() {
                if text.starts_with("http://") || text.starts_with("https://") {
                    context.unsupported(item.span, "files of other servers cannot be included");
                } else {
                    self.local(context, item.span, text, None, &mut wanted);
                }
            } else if let Some(mapping) = item.as_mapping() {
                self.entry(context, mapping, item.span, &mut wanted);
            } else {
                context.expected(item, "include", "a path or a mapping");
            }
        }
        wanted
    }

    fn entry(&self, context: &mut Context<'_>, mapping: &Mapping, span: Span, wanted: &mut Vec<Wanted>) {
        keyword::check(context, Place::Include, mapping);
        if let Some(node) = given(mapping, "rules") {
            match rules::evaluate(context, node, Place::Include, &self.values, &self.variables) {
                rules::Verdict::Matched(rule) if !rule.never => {}
                _ => return,
            }
        }
        let inputs = given(mapping, "inputs").cloned();
        if let Some(node) = given(mapping, "template") {
            wanted.extend(context.text(node, "include:template").map(|name| Wanted {
                origin: Origin::Templates,
                name,
                inputs,
                from: Some(node.span),
            }));
        } else if let Some(node) = given(mapping, "local") {
            if let Some(text) = context.text(node, "include:local") {
                self.local(context, node.span, &text, inputs, wanted);
            }
        } else {
            let elsewhere = mapping.iter().any(|entry| {
                matches!(
                    keyword::support(Place::Include, &entry.key),
                    Some(Support::Missing(_) | Support::Refines(_))
                )
            });
            if !elsewhere {
                context
                    .reports
                    .error(span, "`include` needs `local`, a path in this repository");
            }
        }
    }

    fn local(
        &self,
        context: &mut Context<'_>,
        span: Span,
        text: &str,
        inputs: Option<Node>,
        wanted: &mut Vec<Wanted>,
    ) {
        let expanded = expand(text, &self.variables);
        let path = expanded.trim_start_matches('/');
        let one = |name: &str| Wanted {
            origin: Origin::Repository,
            name: name.to_owned(),
            inputs: inputs.clone(),
            from: Some(span),
        };
        if !is_yaml(path) {
            context.reports.error(
                span,
                format!("the included file `{path}` must end in .yml or .yaml"),
            );
        } else if path.contains('*') {
            let glob = Glob::new(path);
            let all = context.paths(span);
            let before = wanted.len();
            // One more than may be included is enough to say so.
            let found = all
                .iter()
                .flat_map(|all| all.iter())
                .filter(|path| glob.matches(path))
                .take(FILES + 1);
            wanted.extend(found.map(|path| one(path)));
            if wanted.len() == before {
                context
                    .reports
                    .error(span, format!("no file matches the included `{path}`"));
            }
        } else {
            wanted.push(one(path));
        }
    }
}

fn missing(context: &mut Context<'_>, wanted: &Wanted) {
    let path = &wanted.name;
    match (wanted.origin, wanted.from) {
        (Origin::Templates, Some(span)) => {
            let message = format!("the template `{path}` is not at hand");
            if context.options.allow_unsupported {
                context.reports.warn(span, message, None);
            } else {
                let help = "copy the template into the repository and include it with `local`; \
                            `--allow-unsupported` goes on without it";
                context.reports.error_with_help(span, message, help);
            }
        }
        (Origin::Repository, Some(span)) => {
            let mut help = match context.source.location(path) {
                Some(location) => format!("looked for at `{location}`"),
                None => "paths begin at the top of the repository".to_owned(),
            };
            let all = context.paths(span);
            let candidates = all.iter().flat_map(|all| all.iter()).map(String::as_str);
            let described = candidates.filter(|path| is_yaml(path));
            if let Some(near) = keyword::nearest(path, described) {
                help.push_str(&format!("; did you mean `{near}`?"));
            }
            let message = format!("the included file `{path}` does not exist");
            context.reports.error_with_help(span, message, help);
        }
        (_, None) => {
            let file = context.reports.add_file(path, "".into());
            let mut help = "a pipeline is described in a file of this name".to_owned();
            if let Some(location) = context.source.location(path) {
                help.push_str(&format!("; looked for at `{location}`"));
            }
            context
                .reports
                .error_with_help(Span::whole(file), "the file does not exist", help);
        }
    }
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

/// The header of a file, if it has one, and its body, which is a mapping.
fn documents(context: &mut Context<'_>, file: FileId, text: &str) -> Option<(Option<Mapping>, Node)> {
    let parsed = match yaml::parse(file, text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let yaml::YamlError { span, message, help } = error;
            match help {
                Some(help) => context.reports.error_with_help(span, message, help),
                None => context.reports.error(span, message),
            }
            return None;
        }
    };
    for (span, message) in parsed.warnings {
        context.reports.warn(span, message, None);
    }
    let mut documents = parsed.documents.into_iter();
    let mut first = documents.next();
    let mut header = None;
    if let (Some(top), Some(second)) = (&first, documents.next()) {
        if let Some(mapping) = top.as_mapping().filter(|mapping| mapping.get("spec").is_some()) {
            header = Some(mapping.clone());
            first = Some(second);
        } else {
            context
                .reports
                .warn(second.span, "only the first document of the file is read", None);
        }
    }
    match first {
        Some(node) if node.as_mapping().is_some() => Some((header, node)),
        Some(node) if !node.is_null() => {
            context.reports.error(
                node.span,
                format!(
                    "invalid configuration format: the file must be a mapping of jobs, not {}",
                    node.kind()
                ),
            );
            None
        }
        _ => {
            context.reports.error(
                Span::whole(file),
                "the file is empty: please provide content of .gitlab-ci.yml",
            );
            None
        }
    }
}
