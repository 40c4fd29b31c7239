//! Simulated agents: each enrols with a key of its own, holds a real link, reports samples and acknowledges policies. It is told what to do line by line.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use loopback_protocol::control::{AgentMessage, CoordinatorMessage, Hello};
use loopback_protocol::enroll::{EnrollRequest, FirstAnswer, FirstContact, HostFacts};
use loopback_protocol::firewall::{PolicyDigest, PolicyOutcome, PolicyStatus};
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::limits::CONTROL_FRAME_MAX_BYTES;
use loopback_protocol::metrics::{Frame, Schema, Series};
use loopback_protocol::secret::JoinString;
use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK, PROTOCOL_VERSION};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

const SERVER_NAME: &str = "loopback-coordinator";
/// Sockets that the agents share.
const ENDPOINTS: usize = 16;
/// Agents that enrol and link at a time; unpaced bursts measure the queue, not the coordinator.
const JOINING_MAX: usize = 48;
/// Series of one agent.
const SERIES: usize = 150;

/// What the swarm says, one JSON object for each line.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// Every agent is linked and has confirmed its first policy.
    Linked {
        /// Since the join string came.
        seconds: f64,
    },
    /// Reporting has stopped.
    Reported {
        /// Sent by all agents.
        frames: u64,
        /// From the first to the last.
        seconds: f64,
    },
    /// Every agent has a policy confirmed that it did not have before.
    Pushed {
        /// When half of them had, in milliseconds since 1970.
        p50_at_ms: f64,
        /// When 99 of 100 had.
        p99_at_ms: f64,
    },
}

/// A policy that an agent has confirmed.
type Confirmed = (PolicyDigest, f64);

/// Runs until told to exit.
pub fn run(address: &str, ca: &Path, agents: usize) -> Result<()> {
    let address = address.to_socket_addrs()?.next().context("no address")?;
    let ca = CertificateDer::from_pem_file(ca).map_err(|error| anyhow::anyhow!("{}: {error}", ca.display()))?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(simulate(address, ca, agents))
}

async fn simulate(address: SocketAddr, ca: CertificateDer<'static>, agents: usize) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let join: JoinString = lines.next_line().await?.context("no join string")?.parse()?;
    let begun = Instant::now();
    let endpoints: Vec<_> = (0..ENDPOINTS).map(|_| Endpoint::client((Ipv6Addr::UNSPECIFIED, 0).into())).collect::<Result<_, _>>()?;
    let shared = Arc::new(Shared { address, ca, token: join.token.reveal(), joining: Semaphore::new(JOINING_MAX), frames: AtomicU64::new(0) });
    let (confirmed_sender, mut confirmed) = mpsc::channel(agents);
    let (interval_sender, interval) = watch::channel(None);
    let mut tasks = JoinSet::new();
    for (number, endpoint) in (0..agents).zip(endpoints.iter().cycle()) {
        tasks.spawn(live(Arc::clone(&shared), endpoint.clone(), number, confirmed_sender.clone(), interval.clone()));
    }
    // A coordinator that pushes twice while agents still join would confuse the count: the first policy of each counts as its link.
    for _ in 0..agents {
        tokio::select! {
            _ = confirmed.recv() => {}
            Some(ended) = tasks.join_next() => bail!("an agent ended: {:?}", ended?),
        }
    }
    say(&Said::Linked { seconds: begun.elapsed().as_secs_f64() })?;
    let mut pushes: HashMap<PolicyDigest, Vec<f64>> = HashMap::new();
    let mut reporting = Instant::now();
    loop {
        tokio::select! {
            line = lines.next_line() => match line?.as_deref() {
                Some("quiet") => {
                    interval_sender.send(None)?;
                    say(&Said::Reported { frames: shared.frames.load(Ordering::Relaxed), seconds: reporting.elapsed().as_secs_f64() })?;
                }
                Some(line) if line.starts_with("report ") => {
                    reporting = Instant::now();
                    interval_sender.send(Some(Duration::from_millis(line.trim_start_matches("report ").parse()?)))?;
                }
                _ => return Ok(()),
            },
            Some((digest, at_ms)) = confirmed.recv() => {
                let times = pushes.entry(digest).or_default();
                times.push(at_ms);
                if times.len() == agents {
                    times.sort_by(f64::total_cmp);
                    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied().unwrap_or_default();
                    say(&Said::Pushed { p50_at_ms: at(50), p99_at_ms: at(99) })?;
                }
            }
            Some(ended) = tasks.join_next() => bail!("an agent ended: {:?}", ended?),
        }
    }
}

struct Shared {
    address: SocketAddr,
    ca: CertificateDer<'static>,
    token: String,
    joining: Semaphore,
    frames: AtomicU64,
}

/// One agent, from its key to the end.
async fn live(
    shared: Arc<Shared>,
    endpoint: Endpoint,
    number: usize,
    confirmed: mpsc::Sender<Confirmed>,
    interval: watch::Receiver<Option<Duration>>,
) -> Result<()> {
    let place = shared.joining.acquire().await?;
    let key = KeyPair::generate()?;
    let certificate = enroll(&shared, &endpoint, &key, number).await?;
    let connection = connect(&shared, &endpoint, ALPN_LINK, Some((certificate, &key))).await?;
    let (mut send, receive) = connection.open_bi().await?;
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        agent_version: "0.1.0".into(),
        facts: facts(number),
        modules: Vec::new(),
        clock_ms: now_ms() as u64,
        policy_digest: None,
    };
    write(&mut send, &AgentMessage::Hello(hello)).await?;
    drop(place);
    exchange(&shared, send, receive, confirmed, interval).await
}

async fn exchange(
    shared: &Shared,
    mut send: SendStream,
    mut receive: RecvStream,
    confirmed: mpsc::Sender<Confirmed>,
    mut interval: watch::Receiver<Option<Duration>>,
) -> Result<()> {
    let mut decoder = Decoder::new(CONTROL_FRAME_MAX_BYTES);
    let mut heartbeat = tokio::time::interval(Duration::from_secs(5));
    let mut report = None;
    let mut applied = HashMap::new();
    let mut sequence = 0;
    loop {
        while let Some(payload) = decoder.next_frame()? {
            match CoordinatorMessage::decode(&payload)? {
                CoordinatorMessage::Policy(policy) => {
                    applied.insert(policy.generation, policy.digest());
                    let outcome = PolicyOutcome::Applied { at_ms: now_ms() as u64 };
                    write(&mut send, &AgentMessage::PolicyStatus(PolicyStatus { generation: policy.generation, digest: policy.digest(), outcome })).await?;
                }
                CoordinatorMessage::PolicyConfirmed(generation) => {
                    if let Some(digest) = applied.remove(&generation) {
                        confirmed.send((digest, now_ms())).await?;
                    }
                }
                CoordinatorMessage::Welcome(_) | CoordinatorMessage::MetricsAcknowledged(_) | CoordinatorMessage::Certificate(_) => {}
            }
        }
        tokio::select! {
            chunk = receive.read_chunk(CONTROL_FRAME_MAX_BYTES, true) => decoder.push(&chunk?.context("the coordinator closed the stream")?.bytes),
            _ = heartbeat.tick() => {
                let heartbeat = loopback_protocol::control::Heartbeat { clock_ms: now_ms() as u64, modules: Vec::new() };
                write(&mut send, &AgentMessage::Heartbeat(heartbeat)).await?;
            }
            changed = interval.changed() => {
                changed?;
                let period = *interval.borrow_and_update();
                if period.is_some() && sequence == 0 {
                    write(&mut send, &AgentMessage::MetricsSchema(schema())).await?;
                }
                // Spread over the period, as a fleet's reports are.
                report = period.map(|period| tokio::time::interval_at(tokio::time::Instant::now() + period.mul_f64(rand::random()), period));
            }
            () = next(&mut report) => {
                sequence += 1;
                let values = (0..SERIES).map(|series| (sequence * series as u64) as f64 * 1.25).collect();
                write(&mut send, &AgentMessage::MetricsFrame(Frame { schema: 1, sequence, time_ms: now_ms() as u64, values })).await?;
                shared.frames.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn next(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

async fn enroll(shared: &Shared, endpoint: &Endpoint, key: &KeyPair, number: usize) -> Result<CertificateDer<'static>> {
    let connection = connect(shared, endpoint, ALPN_ENROLL, None).await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    let csr_der = CertificateParams::default().serialize_request(key)?.der().to_vec();
    let request = EnrollRequest { token: shared.token.clone(), csr_der, facts: facts(number), agent_version: "0.1.0".into() };
    send.write_all(&frame::encode(&FirstContact::Enroll(request).encode(), CONTROL_FRAME_MAX_BYTES)?).await?;
    send.finish()?;
    let mut decoder = Decoder::new(CONTROL_FRAME_MAX_BYTES);
    loop {
        if let Some(payload) = decoder.next_frame()? {
            connection.close(0_u32.into(), b"");
            match FirstAnswer::decode(&payload)? {
                FirstAnswer::Enrolled(enrolled) => return Ok(enrolled.certificate_der.into()),
                FirstAnswer::Refused(refusal) => bail!("refused: {}", refusal.message),
            }
        }
        decoder.push(&receive.read_chunk(CONTROL_FRAME_MAX_BYTES, true).await?.context("no answer")?.bytes);
    }
}

async fn connect(shared: &Shared, endpoint: &Endpoint, alpn: &[u8], identity: Option<(CertificateDer<'static>, &KeyPair)>) -> Result<Connection> {
    let mut roots = RootCertStore::empty();
    roots.add(shared.ca.clone())?;
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?.with_root_certificates(roots);
    let mut tls = match identity {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))?,
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    let address = match shared.address {
        SocketAddr::V4(v4) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        v6 @ SocketAddr::V6(_) => v6,
    };
    Ok(endpoint.connect_with(config, address, SERVER_NAME)?.await?)
}

fn facts(number: usize) -> HostFacts {
    HostFacts { hostname: format!("sim-{number}"), machine_id: format!("{number:032x}"), boot_id: format!("{number:032x}"), ..HostFacts::default() }
}

fn schema() -> Schema {
    let series = (0..SERIES).map(|number| Series::new("simulated_total", &[("number", &number.to_string())])).collect();
    Schema { id: 1, series }
}

async fn write(send: &mut SendStream, message: &AgentMessage) -> Result<()> {
    Ok(send.write_all(&frame::encode(&message.encode(), CONTROL_FRAME_MAX_BYTES)?).await?)
}

fn say(said: &Said) -> Result<()> {
    println!("{}", serde_json::to_string(said)?);
    Ok(())
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0
}
