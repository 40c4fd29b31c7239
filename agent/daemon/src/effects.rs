//! Does what the core wants done. Whatever takes time runs beside the loop and comes back as an event.

use std::sync::Arc;

use loopback_agent_core::modules::Module;
use loopback_agent_core::{Event, LinkLoss, Output};
use loopback_protocol::control::AgentMessage;
use loopback_protocol::firewall::Policy;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::enroll;
use crate::keystore::Keystore;
use crate::limits::{OUTBOX_MAX, STOP_TIMEOUT};
use crate::link::{Link, chain};
use crate::nft;
use crate::observer::Order;
use crate::pty::ShellConfig;
use crate::quic::Coordinator;
use crate::supervisor::{Panicked, Supervisor};

/// The agent's hands.
pub struct Effects {
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) shells: Option<Arc<ShellConfig>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) tasks: Supervisor,
    link: Option<LinkEnd>,
}

/// The loop's end of a link.
struct LinkEnd {
    outbox: mpsc::Sender<AgentMessage>,
    cancel: CancellationToken,
}

impl Effects {
    /// Hands that hold nothing yet.
    pub fn new(settings: &Settings, keystore: Arc<Keystore>, coordinator: Arc<Coordinator>, events: mpsc::Sender<Event>, orders: mpsc::Sender<Order>) -> Self {
        let shells = settings.allow.contains(&Module::Shell).then(|| Arc::new(ShellConfig { login_user: settings.shell.login_user.clone() }));
        Self { keystore, coordinator, shells, events, orders, tasks: Supervisor::default(), link: None }
    }

    /// Does one thing.
    pub fn run(&mut self, output: Output) {
        match output {
            Output::Connect => self.connect(),
            Output::RenewExpired => self.renew_expired(),
            Output::Disconnect { reason } => self.disconnect(reason),
            Output::Send(message) => self.send(message),
            Output::ApplyPolicy(policy) => self.apply(policy),
            Output::Collect => self.order(Order::Collect),
            Output::ObserveFacts => self.order(Order::ObserveFacts),
            Output::Spool { schema, frame } => self.order(Order::Keep(schema, frame)),
            Output::ReadSpool { after_sequence, frames_max } => self.order(Order::Read { after_sequence, frames_max }),
            Output::ForgetSpooled { up_to_sequence } => self.order(Order::Forget(up_to_sequence)),
            Output::StoreCertificate(certificate_der) => self.store_certificate(certificate_der),
        }
    }

    /// Ends the link with its sessions, then everything else. The firewall stays in the kernel.
    pub async fn finish(self) -> Result<(), Panicked> {
        let Self { link, tasks, orders, .. } = self;
        // The observer ends when nobody can give it an order.
        drop(orders);
        if let Some(link) = link {
            link.cancel.cancel();
        }
        tasks.finish(STOP_TIMEOUT).await
    }

    fn connect(&mut self) {
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let cancel = CancellationToken::new();
        let link = Link {
            coordinator: Arc::clone(&self.coordinator),
            keystore: Arc::clone(&self.keystore),
            shells: self.shells.clone(),
            outbox: messages,
            events: self.events.clone(),
            cancel: cancel.clone(),
        };
        self.link = Some(LinkEnd { outbox, cancel });
        self.tasks.spawn("link", link.run());
    }

    fn renew_expired(&mut self) {
        let (keystore, coordinator, events) = (Arc::clone(&self.keystore), Arc::clone(&self.coordinator), self.events.clone());
        self.tasks.spawn("renewal", async move {
            let event = match enroll::renew_expired(&keystore, &coordinator).await {
                Ok(validity) => {
                    tracing::info!("the expired certificate was renewed");
                    Event::CertificateStored(validity)
                }
                Err(error) => {
                    let reason = chain(&error);
                    tracing::error!(reason, "the expired certificate cannot be renewed");
                    Event::LinkDown { loss: LinkLoss::Other(reason), jitter: rand::random() }
                }
            };
            let _ = events.send(event).await;
        });
    }

    fn disconnect(&self, reason: &'static str) {
        if let Some(link) = &self.link {
            tracing::warn!(reason, "closing the link");
            link.cancel.cancel();
        }
    }

    fn send(&self, message: AgentMessage) {
        let Some(link) = &self.link else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = link.outbox.try_send(message) {
            self.disconnect("the coordinator does not read");
        }
    }

    fn apply(&mut self, policy: Arc<Policy>) {
        let (keystore, coordinator, events) = (Arc::clone(&self.keystore), Arc::clone(&self.coordinator), self.events.clone());
        self.tasks.spawn("firewall", async move {
            let result = nft::apply(&policy, &coordinator.known(), keystore.dir()).await.map_err(|error| chain(&error));
            match &result {
                Ok(()) => tracing::info!(generation = policy.generation, rules = policy.rule_count(), "policy applied"),
                Err(error) => tracing::error!(generation = policy.generation, error, "policy not applied"),
            }
            let _ = events.send(Event::FirewallFinished(result)).await;
        });
    }

    fn order(&self, order: Order) {
        if let Err(error) = self.orders.try_send(order) {
            tracing::error!(%error, "the observer does not keep up");
        }
    }

    fn store_certificate(&mut self, certificate_der: Vec<u8>) {
        let (keystore, events) = (Arc::clone(&self.keystore), self.events.clone());
        self.tasks.spawn_blocking("keystore", move || {
            let stored = keystore.credentials().and_then(|credentials| {
                let validity = credentials.key.validity_of(&certificate_der)?;
                keystore.store_certificate(&certificate_der)?;
                Ok(validity)
            });
            match stored {
                Ok(validity) => {
                    tracing::info!(until_ms = validity.until_ms, "certificate renewed");
                    let _ = events.blocking_send(Event::CertificateStored(validity));
                }
                Err(error) => tracing::error!(error = chain(&error), "the new certificate cannot be stored"),
            }
        });
    }
}
