//! `parallel`: one job of the file, several in the pipeline. `parallel: 3` numbers them; a matrix makes one for every
//! combination of its variables and names it after their values.

use super::{
    Context,
    keyword::{self, Place},
    read::given,
};
use crate::{
    pipeline::Node as Position,
    variables::Variable,
    yaml::{Node, Value},
};

/// GitLab's bound on copies.
const COPIES: usize = 200;

/// One of the jobs.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// What follows the name.
    pub(super) suffix: String,
    pub(super) position: Position,
    pub(super) variables: Vec<Variable>,
}

pub(super) fn copies(context: &mut Context<'_>, node: &Node) -> Vec<Copy> {
    if let Some(number) = node.as_integer() {
        let Some(total) = usize::try_from(number)
            .ok()
            .filter(|total| (1..=COPIES).contains(total))
        else {
            context.reports.error(
                node.span,
                format!("`parallel` must be a number from 1 to {COPIES}"),
            );
            return Vec::new();
        };
        return (1..=total)
            .map(|index| Copy {
                suffix: format!(" {index}/{total}"),
                position: position(index, total),
                variables: Vec::new(),
            })
            .collect();
    }
    let Some(mapping) = node.as_mapping() else {
        context.expected(node, "parallel", "a number or a mapping with `matrix`");
        return Vec::new();
    };
    keyword::check(context, Place::Parallel, mapping);
    let Some(matrix) = given(mapping, "matrix") else {
        context.reports.error(node.span, "`parallel` needs `matrix`");
        return Vec::new();
    };
    let rows = rows(context, matrix);
    let total = rows.len();
    rows.into_iter()
        .enumerate()
        .map(|(place, variables)| Copy {
            suffix: suffix(&variables),
            position: position(place + 1, total),
            variables,
        })
        .collect()
}

fn position(index: usize, total: usize) -> Position {
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        index: narrow(index),
        total: narrow(total),
    }
}

fn suffix(variables: &[Variable]) -> String {
    let values: Vec<&str> = variables.iter().map(|variable| variable.value.as_str()).collect();
    format!(": [{}]", values.join(", "))
}

/// Names of the copies that a `needs:parallel:matrix` picks.
pub(super) fn suffixes(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let Some(mapping) = context.mapping(node, "parallel") else {
        return Vec::new();
    };
    keyword::check(context, Place::NeedParallel, mapping);
    match given(mapping, "matrix") {
        Some(matrix) => rows(context, matrix).iter().map(|row| suffix(row)).collect(),
        None => {
            context.reports.error(node.span, "`parallel` needs `matrix`");
            Vec::new()
        }
    }
}

/// Every combination, in the order of the keys, for each entry of the list.
fn rows(context: &mut Context<'_>, matrix: &Node) -> Vec<Vec<Variable>> {
    let Some(items) = context.flat(matrix, "matrix") else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for item in items {
        let Some(mapping) = context.mapping(item, "matrix") else {
            continue;
        };
        let mut rows: Vec<Vec<Variable>> = vec![Vec::new()];
        for entry in mapping.iter() {
            let values = values(context, &entry.value);
            if rows.len().saturating_mul(values.len()) > COPIES {
                context
                    .reports
                    .error(matrix.span, format!("`matrix` makes more than {COPIES} jobs"));
                return Vec::new();
            }
            rows = rows
                .iter()
                .flat_map(|row| {
                    values.iter().map(|value| {
                        let mut longer = row.clone();
                        longer.push(Variable::public(&*entry.key, value.clone()));
                        longer
                    })
                })
                .collect();
        }
        if mapping.is_empty() {
            context
                .reports
                .error(item.span, "an entry of `matrix` must not be empty");
            continue;
        }
        all.extend(rows);
        if all.len() > COPIES {
            context
                .reports
                .error(matrix.span, format!("`matrix` makes more than {COPIES} jobs"));
            return Vec::new();
        }
    }
    if all.is_empty() && !context.reports.has_errors() {
        context.reports.error(matrix.span, "`matrix` must not be empty");
    }
    all
}

fn values(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let items = match &node.value {
        Value::Sequence(_) => context.flat(node, "matrix").unwrap_or_default(),
        _ => vec![node],
    };
    items
        .into_iter()
        .filter_map(|item| match item.as_scalar() {
            Some(scalar) if !item.is_null() => Some(scalar.text()),
            _ => {
                context.expected(item, "matrix", "strings or lists of strings");
                None
            }
        })
        .collect()
}
