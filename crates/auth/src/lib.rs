//! Who may do what: passwords, and the back ends that are asked.
//!
//! Everything here runs off the message path. A session of `leveret-session` knows the traits of [`leveret_broker::access`] only.

mod attempts;
mod authority;
mod backend;
mod cache;
mod chain;
mod default_user;
mod digest;
mod dummy;
mod expiring;
pub mod hash;
pub mod http;
mod internal;
pub mod ldap;
pub mod oauth2;
mod promise;
pub mod sealed;
mod settings;
#[cfg(test)]
mod testing;
mod throttle;
pub mod tls;

pub use attempts::{Attempts, Counts, Source, SourceTracking};
pub use backend::{Backend, Checked, Denial, Grant, LoggedIn, Pending, Renewal};
pub use cache::{Cache, CacheLimits, Refusals};
pub use chain::{Chain, Limits, Link};
pub use default_user::DefaultUser;
pub use dummy::Dummy;
pub use internal::{Internal, InternalLimits};
pub use settings::{BackendSettings, LinkSettings, Settings, SettingsError, build};
pub use throttle::ThrottleSettings;
