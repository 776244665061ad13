//! Gets the certificate of `--tls-domain` by ACME (RFC 8555), and renews it.
//!
//! Run by the first worker once it serves (`worker/mod.rs`); [`check`] by the master. All
//! workers notice a new certificate: `net/tls/` watches the file. Nothing waits for it: until
//! the first certificate is there, handshakes are refused. Invariants: one order at a time in a
//! directory, even if several programs share it ([`store`]'s lock); whatever a dying worker
//! leaves, its successor cleans up; when another program or worker takes over, an order under
//! way is finished within the time that the worker has left. Bounds: those of `attempts.rs` for
//! failures, of `order.rs` for one order.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | when |
//! | `order.rs` | one certificate, from the order to the file |
//! | `account.rs` | the account |
//! | `renewal.rs` | when the server wants a renewal |
//! | `attempts.rs` | how often an order may be tried |
//! | `certificate.rs` | requests, answers to challenges, what is known of a certificate |
//! | `client.rs` | HTTPS to the ACME server |
//! | `store.rs` | the directory |
//! | `failure.rs` | problems, and what to do |

mod account;
mod attempts;
mod certificate;
mod client;
mod failure;
mod order;
mod renewal;
mod store;

use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use self::attempts::Attempts;
use self::certificate::Held;
use self::failure::Failure;
use self::renewal::Renewal;
use self::store::Store;
use crate::config::AcmeConfig;

/// Between two looks at the certificate, at most; those of a short life are looked at
/// [`LOOKS`] times in it.
const LOOK: Duration = Duration::from_secs(6 * 3600);

const LOOKS: u32 = 24;

/// While another process gets one.
const LOCKED: Duration = Duration::from_secs(4);

/// When the directory cannot be used.
const UNUSABLE: Duration = Duration::from_secs(300);

/// Whether certificates can be got, as far as that is known without asking anybody.
///
/// # Errors
/// [`crate::StartError::Refused`] with the remedy.
pub(crate) fn check(config: &AcmeConfig) -> crate::StartResult<()> {
    let ca = config.ca.as_deref().map(client::trusting).transpose();
    match ca.and_then(|_| Store::open(config)?.check()) {
        Ok(()) => Ok(()),
        Err(failure) => Err(crate::StartError::Refused(failure.to_string())),
    }
}

/// Sees to it that there is a certificate, until the worker leaves. An order under way
/// is finished then.
pub(crate) async fn run(config: AcmeConfig, mut leaving: watch::Receiver<bool>) {
    let mut schedule = Schedule {
        config,
        has_tried: false,
        renewal: Renewal::new(),
    };
    while !*leaving.borrow() {
        let pause = match schedule.look().await {
            Ok(pause) => pause,
            Err(failure) => {
                tracing::error!("no certificate can be got: {failure}");
                UNUSABLE
            }
        };
        // Those who were started together do not ask together.
        let pause = pause.mul_f64(1.0 + fastrand::f64() / 4.0);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = leaving.wait_for(|leaving| *leaving) => {}
        }
    }
}

/// What is remembered from one look to the next.
struct Schedule {
    config: AcmeConfig,
    /// This process has asked for a certificate.
    has_tried: bool,
    renewal: Renewal,
}

impl Schedule {
    /// Looks whether a certificate is needed, and gets it. Returns when to look again.
    async fn look(&mut self) -> Result<Duration, Failure> {
        let config = &self.config;
        let store = Store::open(config)?;
        let before = store.certificate();
        let Some(need) = self.need(&store, before.as_ref()).await else {
            return Ok(until_next_look(&store));
        };
        let config = &self.config;
        let mut attempts = Attempts::load(&store, config)?;
        let wait = attempts.wait(SystemTime::now(), self.has_tried);
        let names = config.domains.join(", ");
        if wait > Duration::ZERO {
            if !self.has_tried {
                tracing::warn!(
                    "a certificate for {names} is asked for in {}, since {} attempts have failed",
                    spoken(wait),
                    attempts.failed()
                );
            }
            return Ok(wait);
        }
        let Some(lock) = store.try_lock()? else {
            tracing::debug!("another process gets a certificate");
            return Ok(LOCKED);
        };
        // Whoever had the lock may have got it.
        if store.certificate() != before {
            return Ok(Duration::ZERO);
        }
        self.has_tried = true;
        attempts.begin(&store, SystemTime::now()).await?;
        tracing::info!(
            "Getting a certificate for {names} from {}: {need}",
            config.url
        );
        let pause = match order::get(config, &store).await {
            Ok(held) if need_of(config, &held).is_none() => {
                attempts.forget(&store).await?;
                tracing::info!(
                    "Got a certificate for {names}, valid until {}; the next is got after {}",
                    httpdate::fmt_http_date(held.not_after),
                    httpdate::fmt_http_date(held.due())
                );
                until_next_look(&store)
            }
            Ok(_) => {
                let clock = "what was got is due for renewal already; is the clock right?";
                self.failed(&store, &mut attempts, &Failure::new(clock))
                    .await?
            }
            Err(failure) => self.failed(&store, &mut attempts, &failure).await?,
        };
        drop(lock);
        Ok(pause)
    }

    /// Why a certificate is to be got; none if the one that is there will do.
    async fn need(&mut self, store: &Store, held: Option<&Held>) -> Option<&'static str> {
        let Some(held) = held else {
            return Some("there is none yet, so HTTPS connections are refused until it is there");
        };
        if let Some(need) = need_of(&self.config, held) {
            return Some(need);
        }
        let is_wanted = self.renewal.is_wanted(&self.config, store, held).await;
        is_wanted.then_some("it wants the one that is there to be renewed")
    }

    /// Says so; returns when the next attempt may be made.
    async fn failed(
        &self,
        store: &Store,
        attempts: &mut Attempts,
        failure: &Failure,
    ) -> Result<Duration, Failure> {
        if let Some(after) = failure.after {
            attempts.put_off(store, SystemTime::now(), after).await?;
        }
        let wait = attempts.wait(SystemTime::now(), true);
        let meanwhile = match store.certificate() {
            Some(held) => format!(
                "the one that is there is valid until {}",
                httpdate::fmt_http_date(held.not_after)
            ),
            None => "until there is one, HTTPS connections are refused".to_owned(),
        };
        tracing::error!(
            "no certificate for {}: {failure}. Trying again in {}; {meanwhile}",
            self.config.domains.join(", "),
            spoken(wait)
        );
        Ok(wait)
    }
}

/// Why it is to be replaced, as far as can be seen from here.
fn need_of(config: &AcmeConfig, held: &Held) -> Option<&'static str> {
    if !held.is_for(&config.domains) {
        Some("the one that is there is for other names")
    } else if held.from != config.url {
        Some("the one that is there comes from elsewhere")
    } else if held.due() <= SystemTime::now() {
        Some("less than a third of the life of the one that is there is left")
    } else {
        None
    }
}

fn until_next_look(store: &Store) -> Duration {
    let lifetime = store.certificate().map(|held| held.lifetime());
    let often = lifetime.map_or(LOOK, |lifetime| lifetime / LOOKS);
    often.clamp(Duration::from_secs(1), LOOK)
}

/// As one says it.
fn spoken(pause: Duration) -> String {
    match pause.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds @ ..5400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}
