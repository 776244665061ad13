//! Options of the drill that say what is drilled, and in which protocol.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use turnkey::tool::duration;
use turnkey_drill::{Drill, Scenario};

#[derive(Args)]
#[command(next_help_heading = "What is drilled")]
pub(super) struct Target {
    /// Where COMMAND listens [default: found by itself].
    #[arg(long, value_name = "PORT", conflicts_with = "url")]
    port: Option<u16>,

    /// The same as an address, such as https://localhost:8443/path. Without COMMAND: what runs
    /// there already. Several: clients are spread over them.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,

    /// Run this in the middle of the load, as a scenario: the service should go on. May be
    /// given several times.
    #[arg(long = "do", value_name = "COMMAND")]
    deeds: Vec<String>,

    /// For --do.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    do_limit: Duration,

    /// Drill a process that runs already, with its descendants. It is not killed at the end.
    #[arg(long, value_name = "PID", conflicts_with = "command")]
    pub(super) attach: Option<u32>,

    /// Allow traffic to this host, which is not the loopback interface.
    #[arg(long, value_name = "HOST")]
    i_know: Vec<String>,

    /// A server that should go on may refuse connections for so long [default: not at all].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    allow_refused: Option<Duration>,

    /// Ask for this path all the time, as balancers do, to see whether it tells the truth.
    #[arg(long, value_name = "PATH")]
    ready_path: Option<String>,

    /// Header field that names which backend answered, such as X-Backend.
    #[arg(long, value_name = "FIELD")]
    load_balancer: Option<String>,

    /// The port that is found, or --port, speaks HTTPS; a URL says so itself.
    #[arg(long)]
    https: bool,

    /// Trust the owners of these certificates (PEM) [default: whom browsers trust].
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,

    /// Trust any certificate.
    #[arg(long)]
    insecure: bool,

    /// Ask for this name in TLS, in place of that of the URL.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,

    /// Speak HTTP/2: as ALPN agrees over HTTPS, with prior knowledge in the clear.
    #[arg(long)]
    http2: bool,

    /// Clients that share a connection of HTTP/2.
    #[arg(long, value_name = "N", default_value_t = 8)]
    streams: usize,
}

impl Target {
    pub(super) fn set(self, mut drill: Drill) -> Drill {
        drill = drill
            .allow_refused(self.allow_refused.unwrap_or_default())
            .do_limit(self.do_limit)
            .streams(self.streams);
        for command in self.deeds {
            drill = drill.scenario(Scenario::Do(command));
        }
        if let Some(port) = self.port {
            drill = drill.port(port);
        }
        for url in self.url {
            drill = drill.url(url);
        }
        for host in self.i_know {
            drill = drill.i_know(host);
        }
        if let Some(path) = self.ready_path {
            drill = drill.ready_path(path);
        }
        if let Some(field) = self.load_balancer {
            drill = drill.load_balancer(field);
        }
        if self.https {
            drill = drill.https();
        }
        if let Some(file) = self.ca {
            drill = drill.ca(file);
        }
        if self.insecure {
            drill = drill.insecure();
        }
        if let Some(name) = self.sni {
            drill = drill.sni(name);
        }
        if self.http2 {
            drill = drill.http2();
        }
        drill
    }
}
