//! Holds fireflies against the schema in `firefly.schema.json`, in tests. It knows the keywords that stand there, and
//! stops at any other.

use std::net::IpAddr;

use serde_json::Value;

const SCHEMA: &str = include_str!("firefly.schema.json");

/// What is wrong with a message; nothing, if it obeys.
pub(crate) fn check(message: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    check_against(&schema, message, "")
}

fn check_against(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let rules = schema.as_object().unwrap();
    for (keyword, rule) in rules {
        let good = match keyword.as_str() {
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                other => panic!("the schema has an unknown type {other}"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64() >= rule.as_f64(),
            "maximum" => value.as_f64() <= rule.as_f64(),
            "format" => match (rule.as_str().unwrap(), value.as_str()) {
                ("date-time", Some(text)) => text.parse::<jiff::Timestamp>().is_ok(),
                ("ip", Some(text)) => text.parse::<IpAddr>().is_ok(),
                (_, None) => true,
                (other, Some(_)) => panic!("the schema has an unknown format {other}"),
            },
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false));
                let known = rules["properties"].as_object().unwrap();
                if let Some(name) =
                    value.as_object().and_then(|v| v.keys().find(|name| !known.contains_key(*name)))
                {
                    return Err(format!("{place}/{name} is one key too many"));
                }
                true
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check_against(schema, value, &format!("{place}/{name}"))?;
                    }
                }
                true
            }
            other => panic!("the schema has an unknown keyword {other}"),
        };
        if !good {
            return Err(format!("{place}: {value} breaks {keyword} {rule}"));
        }
    }
    Ok(())
}
