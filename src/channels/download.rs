//! Fetches files that users sent: into memory, or piece by piece into a file of the box.
//!
//! Called by the registry for [`Turn::download`](crate::Turn::download), and by channels that
//! upload what is elsewhere. Invariants: an error has no address in it, which may hold a token;
//! what is not whole is removed. Bounds: the caller's limit in bytes; [`SILENCE`] without a byte.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Uri;
use hyper::header::CONTENT_LENGTH;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::Client;
use super::upload::Content;
use super::{FileAddress, SendError};
use crate::author::error::chain;

/// A download ends when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes of a file elsewhere that are read whole, where nobody says how many there are.
const READ_FIRST: u64 = 20 << 20;

/// Bytes that are read at once of a file of this box.
const PIECE: usize = 64 << 10;

/// Fetches a file into memory.
///
/// # Errors
/// A sentence: it is too large, not there, or broke off.
pub(super) async fn to_memory(
    client: &Client,
    address: FileAddress,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut pieces = Pieces::open(client, address, limit as u64).await?;
    while let Some(piece) = pieces.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Fetches a file into one that does not exist yet; the bytes written.
///
/// # Errors
/// As [`to_memory`]; or it cannot be written.
pub(super) async fn to_file(
    client: &Client,
    address: FileAddress,
    path: &Path,
    limit: u64,
) -> Result<u64, String> {
    let cannot = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    let mut pieces = Pieces::open(client, address, limit).await?;
    let mut file = tokio::fs::File::create_new(path).await.map_err(cannot)?;
    let whole = Half(Some(path));
    while let Some(piece) = pieces.next().await? {
        file.write_all(&piece).await.map_err(cannot)?;
    }
    file.flush().await.map_err(cannot)?;
    whole.keep();
    Ok(pieces.so_far)
}

/// A file that is not whole yet: it goes with this, also when nobody waits for it any more.
struct Half<'a>(Option<&'a Path>);

impl Half<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Whatever comes of it: the error is the download's.
            drop(std::fs::remove_file(path));
        }
    }
}

/// The content of a file that is elsewhere, to be uploaded: passed on as it comes, where its
/// server says how long it is; else read whole first. Bounds: `most` bytes; [`READ_FIRST`] where
/// it does not.
///
/// # Errors
/// It is not there, or too long.
pub(super) async fn to_pass_on(client: &Client, uri: Uri, most: u64) -> Result<Content, SendError> {
    let cannot = |why: String| format!("the file cannot be fetched from its address: {why}");
    let fetched = client.fetch(uri, Vec::new()).await;
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
    let too_long = |most: u64| SendError::Refused(cannot(format!("it has more than {most} bytes")));
    match said {
        Some(length) if length > most => Err(too_long(most)),
        Some(length) => Ok(Content::Web(response.into_body(), length)),
        None => {
            let most = most.min(READ_FIRST);
            let body = Limited::new(response.into_body(), most as usize).collect();
            let body = tokio::time::timeout(SILENCE, body).await;
            let body = body.map_err(|_| SendError::retry(cannot("it is slow".to_owned())))?;
            match body {
                Ok(body) => Ok(Content::Bytes(body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(too_long(most)),
                Err(error) => Err(SendError::retry(cannot(chain(&*error)))),
            }
        }
    }
}

/// A file as it comes.
struct Pieces {
    from: From,
    limit: u64,
    so_far: u64,
}

enum From {
    Web(hyper::body::Incoming),
    Disk(tokio::fs::File),
}

impl Pieces {
    async fn open(client: &Client, address: FileAddress, limit: u64) -> Result<Self, String> {
        let from = match &address.path {
            Some(path) => {
                let file = tokio::fs::File::open(path).await;
                From::Disk(file.map_err(|e| format!("cannot read the platform's file: {e}"))?)
            }
            None => {
                let response = client.fetch(address.uri, address.headers).await?;
                if !response.status().is_success() {
                    return Err(format!("the file is not there: {}", response.status()));
                }
                From::Web(response.into_body())
            }
        };
        Ok(Pieces {
            from,
            limit,
            so_far: 0,
        })
    }

    async fn next(&mut self) -> Result<Option<bytes::Bytes>, String> {
        let piece = match &mut self.from {
            From::Web(body) => loop {
                let frame = tokio::time::timeout(SILENCE, body.frame())
                    .await
                    .map_err(|_| format!("nothing came for {} s", SILENCE.as_secs()))?;
                match frame {
                    None => break None,
                    Some(Err(error)) => return Err(format!("it broke off: {error}")),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            break Some(data);
                        }
                    }
                }
            },
            From::Disk(file) => {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece).await.map_err(|e| e.to_string())?;
                piece.truncate(read);
                Some(piece.into()).filter(|piece: &bytes::Bytes| !piece.is_empty())
            }
        };
        self.so_far += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.so_far > self.limit {
            return Err(format!("the file has more than {} bytes", self.limit));
        }
        Ok(piece)
    }
}
