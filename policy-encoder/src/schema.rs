//! The JSON Schema of the document, for editors that complete and check.
//!
//! It is derived from the types of [`document`](crate::document), descriptions
//! included; what is written in more than one form says so here.

use std::borrow::Cow;

use launcher_policy::enforce::Guarantee;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, RemoveRefSiblings, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::Spanned;
use crate::document::{Amount, DieWithParent, Document, Duration, Profile, Size};

/// The schema, as draft 7 has it, which most editors know.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07()
        .with_transform(RecursiveTransform(without_defaults))
        .with_transform(WithoutNull)
        .with_transform(RemoveRefSiblings::default());
    settings.into_generator().into_root_schema_for::<Document>().into()
}

/// What is absent is said in words: the values that stand for it in the code
/// are none that a person could write.
fn without_defaults(schema: &mut Schema) {
    schema.remove("default");
}

/// A key that may be absent is not one that may be null: TOML has none.
#[derive(Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|each| each != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                schema.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(values)) = schema.get_mut("enum") {
            values.retain(|each| !each.is_null());
        }
        if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
            forms.retain(|each| each.get("type").is_none_or(|kind| kind != "null"));
            if let [Value::Object(only)] = &forms[..] {
                let only = only.clone();
                schema.remove("anyOf");
                for (key, value) in only {
                    // What is said of the key itself counts for more.
                    if schema.get(&key).is_none() {
                        schema.insert(key, value);
                    }
                }
            }
        }
    }
}

/// Where a value is written is no part of it.
impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A number, or text of a form that the pattern and the examples show.
fn number_or_text(description: &str, pattern: &str, examples: &[&str]) -> Schema {
    json_schema!({
        "description": description,
        "oneOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": pattern, "examples": examples },
        ],
    })
}

/// A number and a binary multiple.
const SIZE: &str = "[0-9][0-9_ ]*(\\.[0-9]+)? *([KkMmGgTtPpEe][Ii]?)?[Bb]?";

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = "A size in bytes: a number, or text with a binary multiple.";
        number_or_text(description, &format!("^{SIZE}$"), &["512M", "4G"])
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = "A count, a size with a binary multiple, or \"unlimited\".";
        let pattern = format!("^({SIZE}|unlimited)$");
        number_or_text(description, &pattern, &["64M", "unlimited"])
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time: numbers with their units.",
            "type": "string",
            "pattern": "^([0-9]+ *[A-Za-zµ]+ *)+$",
            "examples": ["10s", "1m 30s"],
        })
    }
}

impl JsonSchema for Profile {
    fn schema_name() -> Cow<'static, str> {
        "Profile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which system calls are open by themselves.",
            "oneOf": [
                { "const": "default", "description": "What ordinary programs call." },
                { "const": "strict", "description": "What interpreters, compilers and the tools of a shell call." },
                { "const": "unconfined", "description": "All but what the other tables close." },
                { "type": "string", "pattern": "/|\\.toml$", "description": "What the [seccomp] of this file says." },
            ],
        })
    }
}

/// Names of guarantees.
pub(crate) fn guarantees(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Guarantee::ALL.iter().map(|guarantee| guarantee.name()).collect();
    json_schema!({ "type": "array", "items": { "enum": names } })
}

impl JsonSchema for DieWithParent {
    fn schema_name() -> Cow<'static, str> {
        "DieWithParent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "With whom the command ends.",
            "oneOf": [
                { "const": "process", "description": "With the caller's process." },
                { "const": "thread", "description": "With the caller's thread." },
                { "const": false, "description": "It outlives the caller." },
            ],
        })
    }
}
