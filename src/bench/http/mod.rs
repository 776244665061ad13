//! stub
pub(crate) struct HttpOptions {
    pub(crate) url: Option<String>,
    pub(crate) workers: usize,
    pub(crate) directory: Option<std::path::PathBuf>,
    pub(crate) sync: String,
    pub(crate) connections: Vec<usize>,
    pub(crate) users: u64,
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
    pub(crate) repeat: usize,
    pub(crate) json: bool,
    pub(crate) token: Option<String>,
}
pub(crate) fn bench(_o: &HttpOptions) -> crate::Result<super::Outcome> {
    Ok(super::Outcome::Good)
}
