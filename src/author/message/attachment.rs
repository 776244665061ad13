//! [`Attachment`]: a file of a reply, and where it comes from.
//!
//! Used by `reply.rs`. Bound: [`MAX_BYTES`] within a reply, which `channels/content.rs` sees to.

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::content::FileKind;
use super::object::Object;

/// Where a file that is sent comes from.
///
/// ```
/// use turnkey::{Attachment, Source};
///
/// let bill = Attachment::document("/srv/bills/7.pdf");
/// assert_eq!(bill.source, Source::Path("/srv/bills/7.pdf".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// An address: the platform fetches it from there, or we do where it does not.
    Url(String),
    /// The platform's own name for a file that it has: [`File::id`](crate::File::id).
    Id(String),
    /// A file of the box, read when it is sent. An absolute path.
    Path(String),
    /// The bytes, in base64; they are kept with the turn. At most [`MAX_BYTES`].
    Base64(String),
}

/// Bytes of a file that travels within a reply, 1 MiB: it is part of the turn's transaction.
pub const MAX_BYTES: usize = 1 << 20;

/// A file that is sent.
///
/// ```
/// use turnkey::{Attachment, FileKind, Reply, Source};
///
/// // By its address, from the box, from memory.
/// let cat = Attachment::photo("https://example.org/cat.jpg");
/// let bill = Attachment::document("/srv/bills/7.pdf").named("bill.pdf");
/// let list = Attachment::bytes(FileKind::Document, "list.csv", "name,count\n");
/// assert_eq!(bill.source, Source::Path("/srv/bills/7.pdf".to_owned()));
/// let album = Reply::files([cat, bill, list]).caption("As you wished");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// How it is shown.
    #[serde(default, rename = "type")]
    pub kind: FileKind,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// The name that the user sees; by default the last part of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its media type, such as `application/pdf`, where it cannot be told from the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

impl Attachment {
    /// A file of this kind: an address (`https://…`), an absolute path of the box, or the
    /// platform's id of a file that it has.
    ///
    /// ```
    /// use turnkey::{Attachment, FileKind};
    ///
    /// let song = Attachment::new(FileKind::Audio, "https://example.org/song.mp3");
    /// # drop(song);
    /// ```
    pub fn new(kind: FileKind, from: impl Into<String>) -> Self {
        let from = from.into();
        let is_address = |scheme: &str| {
            from.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        Attachment {
            kind,
            source: if is_address("http://") || is_address("https://") {
                Source::Url(from)
            } else if from.starts_with('/') {
                Source::Path(from)
            } else {
                Source::Id(from)
            },
            name: None,
            media_type: None,
        }
    }

    /// A picture, as [`Attachment::new`].
    ///
    /// ```
    /// let cat = turnkey::Attachment::photo("https://example.org/cat.jpg");
    /// # drop(cat);
    /// ```
    pub fn photo(from: impl Into<String>) -> Self {
        Attachment::new(FileKind::Photo, from)
    }

    /// A file of any type, as [`Attachment::new`].
    ///
    /// ```
    /// let bill = turnkey::Attachment::document("/srv/bills/7.pdf");
    /// # drop(bill);
    /// ```
    pub fn document(from: impl Into<String>) -> Self {
        Attachment::new(FileKind::Document, from)
    }

    /// A file that the platform has, by its id.
    ///
    /// ```
    /// use turnkey::{Attachment, FileKind, Reply, Turn};
    ///
    /// /// Sends back the voice that came.
    /// async fn parrot(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     let voice = turn.files().iter().find(|file| file.kind == FileKind::Voice);
    ///     if let Some(id) = voice.and_then(|voice| voice.id.clone()) {
    ///         turn.reply(Reply::file(Attachment::id(FileKind::Voice, id)));
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(parrot);
    /// ```
    pub fn id(kind: FileKind, id: impl Into<String>) -> Self {
        Attachment {
            source: Source::Id(id.into()),
            ..Attachment::new(kind, "")
        }
    }

    /// These bytes, under this name. They are kept with the turn: at most [`MAX_BYTES`].
    ///
    /// ```
    /// use turnkey::{Attachment, FileKind};
    ///
    /// let list = Attachment::bytes(FileKind::Document, "list.csv", "name,count\n");
    /// # drop(list);
    /// ```
    pub fn bytes(kind: FileKind, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        use base64::Engine;
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        Attachment {
            source: Source::Base64(base64),
            name: Some(name.into()),
            ..Attachment::new(kind, "")
        }
    }

    /// The same under a name that the user sees.
    ///
    /// ```
    /// let bill = turnkey::Attachment::document("/srv/bills/7.pdf").named("Your bill.pdf");
    /// # drop(bill);
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// Files; the first version had one picture, as a text.
pub(super) fn files<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Attachment>, D::Error> {
    struct Files;
    impl<'de> Visitor<'de> for Files {
        type Value = Vec<Attachment>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of files")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_str<E: de::Error>(self, picture: &str) -> Result<Self::Value, E> {
            Ok(vec![Attachment::photo(picture)])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut files = Vec::new();
            while let Some(Object(file)) = list.next_element()? {
                files.push(file);
            }
            Ok(files)
        }
    }
    from.deserialize_any(Files)
}
