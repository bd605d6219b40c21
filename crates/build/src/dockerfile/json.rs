//! The JSON form of CMD, RUN, COPY and friends: a JSON array of strings.
//!
//! Docker's rule: what starts with `[` and is no valid JSON is a shell string (`[ -f x ] && y` must work), but a
//! valid array with something else than strings in it is a mistake.

/// What an argument that may be JSON turned out to be.
pub(crate) enum JsonForm {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array that holds something else: an error at the caller's place.
    NotStrings,
    /// Not JSON: text.
    Text,
}

pub(crate) fn json_form(text: &str) -> JsonForm {
    let text = text.trim();
    if !text.starts_with('[') {
        return JsonForm::Text;
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return JsonForm::Text;
    };
    let mut strings = Vec::with_capacity(values.len());
    for value in values {
        match value {
            serde_json::Value::String(string) => strings.push(string),
            _ => return JsonForm::NotStrings,
        }
    }
    JsonForm::Strings(strings)
}
