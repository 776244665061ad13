//! Why a measurement could not be made.

/// Why a drill, a run of the laboratory or a report could not be made.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Correct what was asked for, or what is missing: one sentence that names the remedy.
    #[error("{0}")]
    Start(String),
    /// The system refused something that should have worked; try again.
    #[error("{0}")]
    System(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of a step of a measurement.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure that is only a sentence.
    pub fn msg(text: impl Into<String>) -> Self {
        Error::System(text.into().into())
    }
}

/// What the system, a parser or the storage says is passed on as it is.
macro_rules! passed_on {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::System(Box::new(error))
            }
        }
    )*};
}

passed_on!(
    std::io::Error,
    nix::Error,
    serde_json::Error,
    turnkey_storage::Error
);
