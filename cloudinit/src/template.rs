//! Jinja templates of user-data: the variables of an instance and the rendering. Pure.
//!
//! A variable without a value stops a template on a machine. At the desk nobody knows the values, so `validate` renders
//! with examples and names what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::decode::MAX_DECODED_BYTES;

/// Steps of the template engine; a loop over a thousand items takes some ten thousand.
pub(crate) const MAX_STEPS: u64 = 1_000_000;

/// What happens to a variable without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The template fails.
    Fails,
    /// It becomes the word `undefined` and is named.
    IsNamed,
}

/// The variables of templates.
#[derive(Debug, Clone)]
pub(crate) struct Variables {
    root: Json,
    missing: Missing,
}

impl Variables {
    /// From meta-data; keys with `-` can also be written with `_`.
    pub(crate) fn new(meta: &Json, missing: Missing) -> Self {
        let meta = aliases(meta.clone(), 0);
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| meta.get(name)).and_then(Json::as_str);
            found.map(str::to_string)
        };
        let mut v1 = BTreeMap::from([
            ("cloud_name", "unknown".to_string()),
            ("platform", "unknown".to_string()),
            ("subplatform", "unknown".to_string()),
            // The packages of the image are Debian's, and documents ask for that.
            ("distro", "debian".to_string()),
            ("distro_version", "13".to_string()),
            ("distro_release", "trixie".to_string()),
            ("variant", "debian".to_string()),
            ("machine", std::env::consts::ARCH.to_string()),
            ("system_platform", "linux".to_string()),
            ("kernel_release", String::new()),
        ]);
        for (name, sources) in [
            ("instance_id", &["instance-id", "instance_id"][..]),
            ("local_hostname", &["local-hostname", "hostname"]),
            ("region", &["region"]),
            ("availability_zone", &["availability-zone", "availability_zone"]),
            ("cloud_name", &["cloud-name", "cloud_name"]),
            ("platform", &["platform"]),
        ] {
            if let Some(text) = text(sources) {
                v1.insert(name, text);
            }
        }
        let cloud = v1.get("cloud_name").cloned().unwrap_or_default();
        v1.insert("cloud_id", cloud);
        let mut v1 = serde_json::to_value(v1).unwrap_or_default();
        if let (Some(map), Some(keys)) = (v1.as_object_mut(), meta.get("public_keys")) {
            map.insert("public_ssh_keys".into(), keys.clone());
        }
        let mut root = v1.as_object().cloned().unwrap_or_default();
        root.insert("v1".into(), v1);
        root.insert("ds".into(), serde_json::json!({ "meta_data": meta }));
        Self { root: Json::Object(root), missing }
    }

    /// The standard name that may have been meant.
    pub(crate) fn nearest(&self, name: &str) -> Option<String> {
        let standard = self.root.get("v1").and_then(Json::as_object)?;
        let meant = crate::language::nearest(name.rsplit('.').next()?, standard.keys().map(String::as_str))?;
        Some(format!("v1.{meant}"))
    }

    /// Examples, for `validate`.
    pub(crate) fn examples() -> Self {
        let meta = serde_json::json!({ "instance-id": "i-example", "local-hostname": "example" });
        Self::new(&meta, Missing::IsNamed)
    }
}

/// Adds a name with `_` for each with `-`. The depth is that of a document.
fn aliases(value: Json, depth: usize) -> Json {
    match value {
        Json::Object(map) if depth < crate::document::MAX_DEPTH => {
            let mut out = serde_json::Map::new();
            for (key, value) in map {
                let value = aliases(value, depth + 1);
                if key.contains('-') {
                    out.insert(key.replace('-', "_"), value.clone());
                }
                out.insert(key, value);
            }
            Json::Object(out)
        }
        Json::Array(items) => Json::Array(items.into_iter().map(|item| aliases(item, depth + 1)).collect()),
        other => other,
    }
}

/// Renders a template; the names are those that had no value. `Err`: the line and what is wrong.
pub(crate) fn render(template: &str, variables: &Variables) -> Result<(String, Vec<String>), (u64, String)> {
    let missing: Arc<AtomicBool> = Arc::default();
    let mut environment = Environment::new();
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    match variables.missing {
        Missing::Fails => environment.set_undefined_behavior(UndefinedBehavior::Strict),
        Missing::IsNamed => {
            environment.set_undefined_behavior(UndefinedBehavior::Chainable);
            let seen = Arc::clone(&missing);
            environment.set_formatter(move |out, state, value| {
                if value.is_undefined() {
                    seen.store(true, Ordering::Relaxed);
                    return minijinja::escape_formatter(out, state, &Value::from("undefined"));
                }
                minijinja::escape_formatter(out, state, value)
            });
        }
    }
    let fail = |error: minijinja::Error| {
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        let hint = match error.kind() {
            minijinja::ErrorKind::UndefinedError => "; the meta-data has no such value, use '| default(...)'",
            _ => "",
        };
        (error.line().unwrap_or(1) as u64, format!("template: {}{detail}{hint}", error.kind()))
    };
    let template = environment.template_from_str(template).map_err(fail)?;
    let mut out = Limited(Vec::new());
    template.render_captured_to(&variables.root, &mut out).map_err(fail)?;
    let text = String::from_utf8_lossy(&out.0).into_owned();
    if !missing.load(Ordering::Relaxed) {
        return Ok((text, Vec::new()));
    }
    let has_value = |name: &str| {
        let pointer = format!("/{}", name.replace('.', "/"));
        variables.root.pointer(&pointer).is_some()
    };
    let names: BTreeSet<String> =
        template.undeclared_variables(true).into_iter().filter(|name| !has_value(name)).collect();
    Ok((text, names.into_iter().collect()))
}

/// Takes at most [`MAX_DECODED_BYTES`].
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_DECODED_BYTES {
            return Err(std::io::Error::other("the rendered template is too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(missing: Missing) -> Variables {
        Variables::new(&serde_json::json!({"instance-id": "i-1", "local-hostname": "node1"}), missing)
    }

    #[test]
    fn variables_have_all_their_names() {
        let text = "{{ v1.local_hostname }} {{ ds.meta_data.local_hostname }} {{ instance_id }} {{ v1.distro }}\n";
        assert_eq!(render(text, &variables(Missing::Fails)).unwrap().0, "node1 node1 i-1 debian\n");
    }

    #[test]
    fn a_missing_value_is_an_error_on_the_machine_and_named_at_the_desk() {
        let (line, message) = render("a\n{{ v1.nope }}\n", &variables(Missing::Fails)).unwrap_err();
        assert!(line == 2 && message.contains("undefined"), "{line} {message}");
        let (text, names) = render("{{ v1.nope.more }}", &variables(Missing::IsNamed)).unwrap();
        assert_eq!((text.as_str(), names), ("undefined", vec!["v1.nope.more".to_string()]));
    }

    #[test]
    fn endless_and_broken_templates_end() {
        for text in [
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
            "{% for a in range(9999) %}{{ 'x' * 100000 }}{% endfor %}",
            "{{ ",
            "{% if %}",
        ] {
            assert!(render(text, &variables(Missing::Fails)).is_err(), "{text}");
        }
    }
}
