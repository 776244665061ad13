//! A row as a type of the author's, by serde.
//!
//! Called by [`Row::to`](crate::Row::to). Invariant: a value is read as what it is; the one
//! thing that SQL does not have is a boolean, which is an integer here. Bound: the row's own.

use std::fmt::Display;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::{Error, Result, Value};

/// Reads a row.
///
/// # Errors
/// [`Error::Statement`]: which field is missing, or holds another type.
pub(crate) fn read<T: DeserializeOwned>(columns: &[String], values: &[Value]) -> Result<T> {
    T::deserialize(Fields { columns, values }).map_err(|error| Error::Statement(error.0))
}

/// Why a row is none of those.
#[derive(Debug)]
struct Unfit(String);

impl Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl de::Error for Unfit {
    fn custom<T: Display>(message: T) -> Self {
        Unfit(format!("the row does not fit: {message}"))
    }
}

struct Fields<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Unfit> {
        let names = self.columns.iter().map(String::as_str);
        let values = self.columns.iter().zip(self.values);
        let values = values.map(|(column, value)| Field {
            column: Some(column),
            value,
        });
        visitor.visit_map(MapDeserializer::new(names.zip(values)))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Unfit> {
        let values = self.values.iter().map(|value| Field {
            column: None,
            value,
        });
        visitor.visit_seq(SeqDeserializer::new(values))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> std::result::Result<V::Value, Unfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct tuple_struct map struct enum identifier ignored_any
    }
}

/// A value, and where it stands if it has a name.
#[derive(Clone, Copy)]
struct Field<'a> {
    column: Option<&'a str>,
    value: &'a Value,
}

impl<'a> IntoDeserializer<'_, Unfit> for Field<'a> {
    type Deserializer = Field<'a>;

    fn into_deserializer(self) -> Field<'a> {
        self
    }
}

impl Field<'_> {
    /// Says which column it was.
    fn named<T>(self, read: std::result::Result<T, Unfit>) -> std::result::Result<T, Unfit> {
        read.map_err(|Unfit(why)| match self.column {
            Some(column) if !why.contains(" in column ") => {
                Unfit(format!("{why} in column {column:?}"))
            }
            _ => Unfit(why),
        })
    }
}

impl<'de> Deserializer<'de> for Field<'_> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Unfit> {
        self.named(match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Real(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::Blob(bytes) => visitor.visit_bytes(bytes),
        })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Unfit> {
        match self.value {
            Value::Integer(number) => visitor.visit_bool(*number != 0),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> std::result::Result<V::Value, Unfit> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Unfit> {
        match self.value {
            Value::Blob(bytes) => {
                self.named(visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant by its name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Unfit> {
        let read = visitor.visit_enum(self);
        self.named(read)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Field<'_> {
    type Error = Unfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> std::result::Result<(V::Value, Self), Unfit> {
        Ok((seed.deserialize(self)?, self))
    }
}

fn only_a_name() -> Unfit {
    de::Error::custom("a column holds no more than a variant's name")
}

impl<'de> VariantAccess<'de> for Field<'_> {
    type Error = Unfit;

    fn unit_variant(self) -> std::result::Result<(), Unfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        _: T,
    ) -> std::result::Result<T::Value, Unfit> {
        Err(only_a_name())
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _: usize,
        _: V,
    ) -> std::result::Result<V::Value, Unfit> {
        Err(only_a_name())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> std::result::Result<V::Value, Unfit> {
        Err(only_a_name())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn row() -> (Vec<String>, Vec<Value>) {
        let columns = ["id", "name", "paid", "share", "note", "key", "kind", "more"];
        let values = vec![
            Value::from(7_u64),
            Value::from("ann"),
            Value::from(true),
            Value::from(0.5_f32),
            Value::Null,
            Value::from(vec![1_u8, 2]),
            Value::from("big"),
            Value::from(1),
        ];
        (columns.map(str::to_owned).to_vec(), values)
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Size {
        Big,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        id: u64,
        name: String,
        paid: bool,
        share: f32,
        note: Option<String>,
        key: Vec<u8>,
        kind: Size,
        #[serde(default)]
        absent: i32,
    }

    #[test]
    fn a_row_becomes_a_struct() {
        let (columns, values) = row();
        let order: Order = read(&columns, &values).unwrap();
        let expected = Order {
            id: 7,
            name: "ann".to_owned(),
            paid: true,
            share: 0.5,
            note: None,
            key: vec![1, 2],
            kind: Size::Big,
            absent: 0,
        };
        assert_eq!(order, expected);
        let (id, name): (i64, String) = read(&columns[..2], &values[..2]).unwrap();
        assert_eq!((id, name.as_str()), (7, "ann"));
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_column() {
        let (columns, mut values) = row();
        values[0] = Value::from("seven");
        let why = read::<Order>(&columns, &values).unwrap_err().to_string();
        assert!(
            why.contains("\"seven\"") && why.contains("in column \"id\""),
            "{why}"
        );
        let why = read::<Order>(&columns[1..], &values[1..]).unwrap_err();
        assert!(why.to_string().contains("missing field `id`"), "{why}");
    }
}
