//! The listeners for HTTP that the keeper has.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_management::Host;
use leveret_management::api::Api;
use leveret_management::control::Control;
use leveret_management::prometheus::Exporter;
use tokio::runtime::Handle;

use crate::config::management::ManagementSettings;
use crate::config::prometheus::PrometheusSettings;
use crate::error::StartError;
use crate::http_listener::{Bound, HttpListener, Purpose, Service};
use crate::tls::Context;

/// The listeners, whatever they are for.
#[derive(Debug, Default)]
pub(super) struct HttpListeners {
    pub(super) settings: HttpSettings,
    pub(super) open: Vec<HttpListener>,
    /// Where they were, if they were suspended.
    pub(super) suspended: Vec<(Purpose, SocketAddr, Option<Arc<Context>>)>,
}

/// What the node is told of them.
#[derive(Debug, Default, Clone)]
pub(super) struct HttpSettings {
    pub(super) management: ManagementSettings,
    pub(super) prometheus: PrometheusSettings,
}

impl HttpListeners {
    /// Where those of a purpose are.
    pub(super) fn addresses(&self, purpose: Purpose) -> Vec<SocketAddr> {
        self.open.iter().filter(|listener| listener.purpose() == purpose).map(HttpListener::address).collect()
    }

    /// Whether there is one for that, suspended or not.
    pub(super) fn has(&self, purpose: Purpose) -> bool {
        self.open.iter().any(|listener| listener.purpose() == purpose)
            || self.suspended.iter().any(|(suspended, ..)| *suspended == purpose)
    }

    /// Takes those away that are for that.
    pub(super) fn take(&mut self, purpose: Purpose) -> Vec<HttpListener> {
        self.suspended.retain(|(suspended, ..)| *suspended != purpose);
        self.open.extract_if(.., |listener| listener.purpose() == purpose).collect()
    }

    /// Takes all away that are open, and remembers where they were.
    pub(super) fn suspend(&mut self) -> Vec<HttpListener> {
        let closed = std::mem::take(&mut self.open);
        self.suspended.extend(closed.iter().map(|listener| (listener.purpose(), listener.address(), listener.tls())));
        closed
    }
}

impl HttpSettings {
    /// Opens the sockets of the listeners that are for that.
    pub(super) fn bind(&self, purpose: Purpose) -> Result<Vec<Bound>, StartError> {
        let (listen, is_listen_set, listen_tls, tls) = match purpose {
            Purpose::Management => {
                let ManagementSettings { listen, is_listen_set, listen_tls, tls, .. } = &self.management;
                (listen, is_listen_set, listen_tls, tls)
            }
            Purpose::Prometheus => {
                let PrometheusSettings { listen, is_listen_set, listen_tls, tls, .. } = &self.prometheus;
                (listen, is_listen_set, listen_tls, tls)
            }
        };
        let mut bound = Vec::new();
        if let Some(address) = listen {
            match Bound::open(purpose, *address, None) {
                Ok(open) => bound.push(open),
                // Somebody who starts a second node to look at it must not have to know of this.
                Err(error) if !is_listen_set => {
                    let name = purpose.name();
                    tracing::warn!("there is no listener for {name}, which nobody asked for: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(address) = listen_tls {
            let tls = tls.as_ref().ok_or(StartError::NoCertificate)?;
            bound.push(Bound::open(purpose, *address, Some(Context::open(tls)?))?);
        }
        Ok(bound)
    }

    /// Who answers at those that are for that.
    pub(super) fn service(&self, purpose: Purpose, host: &Arc<dyn Host>, runtime: &Handle) -> Service {
        let host = || Arc::clone(host);
        match purpose {
            Purpose::Management => Service::Management {
                api: Arc::new(Api::new(host(), self.management.for_api(), runtime)),
                // Not the one of the control socket: who comes over the network must not use up what those on the machine need.
                control: Arc::new(Control::new(host())),
            },
            Purpose::Prometheus => Service::Prometheus(Arc::new(Exporter::new(host(), self.prometheus.for_pages()))),
        }
    }
}
