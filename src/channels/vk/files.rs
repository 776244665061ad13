//! VK's attachments, as they come and as they are sent. VK takes no addresses: a file is fetched
//! or read, uploaded and saved, then named in the message.
//!
//! Used by `incoming.rs` and `mod.rs`. Each file that is uploaded takes two calls of the API
//! beside the message's own, each in its place within the limit. Bounds: [`LARGEST`].

use hyper::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::lenient::{self, List};
use super::super::upload::{self, Content, Form};
use super::super::{SendError, without};
use super::Vk;
use crate::author::message::{Attachment, File, FileKind, Source};

/// Bytes of a file that VK takes at most (<https://dev.vk.com/en/api/upload/overview>).
const LARGEST: u64 = 200 << 20;

/// What VK takes a document for whose `type` is this: a film without sound.
const GIF: i64 = 3;

#[derive(Deserialize)]
pub(super) struct Attached {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    kind: Option<String>,
    photo: Option<Item>,
    doc: Option<Item>,
    audio_message: Option<Item>,
    audio: Option<Item>,
    video: Option<Item>,
    graffiti: Option<Item>,
    sticker: Option<Sticker>,
    link: Option<Item>,
}

/// The fields of whatever can be attached that are read.
#[derive(Deserialize)]
struct Item {
    #[serde(default, deserialize_with = "lenient::number")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    owner_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    access_key: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    url: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    link_ogg: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    link_mp3: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    artist: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "lenient::maybe")]
    sort: Option<lenient::Number>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    size: Option<lenient::Number>,
    #[serde(default)]
    sizes: List<Size>,
}

#[derive(Deserialize)]
struct Sticker {
    #[serde(default, deserialize_with = "lenient::number")]
    sticker_id: Option<i64>,
    #[serde(default)]
    images: List<Size>,
}

#[derive(Deserialize)]
struct Size {
    /// Absent while VK still makes this size.
    #[serde(default, deserialize_with = "lenient::text")]
    url: Option<String>,
    #[serde(default, deserialize_with = "lenient::number")]
    width: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    height: Option<i64>,
}

/// What is attached to a message.
#[derive(Default)]
pub(super) struct Attachments {
    pub(super) files: Vec<File>,
    /// Of a page that was shared.
    pub(super) address: Option<String>,
    /// Something is not as VK describes it.
    pub(super) is_strange: bool,
}

pub(super) fn read(list: List<Attached>) -> Attachments {
    let mut all = Attachments {
        is_strange: list.is_strange,
        ..Attachments::default()
    };
    for attached in list.items {
        let kind = attached.kind.unwrap_or_default();
        let file = match kind.as_str() {
            "photo" => attached.photo.and_then(|photo| {
                let url = largest(&photo.sizes);
                item(FileKind::Photo, &kind, photo, url)
            }),
            "doc" => attached.doc.and_then(|doc| {
                let is_gif = doc.sort.is_some_and(|sort| sort.0 == GIF);
                let shown = match is_gif {
                    true => FileKind::Animation,
                    false => FileKind::Document,
                };
                item(shown, &kind, doc, None)
            }),
            "audio_message" => attached.audio_message.and_then(|voice| {
                let ogg = voice.link_ogg.clone();
                let media_type = ogg.as_ref().map(|_| "audio/ogg".to_owned());
                let url = ogg.or_else(|| voice.link_mp3.clone());
                let file = item(FileKind::Voice, &kind, voice, url)?;
                Some(File { media_type, ..file })
            }),
            "audio" => attached.audio.and_then(|mut audio| {
                if let (Some(artist), Some(title)) = (&audio.artist, &audio.title) {
                    audio.title = Some(format!("{artist} – {title}"));
                }
                item(FileKind::Audio, &kind, audio, None)
            }),
            // VK gives no address of it.
            "video" => attached
                .video
                .and_then(|video| item(FileKind::Video, &kind, video, None)),
            "graffiti" => attached
                .graffiti
                .and_then(|drawn| item(FileKind::Photo, &kind, drawn, None)),
            "sticker" => attached.sticker.and_then(|sticker| {
                let url = largest(&sticker.images);
                let id = sticker.sticker_id.map(|id| id.to_string());
                (id.is_some() || url.is_some()).then(|| File {
                    id,
                    url,
                    ..File::new(FileKind::Sticker)
                })
            }),
            "link" => {
                all.address = all.address.or(attached.link.and_then(|link| link.url));
                continue;
            }
            // A post, a poll: nothing that is a file.
            other => {
                all.is_strange |= other.is_empty();
                continue;
            }
        };
        match file {
            Some(file) => all.files.push(file),
            None => all.is_strange = true,
        }
    }
    all
}

/// None when it has neither a name nor an address.
fn item(shown: FileKind, kind: &str, item: Item, url: Option<String>) -> Option<File> {
    let id = item.owner_id.zip(item.id);
    let id = id.map(|(owner, id)| named(kind, owner, id, item.access_key.as_deref()));
    let url = url.or(item.url);
    (id.is_some() || url.is_some()).then(|| File {
        id,
        url,
        name: item.title,
        size: item.size.and_then(|size| u64::try_from(size.0).ok()),
        ..File::new(shown)
    })
}

/// An attachment's name, by which it is sent again.
fn named(kind: &str, owner: i64, id: i64, key: Option<&str>) -> String {
    let key = key.filter(|key| !key.is_empty());
    let key = key.map_or(String::new(), |key| format!("_{key}"));
    format!("{kind}{owner}_{id}{key}")
}

fn largest(sizes: &List<Size>) -> Option<String> {
    let area = |size: &&Size| {
        size.width
            .unwrap_or(0)
            .saturating_mul(size.height.unwrap_or(0))
    };
    let with_url = sizes.items.iter().filter(|size| size.url.is_some());
    with_url.max_by_key(area).and_then(|size| size.url.clone())
}

#[derive(Deserialize)]
struct Server {
    upload_url: String,
}

/// What the server says that took a file.
#[derive(Deserialize)]
struct Uploaded {
    #[serde(default, deserialize_with = "lenient::text")]
    server: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    photo: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    hash: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    file: Option<String>,
}

#[derive(Deserialize)]
struct Saved {
    owner_id: lenient::Number,
    id: lenient::Number,
    #[serde(default, deserialize_with = "lenient::text")]
    access_key: Option<String>,
}

/// How VK shows a file that is uploaded.
pub(super) fn is_photo(kind: FileKind) -> bool {
    matches!(kind, FileKind::Photo | FileKind::Sticker)
}

impl Vk {
    /// The name of a file that the message to `peer` can attach.
    pub(super) async fn attach(&self, peer: &str, file: &Attachment) -> Result<String, SendError> {
        if let Source::Id(id) = &file.source {
            return Ok(id.clone());
        }
        match is_photo(file.kind) {
            true => self.upload_photo(peer, file).await,
            false => self.upload_document(peer, file).await,
        }
    }

    async fn upload_photo(&self, peer: &str, file: &Attachment) -> Result<String, SendError> {
        let fields = [("peer_id", peer)];
        let method = "photos.getMessagesUploadServer";
        let uploaded = self.upload(method, &fields, "photo", file).await?;
        let (Some(server), Some(photo), Some(hash)) =
            (uploaded.server, uploaded.photo, uploaded.hash)
        else {
            return Err(SendError::Refused("VK takes this for no photo".to_owned()));
        };
        if photo.is_empty() || photo == "[]" {
            return Err(SendError::Refused("VK takes this for no photo".to_owned()));
        }
        let fields = [
            ("server", server.as_str()),
            ("photo", &photo),
            ("hash", &hash),
        ];
        let saved = self.in_place("photos.saveMessagesPhoto", &fields).await?;
        let [saved]: [Saved; 1] = read_answer(saved)?;
        let key = saved.access_key.as_deref();
        Ok(named("photo", saved.owner_id.0, saved.id.0, key))
    }

    async fn upload_document(&self, peer: &str, file: &Attachment) -> Result<String, SendError> {
        let sort = match file.kind {
            FileKind::Voice => "audio_message",
            _ => "doc",
        };
        let fields = [("peer_id", peer), ("type", sort)];
        let method = "docs.getMessagesUploadServer";
        let uploaded = self.upload(method, &fields, "file", file).await?;
        let Some(token) = uploaded.file.filter(|token| !token.is_empty()) else {
            let reason = "VK does not take this file".to_owned();
            return Err(SendError::Refused(reason));
        };
        let fields = [("file", token.as_str()), ("title", upload::name_of(file))];
        let mut saved: Value = self.in_place("docs.save", &fields).await?;
        // Of older versions a list, whose one element it is.
        if let Some(first) = saved.get_mut(0) {
            saved = first.take();
        }
        let kind = saved["type"].as_str().unwrap_or("doc").to_owned();
        let inner = match saved.get_mut(kind.as_str()) {
            Some(inner) => inner.take(),
            None => saved,
        };
        let saved: Saved = read_answer(inner)?;
        let key = saved.access_key.as_deref();
        Ok(named("doc", saved.owner_id.0, saved.id.0, key))
    }

    /// Asks where to, and uploads there.
    async fn upload(
        &self,
        method: &str,
        fields: &[(&str, &str)],
        field: &str,
        file: &Attachment,
    ) -> Result<Uploaded, SendError> {
        let server: Server = read_answer(self.in_place(method, fields).await?)?;
        let uri = server.upload_url.parse::<Uri>();
        let uri = uri.map_err(|_| SendError::retry("VK named no address to upload to"))?;
        let content = match &file.source {
            Source::Url(address) => {
                let address = address.parse::<Uri>().map_err(|_| {
                    SendError::Refused("the file's address cannot be read".to_owned())
                })?;
                Content::fetched(self.client.fetch(address, Vec::new()).await, LARGEST).await?
            }
            other => Content::open(other).await?,
        };
        let (name, media_type) = (upload::name_of(file), upload::media_type_of(file));
        let form = Form::new().file(field, name, media_type, content);
        let response = self.client.upload(uri, form).await?;
        if !response.status.is_success() {
            let reason = format!("the upload was answered {}", response.status);
            return Err(response.retry(without(&self.token, &reason)));
        }
        response.json()
    }

    /// Calls a method in a place of its own within the limit of the bot.
    async fn in_place(&self, method: &str, fields: &[(&str, &str)]) -> Result<Value, SendError> {
        self.take_place().await?;
        self.call(method, fields.iter().copied()).await
    }
}

fn read_answer<T: DeserializeOwned>(answer: Value) -> Result<T, SendError> {
    serde_json::from_value(answer)
        .map_err(|_| SendError::retry("VK answered something else than it says"))
}
