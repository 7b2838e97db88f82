//! What operators ask the process for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use leveret_management::{
    App, CertificateFile, Facts, Figures, Host, HostError, Listener, ListenerKind, Logs, MemoryUse, Phase, Plugin,
    PluginChange, Setting,
};

use super::{Shared, State, readiness, reset};
use crate::config::{Changes, Effective, Loaded};
use crate::facts;
use crate::http_listener::{Bound, HttpListener, Purpose};
use crate::memory;
use crate::plugins::Plugins;
use crate::running::Running;

impl Host for Shared {
    fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    fn app(&self) -> Option<App> {
        self.app()
    }

    fn start_app(&self) -> Result<(), HostError> {
        let _turn = self.turn()?;
        if self.state.lock().running.is_some() {
            return Ok(());
        }
        let loaded = (self.outside.load)().map_err(|error| HostError::Failed(error.to_string()))?;
        self.begin(loaded).map_err(|error| {
            tracing::error!("the broker was not started: {error}");
            HostError::Failed(error.to_string())
        })
    }

    fn stop_app(&self) -> Result<(), HostError> {
        let _turn = self.turn()?;
        self.end();
        Ok(())
    }

    fn reset(&self) -> Result<(), HostError> {
        let _turn = self.turn()?;
        if self.state.lock().running.is_some() {
            return Err(HostError::Running);
        }
        tracing::info!("resetting: everything that the broker keeps is deleted");
        reset::reset(&self.data_dir).map_err(|error| {
            HostError::Failed(format!("cannot delete what is in {}: {error}", self.data_dir.display()))
        })
    }

    fn stop(&self) {
        (self.outside.stop)();
    }

    fn listeners(&self) -> Vec<Listener> {
        let state = self.state.lock();
        let mut listeners = Vec::new();
        if let Some(running) = state.running.as_ref().filter(|running| running.is_accepting()) {
            let of = |kind| move |address: &std::net::SocketAddr| Listener { kind, address: *address };
            listeners.extend(running.addresses().iter().map(of(ListenerKind::Amqp)));
            listeners.extend(running.tls_addresses().iter().map(of(ListenerKind::Amqps)));
        }
        let http = state.http.open.iter();
        listeners.extend(http.map(|listener| Listener { kind: listener.kind(), address: listener.address() }));
        listeners
    }

    fn suspend_listeners(&self) -> Result<(), HostError> {
        let _turn = self.turn()?;
        let mut state = self.state.lock();
        let State { running, http, .. } = &mut *state;
        running.as_mut().ok_or_else(not_running)?.suspend();
        let closed = http.suspend();
        drop(state);
        for listener in closed {
            listener.close(&self.runtime);
        }
        tracing::info!("listeners are suspended: no connection is taken");
        Ok(())
    }

    fn resume_listeners(&self) -> Result<(), HostError> {
        let _turn = self.turn()?;
        let mut state = self.state.lock();
        let State { running, http, .. } = &mut *state;
        let failed = |error: crate::StartError| HostError::Failed(error.to_string());
        let running = running.as_mut().ok_or_else(not_running)?;
        let places = http.suspended.iter();
        let places = places.map(|(purpose, address, tls)| Bound::open(*purpose, *address, tls.clone()));
        let bound = places.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        running.resume().map_err(failed)?;
        http.suspended.clear();
        // That looks at the state itself.
        drop(state);
        let open = self.serve(bound);
        self.state.lock().http.open.extend(open);
        tracing::info!("listeners take connections");
        Ok(())
    }

    fn plugins(&self) -> Vec<Plugin> {
        let state = self.state.lock();
        let is_running = state.running.is_some();
        let of = |name: &str| Purpose::ALL.into_iter().find(|purpose| purpose.plugin() == name);
        let runs = |name: &str| is_running && of(name).is_none_or(|purpose| state.http.has(purpose));
        state.plugins.as_ref().map(|plugins| plugins.rows(runs)).unwrap_or_default()
    }

    fn set_plugins(&self, names: &BTreeSet<String>) -> Result<PluginChange, HostError> {
        let _turn = self.turn()?;
        let (before, changed, applied) = {
            let state = self.state.lock();
            let plugins = state.plugins.as_ref().ok_or(HostError::Busy)?;
            (plugins.on(), plugins.with(names)?, state.running.is_some())
        };
        let after = changed.on();
        self.switch(changed)?;
        let names = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let change = PluginChange {
            started: names(after.difference(&before).copied().collect()),
            stopped: names(before.difference(&after).copied().collect()),
            enabled: after.into_iter().map(str::to_owned).collect(),
            applied,
        };
        tracing::info!(started = ?change.started, stopped = ?change.stopped, "plugins were switched");
        Ok(change)
    }

    fn reload(&self) -> Result<Vec<String>, HostError> {
        let _turn = self.turn()?;
        readiness::reloading();
        let notes = self.read_again();
        readiness::ready(if self.phase() == Phase::Running { "running" } else { "stopped; the process runs" });
        notes
    }

    fn settings(&self) -> Vec<Setting> {
        let state = self.state.lock();
        let setting = |setting: &Effective| Setting {
            key: setting.key.clone(),
            value: setting.value.clone().unwrap_or_default(),
            origin: setting.origin.to_string(),
        };
        state.about.settings.iter().map(setting).collect()
    }

    fn logs(&self) -> Arc<dyn Logs> {
        Arc::new(self.outside.logs.clone())
    }

    fn facts(&self) -> Facts {
        let (used, limit, sockets) = facts::files();
        let (memory, _) = facts::memory();
        let disk_free = facts::disk_free(&self.data_dir);
        let (tasks, run_queue) = (facts::tasks(), facts::run_queue());
        let (context_switches, disk_io) = (facts::context_switches(), facts::disk_io());
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let state = self.state.lock();
        let about = &state.about;
        Facts {
            node_name: self.node_name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            advertised_version: about.version.clone(),
            advertised_product: about.product.clone(),
            pid: std::process::id(),
            started: self.started_at,
            uptime: self.started.elapsed(),
            system: facts::system(),
            data_dir: self.data_dir.clone(),
            config_files: about.files.clone(),
            enabled_plugins_file: state.plugins.as_ref().map(Plugins::file).map(PathBuf::from).unwrap_or_default(),
            files: (used, limit),
            sockets,
            memory,
            memory_total: memory::total().unwrap_or(0),
            memory_budget: about.memory_budget,
            disk_free,
            threads: about.threads,
            tasks,
            processors,
            run_queue,
            context_switches,
            disk_io,
            mechanisms: about.mechanisms.clone(),
            alarms: state.running.as_ref().map(Running::alarms).unwrap_or_default(),
            command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        }
    }

    fn memory(&self) -> Vec<MemoryUse> {
        let messages = self.state.lock().running.as_ref().map_or(0, Running::message_memory);
        facts::breakdown(messages)
    }

    fn figures(&self) -> Figures {
        let storage = self.state.lock().running.as_ref().map(Running::storage);
        Figures { storage, threads: facts::threads() }
    }

    fn certificates(&self) -> Vec<CertificateFile> {
        let files: BTreeSet<(bool, PathBuf)> = {
            let state = self.state.lock();
            let amqp = state.running.iter().flat_map(Running::certificate_files).map(|path| (false, path));
            let http = state.http.open.iter().filter_map(HttpListener::tls);
            amqp.chain(http.flat_map(|context| context.certificate_files()).map(|path| (true, path))).collect()
        };
        let file = |(is_http, path): (bool, PathBuf)| {
            let kind = if is_http { ListenerKind::Https } else { ListenerKind::Amqps };
            CertificateFile { kind, pem: facts::certificates(&path), path }
        };
        files.into_iter().map(file).collect()
    }
}

impl Shared {
    /// Reads certificates and the configuration again, and changes what can change while the node runs. If something is wrong
    /// with the configuration, nothing changes. The log tells all of it.
    fn read_again(&self) -> Result<Vec<String>, HostError> {
        let refuse = |error: &dyn std::fmt::Display| {
            for mistake in error.to_string().lines() {
                tracing::error!("the configuration stays as it was: {mistake}");
            }
            HostError::Failed(format!("the configuration stays as it was: {error}"))
        };
        {
            let state = self.state.lock();
            if let Some(running) = &state.running {
                running.reload_tls();
            }
            for listener in &state.http.open {
                listener.reload_tls();
            }
        }
        let Loaded { config, settings, warnings, .. } = (self.outside.load)().map_err(|error| refuse(&error))?;
        let mut state = self.state.lock();
        let Changes { at_once, at_start } = Changes::between(&state.about.settings, &settings);
        // Levels that were set while the node ran stay if the files say nothing else.
        if at_once.iter().any(|key| key.starts_with("log.")) {
            let configured = self.outside.logs.configure(&config.log, &self.node_name, &self.data_dir);
            configured.map_err(|error| refuse(&error))?;
        }
        let mut notes: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        notes.extend(config.remarks().into_iter().map(str::to_owned));
        if let Some(running) = &state.running {
            running.renew(&config);
        }
        if !at_once.is_empty() {
            tracing::info!("the configuration was read again, changed: {}", at_once.join(", "));
        }
        if !at_start.is_empty() {
            notes.push(format!("needs a restart: {}", at_start.join(", ")));
        }
        for note in &notes {
            tracing::warn!("{note}");
        }
        // What needs a restart stays as it was, and is named until then.
        let is_new = |setting: &Effective| at_once.contains(&setting.key);
        state.about.settings.retain(|setting| !is_new(setting));
        state.about.settings.extend(settings.into_iter().filter(is_new));
        Ok(notes)
    }
}

fn not_running() -> HostError {
    HostError::Failed("the broker is stopped; start it with rabbitmqctl start_app".into())
}
