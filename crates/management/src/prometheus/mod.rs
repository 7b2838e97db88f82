//! What the node counts, for Prometheus: the pages that RabbitMQ's plugin `rabbitmq_prometheus` has, and what they are called there.
//!
//! A page is asked for by its path (`page`). What is on it stands in tables: families of metrics with the number that each has
//! (`family`), in groups that have RabbitMQ's names (`group`). `collect` asks the node, and `text` writes. Nothing is counted
//! here, and no lock is held while something is written: queues and connections are asked first, one after the other, and what they
//! said is written then, family by family. `docs/monitoring.md` tells people of it.

mod collect;
mod connections;
mod exchanges;
mod family;
mod global;
mod group;
mod info;
mod logins;
mod node;
mod own;
mod page;
mod queues;
mod service;
mod settings;
mod text;

pub use self::service::{Exporter, serve};
pub use self::settings::PrometheusSettings;

use self::collect::Collector;
use self::family::{Column, Family, Number};
use self::group::Group;
use self::page::{Filter, Page};
use self::text::{Labels, Text};
