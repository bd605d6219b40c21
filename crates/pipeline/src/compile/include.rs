//! Reads the configuration and the files it includes, and merges them: included files in order, each after its own
//! includes, the including file last. Mappings merge deeply, everything else is replaced. Anchors do not cross files.

use std::{collections::HashMap, sync::Arc};

use super::{
    Context, extends,
    files::Glob,
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
    let node = loader.file(context, config_path, None)?;
    (!context.reports.has_errors()).then_some(node)
}

impl Loader {
    /// A file with everything that it includes; `from` is the place that asks for it.
    fn file(&mut self, context: &mut Context<'_>, path: &str, from: Option<Span>) -> Option<Node> {
        let bytes = match context.source.read(path, BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                missing(context, path, from);
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
        let own = document(context, file, &text)?;
        let Some(include) = own.get("include").filter(|node| !node.is_null()).cloned() else {
            return Some(own);
        };
        let mut merged = Mapping::default();
        for path in self.paths(context, &include) {
            self.count += 1;
            if self.count > FILES {
                context
                    .reports
                    .error(include.span, format!("more than {FILES} files are included"));
                return None;
            }
            let included = self.file(context, &path, Some(include.span))?;
            merged = extends::merge(context, &merged, included.as_mapping()?, include.span)?;
        }
        let merged = extends::merge(context, &merged, own.as_mapping()?, own.span)?;
        Some(Node::mapping(own.span, merged))
    }

    /// The local files that an `include` names, where its rules let it.
    fn paths(&self, context: &mut Context<'_>, include: &Node) -> Vec<String> {
        let items = match &include.value {
            Value::Sequence(_) => context.flat(include, "include").unwrap_or_default(),
            _ => vec![include],
        };
        let mut paths = Vec::new();
        for item in items {
            let local = if let Some(text) = item.as_text() {
                if text.starts_with("http://") || text.starts_with("https://") {
                    context.unsupported(item.span, "files of other servers cannot be included");
                    continue;
                }
                Some((item.span, text.to_owned()))
            } else if let Some(mapping) = item.as_mapping() {
                self.entry(context, mapping, item.span)
            } else {
                context.expected(item, "include", "a path or a mapping");
                None
            };
            if let Some((span, local)) = local {
                self.local(context, span, &local, &mut paths);
            }
        }
        paths
    }

    fn entry(&self, context: &mut Context<'_>, mapping: &Mapping, span: Span) -> Option<(Span, String)> {
        keyword::check(context, Place::Include, mapping);
        if let Some(node) = given(mapping, "rules") {
            match rules::evaluate(context, node, Place::Include, &self.values, &self.variables) {
                rules::Verdict::Matched(rule) if !rule.never => {}
                _ => return None,
            }
        }
        match given(mapping, "local") {
            Some(node) => context.text(node, "include:local").map(|text| (node.span, text)),
            None => {
                let elsewhere = mapping.iter().any(|entry| {
                    matches!(
                        keyword::support(Place::Include, &entry.key),
                        Some(Support::Missing(_))
                    )
                });
                if !elsewhere {
                    context
                        .reports
                        .error(span, "`include` needs `local`, a path in this repository");
                }
                None
            }
        }
    }

    fn local(&self, context: &mut Context<'_>, span: Span, text: &str, paths: &mut Vec<String>) {
        let expanded = expand(text, &self.variables);
        let path = expanded.trim_start_matches('/');
        if !path.ends_with(".yml") && !path.ends_with(".yaml") {
            context.reports.error(
                span,
                format!("the included file `{path}` must end in .yml or .yaml"),
            );
        } else if path.contains('*') {
            let glob = Glob::new(path);
            let all = context.paths(span);
            let found: Vec<String> = all
                .iter()
                .flat_map(|all| all.iter())
                .filter(|path| glob.matches(path))
                .cloned()
                .collect();
            if found.is_empty() {
                context
                    .reports
                    .error(span, format!("no file matches the included `{path}`"));
            }
            paths.extend(found);
        } else {
            paths.push(path.to_owned());
        }
    }
}

fn missing(context: &mut Context<'_>, path: &str, from: Option<Span>) {
    match from {
        Some(span) => context
            .reports
            .error(span, format!("the included file `{path}` does not exist")),
        None => {
            let file = context.reports.add_file(path, "".into());
            context.reports.error_with_help(
                Span::whole(file),
                "the file does not exist",
                "a pipeline is described in a file of this name",
            );
        }
    }
}

/// The configuration of a file, without its header.
fn document(context: &mut Context<'_>, file: FileId, text: &str) -> Option<Node> {
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
    let second = documents.next();
    if let (Some(header), Some(second)) = (&first, second) {
        if let Some(spec) = header.as_mapping().and_then(|mapping| mapping.entry("spec")) {
            context.unsupported(
                spec.key_span,
                "`spec` is not supported: pipeline inputs are not interpolated",
            );
            first = Some(second);
        } else {
            context
                .reports
                .warn(second.span, "only the first document of the file is read", None);
        }
    }
    match first {
        Some(node) if node.as_mapping().is_some() => Some(node),
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
