//! Files that are uploaded: a form of several parts (RFC 7578) whose files are read while they
//! are sent, piece by piece.
//!
//! Used by channels whose platform takes files, with `upload` of `client.rs`.
//! Invariant: a file that became shorter meanwhile breaks the call off; nothing is invented in
//! its place. Bound: [`PIECE`] bytes of a file in memory.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
use tokio::io::{AsyncRead, ReadBuf};

use super::SendError;
use crate::author::error::chain;
use crate::author::message::{Attachment, FileKind, Source};

/// Bytes of a file that are read at once.
const PIECE: usize = 64 << 10;

/// Bytes of a file elsewhere that are read whole, where nobody says how many there are.
const READ_FIRST: u64 = 20 << 20;

/// For reading such a file.
const PATIENCE: Duration = Duration::from_secs(30);

const SHORTER: &str = "the file became shorter while it was sent";

/// What a call to a platform carries.
pub(super) enum Sending {
    /// Bytes.
    Whole(Full<Bytes>),
    /// Bytes and files.
    Form(Form),
}

impl From<Bytes> for Sending {
    fn from(bytes: Bytes) -> Self {
        Sending::Whole(Full::new(bytes))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Sending::Whole(whole) => Pin::new(whole)
                .poll_frame(task)
                .map_err(|never| match never {}),
            Sending::Form(form) => form.poll(task).map(|piece| Some(piece?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Sending::Whole(whole) => whole.is_end_stream(),
            Sending::Form(form) => form.parts.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Sending::Whole(whole) => whole.size_hint(),
            Sending::Form(form) => SizeHint::with_exact(form.length),
        }
    }
}

/// The content of a file, and how many bytes are left of it.
pub(super) enum Content {
    Bytes(Bytes),
    File(tokio::fs::File, u64),
    /// As it comes from elsewhere.
    Web(Incoming, u64),
}

impl Content {
    /// Of a file of the box, or of bytes within the reply.
    ///
    /// # Errors
    /// It cannot be read; or it is neither.
    pub(super) async fn open(source: &Source) -> Result<Self, SendError> {
        match source {
            Source::Path(path) => {
                let cannot = |e: io::Error| {
                    SendError::Refused(format!("the file {path:?} cannot be read: {e}"))
                };
                let file = tokio::fs::File::open(path).await.map_err(cannot)?;
                let about = file.metadata().await.map_err(cannot)?;
                if !about.is_file() {
                    return Err(SendError::Refused(format!("{path:?} is no file")));
                }
                Ok(Content::File(file, about.len()))
            }
            Source::Base64(text) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Content::Bytes(bytes.into())),
                Err(_) => Err(SendError::Refused("a file is no base64".to_owned())),
            },
            Source::Url(_) | Source::Id(_) => Err(SendError::Refused(
                "a file that is elsewhere is not uploaded".to_owned(),
            )),
        }
    }

    /// Of the answer to whoever fetched a file that is elsewhere: passed on as it comes, where its server says how long it
    /// is; else read whole first. Bounds: `most` bytes; [`READ_FIRST`] where it does not.
    ///
    /// # Errors
    /// It is not there, or too long.
    pub(super) async fn fetched(
        fetched: Result<Response<Incoming>, String>,
        most: u64,
    ) -> Result<Self, SendError> {
        let cannot = |why: String| format!("the file cannot be fetched from its address: {why}");
        let response = fetched.map_err(|why| SendError::retry(cannot(why)))?;
        let status = response.status();
        if status.is_client_error() {
            return Err(SendError::Refused(cannot(status.to_string())));
        }
        if !status.is_success() {
            return Err(SendError::retry(cannot(status.to_string())));
        }
        let said = response.headers().get(CONTENT_LENGTH);
        let said: Option<u64> = said.and_then(|length| length.to_str().ok()?.parse().ok());
        let too_long =
            |most: u64| SendError::Refused(cannot(format!("it has more than {most} bytes")));
        match said {
            Some(length) if length > most => Err(too_long(most)),
            Some(length) => Ok(Content::Web(response.into_body(), length)),
            None => {
                let most = most.min(READ_FIRST);
                let body = Limited::new(response.into_body(), most as usize).collect();
                let body = tokio::time::timeout(PATIENCE, body).await;
                let body = body.map_err(|_| SendError::retry(cannot("it is slow".to_owned())))?;
                match body {
                    Ok(body) => Ok(Content::Bytes(body.to_bytes())),
                    Err(error) if error.is::<LengthLimitError>() => Err(too_long(most)),
                    Err(error) => Err(SendError::retry(cannot(chain(&*error)))),
                }
            }
        }
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_, length) | Content::Web(_, length) => *length,
        }
    }
}

/// A form: fields and files, in order.
pub(super) struct Form {
    boundary: String,
    parts: VecDeque<Content>,
    /// Of all parts that are left.
    length: u64,
}

impl Form {
    pub(super) fn new() -> Self {
        let random = std::iter::repeat_with(fastrand::alphanumeric).take(32);
        Form {
            boundary: random.collect(),
            parts: VecDeque::new(),
            length: 0,
        }
    }

    fn push(&mut self, part: Content) {
        self.length += part.length();
        self.parts.push_back(part);
    }

    /// The same with a field.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        let boundary = &self.boundary;
        let part = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        self.push(Content::Bytes(part.into()));
        self
    }

    /// The same with a file.
    pub(super) fn file(mut self, field: &str, name: &str, media_type: &str, file: Content) -> Self {
        let (boundary, name) = (&self.boundary, quoted(name));
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; \
             filename=\"{name}\"\r\nContent-Type: {media_type}\r\n\r\n"
        );
        self.push(Content::Bytes(head.into()));
        self.push(file);
        self.push(Content::Bytes(Bytes::from_static(b"\r\n")));
        self
    }

    /// Its media type, and itself with its end.
    pub(super) fn end(mut self) -> (String, Sending) {
        let media_type = format!("multipart/form-data; boundary={}", self.boundary);
        let end = format!("--{}--\r\n", self.boundary);
        self.push(Content::Bytes(end.into()));
        (media_type, Sending::Form(self))
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let piece = match self.parts.front_mut() {
                None => return Poll::Ready(None),
                Some(Content::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.parts.pop_front();
                    bytes
                }
                Some(Content::File(_, 0) | Content::Web(_, 0)) => {
                    self.parts.pop_front();
                    continue;
                }
                Some(Content::Web(body, left)) => {
                    let frame = match ready!(Pin::new(body).poll_frame(task)) {
                        Some(Ok(frame)) => frame,
                        Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                        None => return Poll::Ready(Some(Err(io::Error::other(SHORTER)))),
                    };
                    let Ok(piece) = frame.into_data() else {
                        continue;
                    };
                    // The server of the file says how long it is, and hyper holds it to that.
                    *left = left.saturating_sub(piece.len() as u64);
                    piece
                }
                Some(Content::File(file, left)) => {
                    let mut piece = BytesMut::zeroed(PIECE.min(*left as usize));
                    let mut buffer = ReadBuf::new(&mut piece);
                    if let Err(error) = ready!(Pin::new(file).poll_read(task, &mut buffer)) {
                        return Poll::Ready(Some(Err(error)));
                    }
                    let read = buffer.filled().len();
                    if read == 0 {
                        return Poll::Ready(Some(Err(io::Error::other(SHORTER))));
                    }
                    *left -= read as u64;
                    piece.truncate(read);
                    piece.freeze()
                }
            };
            self.length -= piece.len() as u64;
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }
}

/// A file's name as browsers write it there.
fn quoted(name: &str) -> String {
    let name = name.replace('"', "%22");
    name.replace('\r', "%0D").replace('\n', "%0A")
}

/// The name that an attachment is uploaded under: its own, else of its path or address.
pub(super) fn name_of(file: &Attachment) -> &str {
    if let Some(name) = file.name.as_deref().filter(|name| !name.is_empty()) {
        return name;
    }
    let path = match &file.source {
        Source::Path(path) => path.as_str(),
        Source::Url(address) => address.split(['?', '#']).next().unwrap_or_default(),
        Source::Id(_) | Source::Base64(_) => "",
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains('.') {
        return last;
    }
    match file.kind {
        FileKind::Photo => "photo.jpg",
        FileKind::Voice => "voice.ogg",
        FileKind::Audio => "audio.mp3",
        FileKind::Video | FileKind::VideoNote => "video.mp4",
        FileKind::Animation => "animation.gif",
        FileKind::Sticker => "sticker.webp",
        FileKind::Document => "file",
    }
}

/// Its media type: as said, else by the end of its name.
pub(super) fn media_type_of(file: &Attachment) -> &str {
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if let Some(said) = file.media_type.as_deref()
        && said.contains('/')
        && said.chars().all(is_plain)
    {
        return said;
    }
    let name = name_of(file);
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    match end.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "m4a" | "aac" => "audio/mp4",
        "wav" => "audio/wav",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "json" => "application/json",
        "txt" => "text/plain",
        "csv" => "text/csv",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_sent_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let source = Source::Path(path.to_str().unwrap().to_owned());
        let content = Content::open(&source).await.unwrap();
        let form = Form::new()
            .field("a", "b")
            .file("photo", "x\"\n.bin", "image/png", content);
        let (media_type, body) = form.end();
        let boundary = media_type.split_once('=').unwrap().1.to_owned();
        let said = body.size_hint().exact().unwrap();
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent.len() as u64, said);
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"photo\"; \
             filename=\"x%22%0A.bin\"\r\nContent-Type: image/png\r\n\r\n"
        );
        let end = format!("\r\n--{boundary}--\r\n");
        assert_eq!(sent, [head.as_bytes(), &bytes, end.as_bytes()].concat());
        let nowhere = Source::Path("/no/such/file".to_owned());
        assert!(matches!(
            Content::open(&nowhere).await,
            Err(SendError::Refused(why)) if why.contains("/no/such/file")
        ));
    }

    #[test]
    fn names_and_types_are_guessed() {
        let guess = |file: &Attachment| (name_of(file).to_owned(), media_type_of(file).to_owned());
        let of = |from: &str| guess(&Attachment::photo(from));
        assert_eq!(
            of("/srv/a.PNG"),
            ("a.PNG".to_owned(), "image/png".to_owned())
        );
        assert_eq!(
            of("https://e.org/b.gif?x=/y.pdf"),
            ("b.gif".to_owned(), "image/gif".to_owned())
        );
        assert_eq!(
            of("https://e.org/b"),
            ("photo.jpg".to_owned(), "image/jpeg".to_owned())
        );
    }
}
