//! The published schema of `results.json`, held against what is written.
//!
//! Only tests are here. The little of JSON Schema that ours uses is checked by hand; a
//! keyword that is not known here fails, so that nothing in it goes unchecked.

use serde_json::Value;

use super::results::{FORMAT, SCHEMA};

/// What is wrong, with its place.
fn check(schema: &Value, root: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let path = wanted.as_str().and_then(|path| path.strip_prefix('#'));
                let target = root.pointer(path.expect("a place in this file"));
                wrong.extend(check(target.expect("what is named"), root, value, place));
            }
            "const" if wanted == value => {}
            "const" => wrong.push(format!("{place}: {value} is not {wanted}")),
            "enum" if wanted.as_array().is_some_and(|all| all.contains(value)) => {}
            "enum" => wrong.push(format!("{place}: {value} is none of {wanted}")),
            "anyOf" => {
                let all = wanted.as_array().expect("a list");
                if !all
                    .iter()
                    .any(|one| check(one, root, value, place).is_empty())
                {
                    wrong.push(format!("{place}: {value} fits none of {wanted}"));
                }
            }
            "type" => {
                let one = std::slice::from_ref(wanted);
                let types = wanted.as_array().map_or(one, Vec::as_slice);
                if !types.iter().any(|kind| is(kind, value)) {
                    wrong.push(format!("{place}: {value} is no {wanted}"));
                }
            }
            "required" => {
                for name in wanted
                    .as_array()
                    .expect("a list")
                    .iter()
                    .filter_map(Value::as_str)
                {
                    if value.is_object() && value.get(name).is_none() {
                        wrong.push(format!("{place}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                let known = wanted.as_object().expect("an object");
                for (name, field) in value.as_object().into_iter().flatten() {
                    let place = format!("{place}.{name}");
                    match known.get(name) {
                        Some(schema) => wrong.extend(check(schema, root, field, &place)),
                        None => wrong.push(format!("{place}: is not in the schema")),
                    }
                }
            }
            "additionalProperties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    wrong.extend(check(wanted, root, field, &format!("{place}.{name}")));
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    wrong.extend(check(wanted, root, item, &format!("{place}[{n}]")));
                }
            }
            other => wrong.push(format!("{place}: the keyword {other} is not checked here")),
        }
    }
    wrong
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

/// A results.json that has all that can be in one.
fn full() -> Value {
    let mut results = super::report::tests::sample();
    results.format = FORMAT;
    results.runs[0].latency_histogram = vec![(1.5, 2)];
    results.runs[0].invariants.push(Default::default());
    let transaction = ("look".to_owned(), Default::default());
    results.runs[0].transactions.extend([transaction]);
    results.knees.push(Default::default());
    results.effects.push(Default::default());
    results.settings.pragmas = vec![("page_size".to_owned(), vec!["1024".to_owned()])];
    results
        .in_force
        .insert("sqlite".to_owned(), Default::default());
    serde_json::to_value(results).unwrap()
}

#[test]
fn what_is_written_is_what_is_published() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(schema["properties"]["format"]["const"], FORMAT);
    let wrong = check(&schema, &schema, &full(), "results");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_check_is_not_blind() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut results = full();
    results["runs"][0]["turns"] = "many".into();
    results["medians"][1]["comparisons"][0]["verdict"] = "quicker".into();
    results["new"] = 1.into();
    results.as_object_mut().unwrap().remove("machine");
    let wrong = check(&schema, &schema, &results, "results").join("; ");
    for place in [
        "runs[0].turns",
        "verdict",
        "results.new",
        "machine is missing",
    ] {
        assert!(wrong.contains(place), "{place}: {wrong}");
    }
}

/// A file of the first format is still read, and concluded anew.
#[test]
fn an_older_file_is_read() {
    let results = super::report::tests::sample();
    assert_eq!(results.format, 1);
    assert_eq!(results.settings.state_bytes, [200]);
    let starved = results.medians.iter().any(|row| row.starved_runs > 0);
    assert!(starved, "its counts of processes tell");
}
