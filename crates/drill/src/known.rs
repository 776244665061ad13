//! Servers that are known, and the signals with which each is asked to finish its requests
//! before it leaves. Many stop at once on one of the usual two.
//!
//! Used by `plan.rs` (the scenario `graceful`, and a note when another signal was tried) and
//! for the diagnosis. Recognised by the name of the program in the command; what each signal
//! does is what the page named beside it says.

use nix::sys::signal::Signal;

/// A server and its graceful signals.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// File names of its program.
    programs: &'static [&'static str],
    /// The first one is that which its documentation names first.
    graceful: &'static [Signal],
    pub(super) page: &'static str,
}

/// Words of a command in which the name is looked for: `python3 -m gunicorn app:app`.
const WORDS: usize = 4;

const KNOWN: [Known; 15] = [
    Known {
        name: "nginx",
        programs: &["nginx", "openresty"],
        graceful: &[Signal::SIGQUIT],
        page: "https://nginx.org/en/docs/control.html",
    },
    Known {
        name: "HAProxy",
        programs: &["haproxy"],
        graceful: &[Signal::SIGUSR1],
        page: "https://docs.haproxy.org/dev/management.html#4",
    },
    Known {
        name: "Apache httpd",
        programs: &["apache2", "httpd", "apachectl"],
        graceful: &[Signal::SIGWINCH],
        page: "https://httpd.apache.org/docs/current/stopping.html",
    },
    Known {
        name: "unicorn",
        programs: &["unicorn", "unicorn_rails"],
        graceful: &[Signal::SIGQUIT],
        page: "https://yhbt.net/unicorn/SIGNALS.html",
    },
    Known {
        name: "php-fpm",
        programs: &["php-fpm"],
        graceful: &[Signal::SIGQUIT],
        page: "https://www.php.net/manual/en/install.fpm.php",
    },
    Known {
        name: "lighttpd",
        programs: &["lighttpd"],
        graceful: &[Signal::SIGINT],
        page: "https://redmine.lighttpd.net/projects/lighttpd/wiki/Docs_Signals",
    },
    Known {
        name: "gunicorn",
        programs: &["gunicorn"],
        graceful: &[Signal::SIGTERM],
        page: "https://docs.gunicorn.org/en/stable/signals.html",
    },
    Known {
        name: "uvicorn",
        programs: &["uvicorn"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://www.uvicorn.org/deployment/",
    },
    Known {
        name: "hypercorn",
        programs: &["hypercorn"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://hypercorn.readthedocs.io/",
    },
    Known {
        name: "granian",
        programs: &["granian"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://github.com/emmett-framework/granian",
    },
    Known {
        name: "sanic",
        programs: &["sanic"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://sanic.dev/",
    },
    Known {
        name: "puma",
        programs: &["puma"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://github.com/puma/puma/blob/master/docs/signals.md",
    },
    Known {
        name: "Caddy",
        programs: &["caddy"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://caddyserver.com/docs/command-line#signals",
    },
    Known {
        name: "Traefik",
        programs: &["traefik"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "https://doc.traefik.io/traefik/",
    },
    Known {
        name: "Turnkey",
        programs: &["turnkey"],
        graceful: &[Signal::SIGTERM, Signal::SIGINT],
        page: "docs/OPERATING.md",
    },
];

/// `TERM`, as people say it.
pub(super) fn short(signal: Signal) -> &'static str {
    signal.as_str().trim_start_matches("SIG")
}

impl Known {
    /// The server that a command starts, if it is known.
    pub(super) fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<&'static Known> {
        words.into_iter().take(WORDS).find_map(|word| {
            // `nginx: master process /usr/sbin/nginx`, as it calls itself.
            let word = word.trim_end_matches(':');
            let name = word.rsplit('/').next().unwrap_or_default();
            KNOWN.iter().find(|known| known.programs.contains(&name))
        })
    }

    /// The one that its documentation names first.
    pub(super) fn graceful(&self) -> Signal {
        self.graceful[0]
    }

    /// Whether it finishes its requests when it gets this.
    pub(super) fn finishes_on(&self, signal: Signal) -> bool {
        self.graceful.contains(&signal)
    }

    /// In a sentence, when another signal was tried.
    pub(super) fn note(&self, tried: Signal) -> String {
        let graceful: Vec<&str> = self.graceful.iter().map(|signal| short(*signal)).collect();
        format!(
            "{} stops at once on {}, by design; the signal that it calls graceful is {} ({}): \
             --scenario graceful sends it",
            self.name,
            short(tried),
            graceful.join(" or "),
            self.page
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(command: &str) -> Option<&'static str> {
        Known::of(command.split(' ')).map(|known| known.name)
    }

    #[test]
    fn servers_are_known_by_their_program() {
        assert_eq!(name("/usr/sbin/nginx -c x.conf"), Some("nginx"));
        assert_eq!(name("nginx: master process nginx"), Some("nginx"));
        assert_eq!(name("python3 -m gunicorn app:app"), Some("gunicorn"));
        assert_eq!(name("bundle exec unicorn"), Some("unicorn"));
        assert_eq!(name("node server.js"), None);
        assert_eq!(name("./run a b c nginx"), None);
    }

    #[test]
    fn another_signal_is_explained() {
        let nginx = Known::of(["nginx"]).unwrap();
        assert_eq!(nginx.graceful(), Signal::SIGQUIT);
        assert!(!nginx.finishes_on(Signal::SIGTERM));
        assert!(
            nginx
                .note(Signal::SIGTERM)
                .starts_with("nginx stops at once on TERM")
        );
    }
}
