//! Who may do what: passwords, and the back ends that are asked.
//!
//! Everything here runs off the message path. A session of `leveret-session` knows the traits of [`leveret_broker::access`] only.

mod backend;
pub mod hash;
pub mod http;
pub mod ldap;
pub mod oauth2;

pub use backend::{Backend, Checked, Denial, Grant, LoggedIn, Pending, Renewal};
