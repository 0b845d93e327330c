//! The forms of objects on standard output: `-o`. Pure.

use serde_json::{Value, json};

use super::client::{Error, Result};
use super::jsonpath::Template;
use super::target::prefix;
use super::value::Look as _;
use crate::objects::Kind;

/// Of `-o`.
#[derive(Clone, Debug)]
pub enum Form {
    Table { wide: bool },
    Yaml,
    Json,
    Name,
    JsonPath(Template),
}

impl Form {
    /// Of what comes after `-o`.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None => Ok(Self::Table { wide: false }),
            Some("wide") => Ok(Self::Table { wide: true }),
            Some("yaml") => Ok(Self::Yaml),
            Some("json") => Ok(Self::Json),
            Some("name") => Ok(Self::Name),
            Some(text) => match text.split_once('=') {
                Some(("jsonpath", template)) => Ok(Self::JsonPath(Template::parse(template)?)),
                _ => Err(Error::usage(format!(
                    "unable to match a printer suitable for the output format \"{text}\", \
                     allowed formats are: json,jsonpath=,name,wide,yaml"
                ))),
            },
        }
    }

    /// Objects as text; None for a table. `single` ones are not a List.
    pub fn text(&self, objects: &[Value], single: bool) -> Result<Option<String>> {
        let whole = || match (objects, single) {
            ([object], true) => object.clone(),
            _ => {
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects})
            }
        };
        Ok(match self {
            Self::Table { .. } => None,
            Self::Yaml => Some(yaml(&whole())?),
            Self::Json => {
                let text = serde_json::to_string_pretty(&whole())
                    .map_err(|error| Error::usage(error.to_string()))?;
                Some(text + "\n")
            }
            Self::Name => Some(objects.iter().map(|object| name(object) + "\n").collect()),
            Self::JsonPath(template) => Some(template.text(&whole())?),
        })
    }
}

/// An object as YAML.
pub fn yaml(value: &Value) -> Result<String> {
    let text = serde_saphyr::to_string(value).map_err(|error| Error::usage(error.to_string()))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// `deployment.apps/web`.
pub fn name(object: &Value) -> String {
    let kind = Kind::of_manifest(object.text("/apiVersion"), object.text("/kind"));
    let kind = kind.map_or_else(|| object.text("/kind").to_ascii_lowercase(), prefix);
    format!("{kind}/{}", object.text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"a": ["b"]}});
        let objects = [pod];
        let text = |form: &str| Form::parse(Some(form)).unwrap().text(&objects, true).unwrap().unwrap();
        assert_eq!(text("name"), "pod/web\n");
        assert_eq!(text("yaml"), "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  a:\n  - b\n");
        assert_eq!(text("jsonpath={.metadata.name}"), "web");
        assert!(text("json").starts_with("{\n  \"apiVersion\": \"v1\",\n"), "{}", text("json"));
        assert!(Form::parse(Some("xml")).is_err());
        assert!(Form::parse(Some("wide")).unwrap().text(&objects, true).unwrap().is_none());
    }
}
