//! Values and rows of SQL as JSON.
//!
//! Called by `write.rs` (rows, to the handler) and by `read.rs` and `answer.rs` (parameters,
//! from it). Invariant: whatever a column can hold goes there and comes back as it was, in a
//! language whose only numbers are doubles, too. The one exception are infinite numbers, which
//! arrive as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use turnkey_storage::{Row, Statement, Value};

/// The largest integer that a JavaScript number holds exactly.
const SAFE: i64 = (1 << 53) - 1;

/// A row, its values by the names of their columns.
pub(super) struct Named<'a>(pub(super) &'a Row);
impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let columns = self.0.columns();
        let mut map = to.serialize_map(Some(columns.len()))?;
        for (column, value) in columns.iter().zip(self.0.values()) {
            map.serialize_entry(column, &Shown(value))?;
        }
        map.end()
    }
}

/// A value as it travels to a handler.
struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let tagged = |to: S, name: &'static str, text: String| {
            let mut map = to.serialize_map(Some(1))?;
            map.serialize_entry(name, &text)?;
            map.end()
        };
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Integer(n) if (-SAFE..=SAFE).contains(n) => to.serialize_i64(*n),
            Value::Integer(n) => tagged(to, "integer", n.to_string()),
            // Infinite ones are no JSON.
            Value::Real(x) if x.is_finite() => to.serialize_f64(*x),
            Value::Real(x) => to.serialize_str(&x.to_string()),
            Value::Text(text) => to.serialize_str(text),
            Value::Blob(bytes) => tagged(to, "base64", STANDARD.encode(bytes)),
        }
    }
}

/// A statement as a handler writes it.
pub(super) fn statement(sql: String, params: Vec<Param>) -> Statement {
    Statement {
        sql,
        params: params.into_iter().map(|param| param.0).collect(),
    }
}

/// A value as a handler writes it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub(super) struct Param(Value);

impl TryFrom<serde_json::Value> for Param {
    type Error = String;

    fn try_from(json: serde_json::Value) -> Result<Self, String> {
        use serde_json::Value as J;
        let value = match json {
            J::Null => Value::Null,
            J::Bool(b) => Value::Integer(b.into()),
            J::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => Value::Integer(n),
                (None, Some(x)) if !n.is_u64() => Value::Real(x),
                _ => return Err(format!("the integer {n} is beyond 64 bits")),
            },
            J::String(text) => Value::Text(text),
            J::Object(map) => {
                let only = (map.len() == 1).then(|| map.iter().next()).flatten();
                match only {
                    Some((name, J::String(text))) if name == "base64" => Value::Blob(
                        STANDARD
                            .decode(text)
                            .map_err(|e| format!("base64 that cannot be read: {e}"))?,
                    ),
                    Some((name, J::String(text))) if name == "integer" => Value::Integer(
                        text.parse()
                            .map_err(|e| format!("the integer {text:?}: {e}"))?,
                    ),
                    _ => return Err("an object is no value of SQL; as JSON text it is".to_owned()),
                }
            }
            J::Array(_) => return Err("a list is no value of SQL; as JSON text it is".to_owned()),
        };
        Ok(Param(value))
    }
}
