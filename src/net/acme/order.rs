//! One certificate, from the account to the file (RFC 8555, 7).
//!
//! Called by `mod.rs`, which holds the lock. The bot proves that it owns the names on the port
//! that it serves anyway (TLS-ALPN-01, RFC 8737): the answer to the challenge is put where
//! every worker looks for it. Invariants: key and names of a certificate are checked before it
//! is put in place; no challenge files stay behind. Bounds: [`LIMIT`] for all of it.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};

use super::account::Accounts;
use super::certificate::{self, Held};
use super::client::Client;
use super::failure::Failure;
use super::store::Store;
use crate::config::AcmeConfig;

/// For a whole order: servers need some seconds.
const LIMIT: Duration = Duration::from_secs(180);

/// For each of the two decisions of the server: the names are proven, the certificate is
/// signed.
const DECISION: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(80));

/// Gets a certificate and puts it in its place.
///
/// # Errors
/// The server refused, or was not reached, or the files cannot be written.
pub(super) async fn get(config: &AcmeConfig, store: &Store) -> Result<Held, Failure> {
    let client = Client::new(config.ca.as_deref(), &config.proxies)?;
    let attempt = Attempt {
        config,
        store,
        client,
    };
    // Those of a worker that died.
    store.clear_challenges()?;
    let result = tokio::time::timeout(LIMIT, attempt.run()).await;
    let cleared = store.clear_challenges();
    match result {
        Ok(Ok(held)) => cleared.map(|()| held),
        Ok(Err(failure)) => Err(failure.put_off(attempt.client.retry_after())),
        Err(_) => Err(Failure::new(format!(
            "{} took longer than {} s",
            config.url,
            LIMIT.as_secs()
        ))),
    }
}

struct Attempt<'a> {
    config: &'a AcmeConfig,
    store: &'a Store,
    client: Client,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Held, Failure> {
        let accounts = Accounts {
            config: self.config,
            store: self.store,
            client: &self.client,
        };
        let account = match accounts.open().await {
            Ok(None) => accounts.create().await,
            Ok(Some(account)) => Ok(account),
            Err(failure) => Err(failure),
        };
        let order = match account {
            Ok(account) => self.place(&account).await,
            Err(failure) => Err(failure),
        };
        let mut order = match order {
            // Servers for trials forget accounts now and then.
            Err(failure) if failure.is_stranger => {
                tracing::info!("{} does not know the account any more", self.config.url);
                self.place(&accounts.create().await?).await?
            }
            order => order?,
        };
        self.prove(&mut order).await?;
        let key = certificate::new_key()?;
        let request = certificate::request(&self.config.domains, &key)?;
        let finalized = order.finalize_csr(&request).await;
        finalized.map_err(|e| self.failure(e))?;
        let chain = order.poll_certificate(&DECISION).await;
        let chain = chain.map_err(|e| self.failure(e))?;
        let file = certificate::file(&self.config.url, &chain, &key);
        let held = Held::parse(&file)?;
        if !held.is_for(&self.config.domains) {
            return Err(Failure::new(format!(
                "{} gave a certificate for other names",
                self.config.url
            )));
        }
        self.store.put_certificate(file).await?;
        Ok(held)
    }

    async fn place(&self, account: &Account) -> Result<Order, Failure> {
        let names = self.config.domains.iter().cloned();
        let names: Vec<Identifier> = names.map(Identifier::Dns).collect();
        let order = account.new_order(&NewOrder::new(&names)).await;
        order.map_err(|e| self.failure(e))
    }

    /// Shows for each name that it leads here, and waits until the server believes it.
    async fn prove(&self, order: &mut Order) -> Result<(), Failure> {
        let mut names = order.authorizations();
        while let Some(name) = names.next().await {
            let mut name = name.map_err(|e| self.failure(e))?;
            match name.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                other => {
                    return Err(Failure::new(format!("an authorization is {other:?}")));
                }
            }
            let domain = name.identifier().to_string();
            let Some(mut challenge) = name.challenge(ChallengeType::TlsAlpn01) else {
                return Err(Failure::new(format!(
                    "{} does not offer the check tls-alpn-01 for {domain}; choose another with --acme-url, or get a certificate by other means (--tls-cert)",
                    self.config.url
                )));
            };
            let digest = challenge.key_authorization().digest();
            let answer = certificate::challenge(&domain, digest.as_ref())?;
            self.store.put_challenge(&domain, answer).await?;
            let ready = challenge.set_ready().await;
            ready.map_err(|e| self.failure(e))?;
        }
        // One whose names were proven lately is ready already.
        if order.state().status == OrderStatus::Ready {
            return Ok(());
        }
        match order.poll_ready(&DECISION).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.refusal(order, None).await),
            Err(error) => Err(self.refusal(order, Some(error)).await),
        }
    }

    /// What was wrong with a name says more than what was wrong with the order.
    async fn refusal(&self, order: &mut Order, error: Option<instant_acme::Error>) -> Failure {
        let mut names = order.authorizations();
        while let Some(Ok(name)) = names.next().await {
            let problem = name.challenges.iter().find_map(|c| c.error.as_ref());
            if let Some(problem) = problem {
                let domain = name.identifier().to_string();
                return Failure::of_problem(Some(&domain), problem);
            }
        }
        match error {
            Some(error) => self.failure(error),
            None => Failure::new(format!("{} refused the order", self.config.url)),
        }
    }

    fn failure(&self, error: instant_acme::Error) -> Failure {
        Failure::of(error, &self.config.url)
    }
}
