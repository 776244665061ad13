//! Gets the certificate of `--tls-domain` by ACME (RFC 8555), and renews it.
//!
//! Run by the first worker once it serves (`worker/mod.rs`); [`check`] by the master. All
//! workers take up what is got: `tls/` looks at the file. Nothing waits for it: until the
//! first certificate is there, handshakes are refused. Invariants: one order at a time in
//! a directory, whatever programs share it ([`store`]'s lock); a worker that dies leaves
//! nothing that its successor would not clear away; an order under way is finished when
//! another program or worker takes over, within the time that the worker has left.
//! Bounds: those of `attempts.rs` for failures, of `order.rs` for one order.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | when |
//! | `order.rs` | one certificate, from the account to the file |
//! | `attempts.rs` | how often it may be tried |
//! | `certificate.rs` | requests, answers to challenges, what is known of a certificate |
//! | `client.rs` | HTTPS to the ACME server |
//! | `store.rs` | the directory |
//! | `failure.rs` | problems, and what to do |

mod attempts;
mod certificate;
mod client;
mod failure;
mod order;
mod store;

use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use self::attempts::Attempts;
use self::certificate::Held;
use self::failure::Failure;
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
/// [`crate::Error::Start`] with the remedy.
pub(crate) fn check(config: &AcmeConfig) -> crate::Result<()> {
    let ca = config.ca.as_deref().map(client::trusting).transpose();
    match ca.and_then(|_| Store::open(config)?.check()) {
        Ok(()) => Ok(()),
        Err(failure) => Err(crate::Error::Start(failure.to_string())),
    }
}

/// Sees to it that there is a certificate, until the worker leaves. An order under way
/// is finished then.
pub(crate) async fn run(config: AcmeConfig, mut leaving: watch::Receiver<bool>) {
    let mut has_tried = false;
    while !*leaving.borrow() {
        let pause = match look(&config, &mut has_tried).await {
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

/// Looks whether one is needed, and gets it. Returns when to look again.
async fn look(config: &AcmeConfig, has_tried: &mut bool) -> Result<Duration, Failure> {
    let store = Store::open(config)?;
    let Some(need) = need(config, store.certificate()) else {
        return Ok(until_next_look(&store));
    };
    let mut attempts = Attempts::load(&store, config)?;
    let wait = attempts.wait(SystemTime::now(), *has_tried);
    if wait > Duration::ZERO {
        if !*has_tried {
            tracing::warn!(
                "a certificate for {} is asked for in {}, since {} attempts have failed",
                config.domains.join(", "),
                minutes(wait),
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
    if self::need(config, store.certificate()).is_none() {
        return Ok(until_next_look(&store));
    }
    *has_tried = true;
    attempts.begin(&store, SystemTime::now()).await?;
    let names = config.domains.join(", ");
    tracing::info!(
        "Getting a certificate for {names} from {}: {need}",
        config.url
    );
    let got = order::get(config, &store).await;
    let pause = match got {
        Ok(held) if need_of(config, &held).is_none() => {
            attempts.forget(&store).await?;
            tracing::info!(
                "Got a certificate for {names}, valid until {}; the next is got after {}",
                httpdate::fmt_http_date(held.not_after),
                httpdate::fmt_http_date(held.due())
            );
            until_next_look(&store)
        }
        got => {
            let failure = got.err().unwrap_or_else(|| {
                Failure::new(
                    "what was got is due for renewal already; is this machine's clock right?",
                )
            });
            if let Some(after) = failure.after {
                attempts.put_off(&store, SystemTime::now(), after).await?;
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
                "no certificate for {names}: {failure}. Trying again in {}; {meanwhile}",
                minutes(wait)
            );
            wait
        }
    };
    drop(lock);
    Ok(pause)
}

/// Why a certificate is to be got; none if the one that is there will do.
fn need(config: &AcmeConfig, held: Option<Held>) -> Option<&'static str> {
    match held {
        None => Some("there is none yet, so HTTPS connections are refused until it is there"),
        Some(held) => need_of(config, &held),
    }
}

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
fn minutes(pause: Duration) -> String {
    match pause.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds @ ..5400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}
