//! The metrics, as Prometheus fetches them: against what RabbitMQ has under the same names, and against clients that mean no good.
//!
//! `recorded/` has the families of metrics that RabbitMQ 3.10.8 gave, with classic queues, a quorum queue and a stream in use: name, type,
//! labels and help of each. `later.txt` names what came with RabbitMQ 4. What is not so here stands in `differences.txt`, with the
//! reason; anything else fails. `dashboards.txt` has the names that RabbitMQ's dashboards for Grafana ask for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod hostile;
mod http;
mod names;
mod node;
mod pages;
