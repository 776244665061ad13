//! [`Target`]: which message an action, or a quote, is about.

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Which message is meant: a name is enough where one is asked for.
///
/// ```
/// use turnkey::{Reply, Target, Turn};
///
/// async fn cart(turn: &mut Turn<u32>) -> turnkey::Result<()> {
///     turn.state += 1;
///     let shown = format!("{} in your cart", turn.state);
///     match turn.state {
///         1 => turn.reply(Reply::from(shown).named("cart")),
///         _ => turn.edit("cart", shown),
///     }
///     turn.delete(Target::This);
///     Ok(())
/// }
/// # turnkey::App::new(cart);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The message of this turn: the user's own, or the one whose button was pressed. What is to
    /// be put in the place of a user's own is a reply.
    This,
    /// The latest one that this dialog gave this name: [`Reply::named`](crate::Reply::named).
    Named(String),
    /// By the platform's id: [`Update::message`](crate::Update::message).
    Message(String),
}

impl From<&str> for Target {
    fn from(name: &str) -> Self {
        Target::Named(name.to_owned())
    }
}

impl From<String> for Target {
    fn from(name: String) -> Self {
        Target::Named(name)
    }
}

/// As JSON: `true`, a name, or `{"message":"…"}`.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Target::This => to.serialize_bool(true),
            Target::Named(name) => to.serialize_str(name),
            Target::Message(id) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("message", id)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OfAny;
        impl<'de> Visitor<'de> for OfAny {
            type Value = Target;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, the name of a message, or {\"message\": its id}")
            }

            fn visit_bool<E: de::Error>(self, this: bool) -> Result<Target, E> {
                match this {
                    true => Ok(Target::This),
                    false => Err(E::invalid_value(de::Unexpected::Bool(false), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Target, E> {
                Ok(Target::Named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                #[derive(Deserialize)]
                struct ById {
                    message: String,
                }
                let by_id = ById::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Target::Message(by_id.message))
            }
        }
        from.deserialize_any(OfAny)
    }
}
