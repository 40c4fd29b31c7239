//! The agent's one loop: the next event into the core, what the core wants into effect. It decides nothing.

use std::sync::Arc;

use loopback_agent_core::modules::Module;
use loopback_agent_core::{Agent, Event, Setup};
use loopback_protocol::firewall::Policy;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Settings;
use crate::effects::Effects;
use crate::host;
use crate::hostkey::HostKeyError;
use crate::keystore::{Keystore, KeystoreError};
use crate::limits::{EVENTS_MAX, ORDERS_MAX};
use crate::link::chain;
use crate::nft;
use crate::observer::Observer;
use crate::pty;
use crate::quic::Coordinator;
use crate::supervisor::Panicked;
use crate::systemd;

const SPOOL_DIR: &str = "spool";
const MS_PER_HOUR: u64 = 3_600_000;

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The host's key or certificate.
    #[error(transparent)]
    Key(#[from] HostKeyError),
    /// A defect.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Runs the agent of an enrolled host until `stop` is cancelled. The firewall stays in the kernel afterwards.
///
/// # Errors
/// The host has not joined, its state cannot be used, another agent uses it, or a task panicked.
pub async fn run(settings: &Settings, stop: CancellationToken) -> Result<(), RunError> {
    let keystore = Keystore::open(&settings.state_dir)?;
    let _lock = keystore.lock()?;
    let identity = keystore.identity()?;
    let credentials = keystore.credentials()?;
    // A killed agent cannot end its sessions; the next one does.
    pty::end_leftovers();
    let (events, mut happening) = mpsc::channel(EVENTS_MAX);
    let enforced = enforced(settings, &events).await;
    let known = nft::stored(keystore.dir()).ok().flatten().map(|(_, addresses)| addresses).unwrap_or_default();
    let observer = Observer::new(&keystore.dir().join(SPOOL_DIR), settings.metrics.spool_max_bytes);
    let clock = Clock::start();
    let setup = Setup {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        allowed: settings.allow.clone(),
        facts: host::facts(),
        validity: credentials.key.validity_of(&credentials.certificate_der)?,
        csr_der: credentials.key.csr_der()?,
        enforced,
        last_sequence: observer.last_sequence(),
        spool_max_age_ms: u64::from(settings.metrics.spool_max_hours) * MS_PER_HOUR,
    };
    tracing::info!(host = %identity.host, path = identity.path, "agent starts");
    let mut core = Agent::new(setup, clock.now());
    let (orders, ordered) = mpsc::channel(ORDERS_MAX);
    let coordinator = Coordinator::new(settings.coordinator.clone().unwrap_or(identity.coordinator), identity.server_name, known);
    let mut effects = Effects::new(settings, Arc::new(keystore), Arc::new(coordinator), events.clone(), orders);
    effects.tasks.spawn_blocking("observer", move || observer.run(ordered, &events));
    systemd::notify(systemd::READY);

    let mut outputs = Vec::new();
    loop {
        let wake = clock.instant(core.wakes_at_ms(clock.now()));
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            ended = effects.tasks.ended() => { ended?; continue }
            Some(event) = happening.recv() => event,
            () = tokio::time::sleep_until(wake.into()) => Event::Tick,
        };
        core.handle(event, clock.now(), &mut outputs);
        for output in outputs.drain(..) {
            effects.run(output);
        }
    }
    tracing::info!("agent stops");
    systemd::notify(systemd::STOPPING);
    // Whoever still has an event to tell must not wait for a loop that has ended.
    drop(happening);
    effects.finish().await?;
    Ok(())
}

/// Makes sure the last policy is in the kernel; the boot unit may not be installed.
async fn enforced(settings: &Settings, events: &mpsc::Sender<Event>) -> Option<Arc<Policy>> {
    if !settings.allow.contains(&Module::Firewall) {
        return None;
    }
    match nft::restore(&settings.state_dir).await {
        Ok(policy) => policy.map(Arc::new),
        Err(error) => {
            let error = chain(&error);
            tracing::error!(error, "the last policy cannot be restored");
            // The channel is new and empty.
            let _ = events.try_send(Event::ModuleFailed(Module::Firewall, error));
            None
        }
    }
}
