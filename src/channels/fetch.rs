//! Files that are elsewhere and are to be uploaded, or measured: platforms that take no
//! addresses, or want to be told a file's size, have us look.
//!
//! Called by VK's and Viber's channels. Invariant: an error has no address in it.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Uri;
use hyper::header::CONTENT_LENGTH;

use super::SendError;
use super::client::Client;
use super::upload::Content;
use crate::author::error::chain;

/// Bytes of a file that are read whole, where its server does not say how many there are.
const READ_FIRST: u64 = 20 << 20;

/// For reading such a file.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of a file that is elsewhere: passed on as it comes, where its server says how long it
/// is; else read whole first. Bounds: `most` bytes; [`READ_FIRST`] where it does not.
///
/// # Errors
/// It is not there, or too long.
pub(super) async fn fetch(client: &Client, uri: Uri, most: u64) -> Result<Content, SendError> {
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
